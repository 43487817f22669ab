"""Judgments of AI labelers: stored by the queue's function, marked, apart from people's, and measured against them."""

import json
from typing import Any

import pytest
from django.contrib.auth import authenticate

from annotate.data import snapshots
from annotate.errors import InvalidOrdering, Refused
from annotate.labeling import ai_judgments, queue
from annotate.models import AILabeler, AuditEvent, Judgment, JudgmentRevision, Snapshot, Task
from annotate.people.permissions import count_people_who_judge
from annotate.quality import ai_agreement, consensus, measures, project_figures
from annotate.quality.measures.report import Period, PeriodReport
from tests.annotate.quality.test_consensus import judged
from tests.factories.cast import Cast, judge, make_comparison, response_ids


@pytest.fixture(autouse=True)
def data_folder(settings: Any, tmp_path: Any) -> None:
    settings.HONE_DATA = tmp_path


@pytest.fixture
def labeler(cast: Cast) -> AILabeler:
    return ai_judgments.create(
        project=cast.project, name="Fair judge", by=cast.manager, least_agreement=0.5, least_tasks=2
    )


def by_ai(labeler: AILabeler, task: Task, order: str, **details: Any) -> Judgment:
    shown = response_ids(task)
    ids = dict(zip("ABCDEFGHI", shown, strict=False))
    tiers = [[ids[letter.strip()] for letter in tier.split("=")] for tier in order.split(">")]
    return ai_judgments.store(labeler=labeler, task=task, presentation=shown, tiers=tiers, details=details).judgment


def pair(cast: Cast, number: int, *, texts: tuple[str, str] = ("One.", "Seventeen."), use_case: str = "other") -> Task:
    task = make_comparison(cast.project, f"Question {number}?", texts)
    type(task.prompt).objects.filter(pk=task.prompt_id).update(use_case=use_case)
    return task


def test_an_ai_labeler_is_nobody_who_works_here(cast: Cast, labeler: AILabeler) -> None:
    people = count_people_who_judge(cast.project)
    assert labeler.user.memberships.count() == 0
    assert not labeler.user.is_active
    assert authenticate(username=labeler.user.username, password="") is None
    assert count_people_who_judge(cast.project) == people
    assert labeler.author.kind == "model"
    assert AuditEvent.objects.get(verb="ai_labeler.created").actor == cast.manager


@pytest.mark.parametrize("name", ["", "  ", "human", "AI", "fair  JUDGE", "x" * 61])
def test_a_name_that_cannot_be_is_refused(cast: Cast, labeler: AILabeler, name: str) -> None:
    with pytest.raises(Refused):
        ai_judgments.create(project=cast.project, name=name, by=cast.manager)


def test_a_judgment_of_an_ai_takes_no_place(cast: Cast, labeler: AILabeler) -> None:
    task = make_comparison(cast.project)
    before = Task.objects.values().get(pk=task.pk)
    given = by_ai(labeler, task, "B > A > C = D", pairs=6, consistent=4)
    assert Task.objects.values().get(pk=task.pk) == before
    revision = given.latest
    assert revision is not None
    assert (given.ai_labeler, given.surplus, revision.source) == (labeler, True, "ai")
    assert revision.content == {"judge": "Fair judge", "judge_version": 1, "pairs": 6, "consistent": 4}
    # Both people get the task all the same, and complete it.
    for person in (cast.labeler, cast.second_labeler)[: task.judgments_wanted]:
        assignment = queue.claim_next(labeler=person, project=cast.project)
        assert assignment is not None
        assert assignment.task == task
        judge(assignment, [[key] for key in response_ids(task)])
    task.refresh_from_db()
    assert (task.state, task.judgments_given) == ("complete", task.judgments_wanted)


def test_the_same_version_judges_a_task_once_and_the_next_one_revises(cast: Cast, labeler: AILabeler) -> None:
    task = pair(cast, 1)
    by_ai(labeler, task, "A > B")
    by_ai(labeler, task, "B > A")
    assert JudgmentRevision.objects.count() == 1
    AILabeler.objects.update(version=2)
    labeler.refresh_from_db()
    given = by_ai(labeler, task, "B > A")
    assert given.latest is not None
    assert (Judgment.objects.count(), given.latest.number, given.latest.content["judge_version"]) == (1, 2, 2)
    assert given.surplus


def test_an_order_of_other_responses_is_refused_as_a_persons_is(cast: Cast, labeler: AILabeler) -> None:
    task, other = pair(cast, 1), pair(cast, 2)
    with pytest.raises(InvalidOrdering):
        ai_judgments.store(labeler=labeler, task=task, presentation=response_ids(task), tiers=[], details={})
    shown, strange = response_ids(task), [[key] for key in response_ids(other)]
    with pytest.raises(Refused):
        ai_judgments.store(labeler=labeler, task=task, presentation=shown, tiers=strange, details={})
    assert not Judgment.objects.exists()


