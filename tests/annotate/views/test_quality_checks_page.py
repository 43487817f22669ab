"""The manager's page of hidden checks, and the settings that it names."""

import json

import pytest
from django.test import Client

from annotate.data.imports import import_file
from annotate.labeling import queue
from annotate.labeling.checks import gold, scores
from annotate.models import QualityAlert, Task, TaskConsensus
from tests.factories.cast import Cast, judge, make_comparison, response_ids

PAGE = "/p/kindness/checks/"


@pytest.fixture
def manager(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.manager)
    return client


def post(manager: Client, task: Task, **fields: str) -> str:
    reply = manager.post(f"{PAGE}tasks/{task.pk}", fields, follow=True)
    assert reply.status_code == 200
    task.refresh_from_db()
    return reply.content.decode()


def test_lists_gold_tasks_with_how_often_each_was_judged_and_got_right(cast: Cast, manager: Client) -> None:
    assert "Nothing yet. Use comparisons" in manager.get(PAGE).content.decode()
    task = make_comparison(cast.project, "Which is it?")
    order = response_ids(task)
    gold.promote(task=task, tiers=[[key] for key in order], by=cast.manager)
    few = make_comparison(cast.project, "Two only?", texts=("Yes.", "No."))
    gold.promote(task=few, tiers=[[key] for key in response_ids(few)], by=cast.manager)
    cast.project.gold_rate = 1.0
    cast.project.save(update_fields=["gold_rate"])
    for labeler, best_first in ((cast.labeler, True), (cast.second_labeler, False)):
        while (held := queue.claim_next(labeler=labeler, project=cast.project, ahead=False)) is not None:
            known = held.task.gold_tiers
            judge(held, known if best_first else known[::-1])
    scores.refresh_due()
    figures = {item.task.pk: item for item in manager.get(PAGE).context["golds"]}
    assert (figures[task.pk].judged, figures[task.pk].right, figures[task.pk].score) == (2, 1, 0.5)
    assert (figures[task.pk].stands_out, figures[few.pk].stands_out) == (False, True)
    assert "2 responses where others have 4: labelers could tell it by that." in manager.get(PAGE).content.decode()
    assert "It is a gold task" not in post(manager, task, remove="1")
    assert task.state == Task.State.OPEN
    assert "This task isn&#x27;t a gold task." in post(manager, task, remove="1")


def test_is_paged_by_the_number_of_the_last_one(cast: Cast, manager: Client) -> None:
    for number in range(27):
        task = make_comparison(cast.project, f"Question {number}", texts=("Yes.", "No."))
        gold.promote(task=task, tiers=[[key] for key in response_ids(task)], by=cast.manager)
    first = manager.get(PAGE)
    assert len(first.context["golds"]) == 25
    older = manager.get(PAGE, {"before": first.context["more_before"]})
    assert len(older.context["golds"]) == 2
    assert older.context["more_before"] is None
    assert manager.get(PAGE, {"before": "x" * 30}).status_code == 200


def test_a_comparison_is_used_by_its_known_order_ones_own_or_the_consensus(cast: Cast, manager: Client) -> None:
    known, own, agreed, none = (make_comparison(cast.project, name) for name in ("Known?", "Own?", "Agreed?", "None?"))
    Task.objects.filter(pk=known.pk).update(gold_tiers=[[key] for key in response_ids(known)])
    while (held := queue.claim_next(labeler=cast.manager, project=cast.project, ahead=False)) is not None:
        if held.task_id == own.pk:
            judge(held, [[key] for key in reversed(response_ids(own))])
        else:
            queue.skip(assignment_id=held.pk, labeler=cast.manager)
    tiers = [[key] for key in response_ids(agreed)]
    values = {"method": "majority", "confidence": 0.9, "judgments": 2, "computed_at": agreed.created_at}
    TaskConsensus.objects.create(task=agreed, project=cast.project, tiers=tiers, **values)
    offered = {task.pk: source for task, source in manager.get(PAGE).context["candidates"]}
    assert offered == {known.pk: "known", own.pk: "judgment", agreed.pk: "consensus"}
    for task, source in ((known, "known"), (own, "judgment"), (agreed, "consensus")):
        assert "It is a gold task now." in post(manager, task, order=source)
        assert task.state == Task.State.GOLD
    assert own.gold_tiers == [[key] for key in reversed(response_ids(own))]
    assert agreed.gold_tiers == tiers
    for source in ("known", "judgment", "consensus"):
        assert "A gold task needs a known order of its responses." in post(manager, none, order=source)
    assert "Every labeler will judge it once." in post(manager, none, calibrate="1")
    assert none.state == Task.State.CALIBRATION
    assert [task.pk for task in manager.get(PAGE).context["calibration"]] == [none.pk]