def test_no_figure_of_people_knows_of_it(cast: Cast, labeler: AILabeler) -> None:
    tasks = [pair(cast, number) for number in range(3)]
    for task in tasks:
        judged(task, cast.labeler, "A > B")
        by_ai(labeler, task, "B > A")
    consensus.refresh_due()
    measures.fold(cast.project)
    total = PeriodReport(cast.project, Period.everything(cast.project)).total
    assert (total.judgments, total.agreement.total) == (3, 0)
    assert project_figures.count(cast.project).judgments == 3
    for task in tasks:
        assert (task.consensus.judgments, task.consensus.tiers) == (1, [[key] for key in response_ids(task)])
    assert Judgment.objects.filter(Judgment.WORK).count() == 3


def test_agreement_is_of_pairs_that_people_ordered_strictly(cast: Cast, labeler: AILabeler) -> None:
    # Six tasks of one pair: the person prefers A; the AI agrees on three, ties one, and says the opposite on two.
    for number, order in enumerate(["A > B", "A > B", "A > B", "A = B", "B > A", "B > A"]):
        task = pair(cast, number, use_case="generation" if number < 4 else "chat")
        judged(task, cast.labeler, "A > B")
        by_ai(labeler, task, order, pairs=1, consistent=int(number != 3))
    # Ties of people say nothing, nor do tasks that only one of the two judged.
    tied = pair(cast, 10, use_case="chat")
    judged(tied, cast.labeler, "A = B")
    by_ai(labeler, tied, "A > B", pairs=1, consistent=1)
    by_ai(labeler, pair(cast, 11), "A > B", pairs=1, consistent=1)
    found = {row.use_case: row for row in ai_agreement.rows(ai_agreement.measure(labeler))}
    assert set(found) == {"", "generation", "chat", "other"}
    everything, generation = found[""], found["generation"]
    assert (everything.tasks, everything.agreement.rate) == (6, 3.5 / 6)
    assert (generation.tasks, generation.agreement.rate) == (4, 3.5 / 4)
    assert found["chat"].agreement.rate == 0.0
    assert (found["other"].tasks, found["other"].agreement.rate) == (0, None)
    assert everything.consistency.rate == 7 / 8
    # B is the longer one: the AI prefers it in two of its six strict preferences where people judged, people never.
    assert (everything.longer.rate, everything.people_longer.rate) == (2 / 6, 0.0)
    assert everything.length_bias == pytest.approx(1 / 3)


def test_people_are_compared_with_each_other_on_the_same_tasks(cast: Cast, labeler: AILabeler) -> None:
    cast.project.overlap = 2
    cast.project.save()
    for number, second in enumerate(["A > B", "A > B", "B > A"]):
        task = pair(cast, number)
        judged(task, cast.labeler, "A > B")
        judged(task, cast.second_labeler, second)
        by_ai(labeler, task, "A > B")
    (everything, _other) = ai_agreement.rows(ai_agreement.measure(labeler))
    # Of six judgments by people the AI agrees with five; the two people agree on two of three tasks.
    assert (everything.agreement.rate, everything.people.rate) == (5 / 6, 2 / 3)


def agreed(cast: Cast, labeler: AILabeler, *, count: int, use_case: str = "other", first: int = 0) -> list[Task]:
    tasks = [pair(cast, number, use_case=use_case) for number in range(first, first + count)]
    for task in tasks:
        judged(task, cast.labeler, "A > B")
        by_ai(labeler, task, "A > B", pairs=1, consistent=1)
    return tasks


def test_only_use_cases_above_the_bound_count(cast: Cast, labeler: AILabeler) -> None:
    with pytest.raises(Refused, match="In no use case"):
        ai_agreement.count(labeler, by=cast.manager)
    agreed(cast, labeler, count=8, use_case="chat")
    agreed(cast, labeler, count=1, use_case="generation", first=20)  # too few tasks
    labeler = ai_agreement.count(labeler, by=cast.manager)
    assert (labeler.is_counted, labeler.counted_use_cases) == (True, ["chat"])
    assert AuditEvent.objects.get(verb="ai_labeler.counted").detail == {"use_cases": ["chat"], "version": 1}
    # Eight of eight: Wilson's interval begins at 0.68.
    AILabeler.objects.update(least_agreement=0.7)
    labeler = ai_agreement.measure(AILabeler.objects.get())
    assert (labeler.is_counted, labeler.counted_use_cases) == (False, [])
    assert AuditEvent.objects.get(verb="ai_labeler.below_bound").detail == {"use_cases": ["chat"]}
    with pytest.raises(Refused):
        ai_agreement.count(labeler, by=cast.manager)


def freeze(cast: Cast, **options: Any) -> tuple[list[dict[str, Any]], Snapshot]:
    frozen = snapshots.freeze(**{"project": cast.project, "kind": "rankings", "by": cast.manager, **options})
    rows = [
        json.loads(line)
        for split in ("train", "validation", "test")
        for line in snapshots.data_file(frozen, split).read_text(encoding="utf-8").splitlines()
    ]
    return rows, frozen


def test_snapshots_have_its_judgments_only_where_they_count(cast: Cast, labeler: AILabeler) -> None:
    agreed(cast, labeler, count=8, use_case="chat")
    unjudged, elsewhere = pair(cast, 30, use_case="chat"), pair(cast, 31, use_case="generation")
    by_ai(labeler, unjudged, "B > A")
    by_ai(labeler, elsewhere, "B > A")
    rows, _ = freeze(cast)
    assert len(rows) == 8
    assert {row["judge"] for row in rows} == {"human"}
    AILabeler.objects.update(weight=0.25)
    ai_agreement.count(AILabeler.objects.get(), by=cast.manager)
    rows, frozen = freeze(cast)
    of_ai = [row for row in rows if row["judge"] != "human"]
    assert (len(rows), len(of_ai)) == (17, 9)
    assert {(row["judge"], row["weight"]) for row in of_ai} == {("Fair judge", 0.25)}
    assert f"task-{unjudged.pk}" in {row["task"] for row in of_ai}
    assert f"task-{elsewhere.pk}" not in {row["task"] for row in of_ai}
    assert not any("weight" in row for row in rows if row["judge"] == "human")
    folder = snapshots.folder_of(frozen)
    assert json.loads((folder / "manifest.json").read_text())["counts"]["records_by_ai"] == 9
    assert "9 records were judged by a model" in (folder / "README.md").read_text()
    # Without AI sources, and with nothing else.
    assert len(freeze(cast, filters={"sources": ["human"]})[0]) == 8
    assert {row["judge"] for row in freeze(cast, filters={"sources": ["ai"]})[0]} == {"Fair judge"}
    # A new version has to be measured first.
    AILabeler.objects.update(version=2)
    assert len(freeze(cast)[0]) == 8


@pytest.mark.parametrize("aggregation", ["weighted", "consensus"])
def test_nothing_of_people_is_estimated_from_it(cast: Cast, labeler: AILabeler, aggregation: str) -> None:
    cast.project.overlap = 2
    cast.project.save()
    for task in agreed(cast, labeler, count=6):
        judged(task, cast.second_labeler, "A > B")
    before, _ = freeze(cast, aggregation=aggregation)
    AILabeler.objects.update(weight=0.5)
    ai_agreement.count(AILabeler.objects.get(), by=cast.manager)
    rows, _ = freeze(cast, aggregation=aggregation)
    assert [row for row in rows if row["judge"] == "human"] == before
    assert [row["weight"] for row in rows if row["judge"] != "human"] == [0.5] * 6


def test_a_task_that_a_reviewer_decided_is_the_reviewers(cast: Cast, labeler: AILabeler) -> None:
    tasks = agreed(cast, labeler, count=8)
    ai_agreement.count(AILabeler.objects.get(), by=cast.manager)
    decided = tasks[0].judgments.exclude(labeler=labeler.user).get()
    Judgment.objects.filter(pk=decided.pk).update(is_adjudication=True)
    rows, _ = freeze(cast)
    assert [row["judge"] for row in rows if row["task"] == f"task-{tasks[0].pk}"] == ["human"]
    assert sum(row["judge"] != "human" for row in rows) == 7


def test_a_revised_response_is_the_ais_and_comes_once(cast: Cast, labeler: AILabeler) -> None:
    task = pair(cast, 1)
    original = task.task_responses.get(number=1).response
    revised = ai_judgments.revise_response(labeler=labeler, original=original, written="A kinder one.", run=7)
    assert revised is not None
    assert (revised.author, revised.edited_from, revised.prompt) == (labeler.author, original, task.prompt)
    assert revised.sampling == {"run": 7, "revised_by_ai": True, "judge_version": 1}
    again = ai_judgments.revise_response(labeler=labeler, original=original, written="A kinder one.", run=8)
    assert again == revised
    assert ai_judgments.revise_response(labeler=labeler, original=original, written="Seventeen. ", run=7) is None