def test_what_followed_from_a_threshold_is_listed_with_its_sentence_and_undone(cast: Cast, manager: Client) -> None:
    alert = QualityAlert.objects.create(
        project=cast.project, labeler=cast.labeler, kind="gold", action="warn", rate=0.5, threshold=0.8, checks=12
    )
    page = manager.get(PAGE).content.decode()
    assert "Undo for labeler: Warned" in page
    assert "In 12 of your latest tasks whose best order is known, you ordered 50% of the pairs that way" in page
    own, other = (
        manager.get(f"/p/kindness/people/{person.pk}/").content.decode()
        for person in (cast.labeler, cast.second_labeler)
    )
    assert "Undo for labeler: Warned" in own
    assert "Warnings and pauses" not in other
    assert "undone by" in manager.post(f"{PAGE}alerts/{alert.pk}/undo", follow=True).content.decode()


def test_rates_are_settings_and_a_form_without_them_leaves_them(cast: Cast, manager: Client) -> None:
    page = manager.get("/p/kindness/settings/").content.decode()
    assert "Share of a labeler&#x27;s tasks whose order is known, from 0 to 1; they look like all others." in page
    sent = {"name": "Kindness", "language": "en", "responses_per_task": "4", "overlap": "1", "lease_minutes": "30"}
    sent |= {"margin_input": "levels"}
    rates = {"gold_rate": "0.1", "repeat_rate": "0.05", "gold_threshold": "0.7", "gold_action": "pause"}
    assert manager.post("/p/kindness/settings/", sent | rates).status_code == 302
    assert manager.post("/p/kindness/settings/", sent).status_code == 302
    cast.project.refresh_from_db()
    project = cast.project
    assert (project.gold_rate, project.repeat_rate, project.gold_threshold) == (0.1, 0.05, 0.7)
    assert (project.gold_action, project.check_window) == ("pause", 20)
    assert manager.post("/p/kindness/settings/", sent | rates | {"gold_threshold": ""}).status_code == 302
    cast.project.refresh_from_db()
    assert cast.project.gold_threshold is None
    for wrong in ({"gold_rate": "1.5"}, {"gold_rate": "nan"}, {"check_window": "0"}, {"gold_rate": "0.99"}):
        reply = manager.post("/p/kindness/settings/", sent | rates | wrong)
        assert reply.status_code == 400
        assert len(reply.context["form"].errors) == 1


class TestImport:
    def imported(self, cast: Cast, tmp_path, *rows: dict[str, object]):
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        return import_file(project=cast.project, path=path, name=path.name, by=cast.manager)

    def test_a_ranking_or_a_pair_with_gold_is_a_gold_task_once(self, cast: Cast, tmp_path) -> None:
        ranked = {"prompt": "Eggs?", "gold": True, "labeler": "somebody"}
        ranked["responses"] = [{"text": text, "rank": rank} for text, rank in (("B", 2), ("A", 1), ("C", 2), ("D", 3))]
        pair = {"prompt": "Tea?", "chosen": "Hot.", "rejected": "Cold.", "gold": True}
        report = self.imported(cast, tmp_path, ranked, pair)
        assert (report.created["tasks"], report.created["judgments"]) == (2, 0)
        golds = list(gold.tasks_of(cast.project).order_by("pk"))
        texts = {response.pk: response.text for task in golds for response in task.responses.all()}
        orders = [[[texts[key] for key in tier] for tier in task.gold_tiers] for task in golds]
        assert orders == [[["A"], ["B", "C"], ["D"]], [["Hot."], ["Cold."]]]
        assert [(task.slots_free, task.state) for task in golds] == [(0, Task.State.GOLD)] * 2
        again = self.imported(cast, tmp_path, ranked, pair)
        assert (again.duplicates, gold.tasks_of(cast.project).count()) == (2, 2)

    def test_a_comparison_that_is_there_stays_and_the_report_says_so(self, cast: Cast, tmp_path) -> None:
        make_comparison(cast.project, "Tea?", texts=("Hot.", "Cold."))
        report = self.imported(cast, tmp_path, {"prompt": "Tea?", "chosen": "Hot.", "rejected": "Cold.", "gold": True})
        assert not gold.tasks_of(cast.project).exists()
        assert "the comparison was there already, without a known order" in str(report)

    @pytest.mark.parametrize(
        "row",
        [
            {"prompt": "Eggs?", "responses": ["A", "B"]},
            {"prompt": "Eggs?", "responses": [{"text": "A", "rank": 1}, {"text": "B", "rank": 1}]},
            {"prompt": "Eggs?", "responses": [{"text": "A", "rank": 1}, {"text": "B", "rank": None}]},
            {"prompt": "Eggs?", "response": "A"},
            {"prompt": "Eggs?"},
        ],
    )
    def test_without_an_order_a_gold_row_is_broken(self, cast: Cast, tmp_path, row: dict[str, object]) -> None:
        (error,) = self.imported(cast, tmp_path, row | {"gold": True}).errors
        assert "a gold row needs ranks that prefer at least one response to another" in str(error)
        assert not Task.objects.exists()
