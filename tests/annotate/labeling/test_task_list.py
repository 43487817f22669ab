"""The list of tasks: filters, full-text search, pages by key."""

import re
from typing import Any

import pytest
from django.test import Client

from annotate.data import bounded_listing
from annotate.data.text_search import search_index
from annotate.errors import NotYours, Refused
from annotate.labeling import queue, requested_tasks
from annotate.labeling.task_list import task_edits, task_filters, task_listing
from annotate.labeling.task_list.task_filters import TaskFilters
from annotate.models import Project, Prompt, Skill, Task
from annotate.people.projects import edit_project
from annotate.quality import consensus
from tests.annotate.quality.measures.judging import judged
from tests.factories.cast import Cast, judge, make_comparison, make_prompt
from tests.harness.markup import markup

pytestmark = pytest.mark.django_db


def numbers(project: Project, size: int = 50, **given: str) -> list[int]:
    return [task.pk for task in task_listing.page(TaskFilters.of(project, given), size=size).tasks]


@pytest.fixture
def tasks(cast: Cast) -> dict[str, Task]:
    """Tasks that differ in what is filtered by; another project's has all of it."""
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    found = {
        "eggs": make_comparison(cast.project, priority=3),
        "weather": make_comparison(cast.project, "今天天气怎么样？", ("很好。", "不好。")),
        "judged": make_comparison(cast.project, "Whom do you trust?", ("Nobody.", "A hen.")),
    }
    Prompt.objects.filter(pk=found["weather"].prompt_id).update(language="zh-hans", use_case="chat")
    make_comparison(cast.other_project)
    Task.objects.filter(pk__in=[found["eggs"].pk, found["weather"].pk]).update(state=Task.State.WITHDRAWN)
    for labeler in (cast.labeler, cast.second_labeler):
        assignment = queue.claim_next(labeler=labeler, project=Project.objects.get(pk=cast.project.pk))
        assert assignment is not None
        judge(assignment, [[pk] for pk in sorted(assignment.presentation)])
    consensus.refresh_due()
    make_prompt(cast.project, "Write me.")
    requested_tasks.add(
        project=cast.project, by=cast.manager, kind="demonstrate", count=1, filters={"use_case": "other"}
    )
    found["written"] = Task.objects.get(kind="demonstrate")
    search_index.index_due()
    return found


CASES: list[tuple[dict[str, str], list[str]]] = [
    ({}, ["written", "judged", "weather", "eggs"]),
    ({"state": "withdrawn"}, ["weather", "eggs"]),
    ({"kind": "demonstrate"}, ["written"]),
    ({"use_case": "chat"}, ["weather"]),
    ({"language": "zh-hans"}, ["weather"]),
    ({"priority": "raised"}, ["eggs"]),
    ({"author": "A-Model", "state": "withdrawn"}, ["weather", "eggs"]),
    ({"author": "nobody"}, []),
    ({"confidence": "middle"}, ["judged"]),
    ({"confidence": "low"}, []),
    ({"agreement": "high"}, ["judged"]),
    ({"agreement": "low"}, []),
    ({"q": "boil egg"}, ["written", "eggs"]),
    ({"q": "天气"}, ["weather"]),
    ({"q": "hen", "state": "complete"}, ["judged"]),
    ({"q": "hen", "language": "zh-hans"}, []),
    ({"q": "!?"}, []),
    ({"state": "no such state", "labeler": "0"}, ["written", "judged", "weather", "eggs"]),
]


@pytest.mark.parametrize(("given", "names"), CASES)
@pytest.mark.parametrize(
    ("few", "widest"),
    [(task_filters.FEW, search_index.WIDEST), (-1, search_index.WIDEST), (-1, -1)],
    ids=["few", "many", "prompts far apart"],
)
def test_filters_let_through_what_they_say(
    cast: Cast, tasks: dict[str, Task], given: dict[str, str], names: list[str], few: int, widest: int, monkeypatch: Any
) -> None:
    """By asking an index for the few, and by looking through all, whose words are read at once or one by one: the
    same."""
    monkeypatch.setattr(task_filters, "FEW", few)
    monkeypatch.setattr(search_index, "WIDEST", widest)
    wanted = [tasks[name].pk for name in names]
    assert [pk for pk in numbers(cast.project, **given) if pk in {task.pk for task in tasks.values()}] == wanted


def test_a_labeler_and_a_number(cast: Cast, tasks: dict[str, Task]) -> None:
    assert numbers(cast.project, labeler=str(cast.labeler.pk)) == [tasks["judged"].pk]
    assert numbers(cast.project, labeler=str(cast.manager.pk)) == []
    assert numbers(cast.project, labeler=str(cast.outsider.pk))[0] == tasks["written"].pk
    assert numbers(cast.project, q=f"#{tasks['eggs'].pk}") == [tasks["eggs"].pk]
    assert numbers(cast.project, q="#999999999999999999") == []
    other = Task.objects.get(project=cast.other_project)
    assert numbers(cast.project, q=f"#{other.pk}") == []


@pytest.mark.parametrize("few", [task_filters.FEW, -1], ids=["few", "many"])
def test_pages_follow_each_other_by_key(cast: Cast, few: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(task_filters, "FEW", few)
    monkeypatch.setattr(bounded_listing, "FIRST_WINDOW", 3)
    made = [make_comparison(cast.project, f"Question {number}?").pk for number in range(7)]
    filters = TaskFilters.of(cast.project, {"state": "open"})
    first = task_listing.page(filters, size=3)
    make_comparison(cast.project, "Newer than the first page")
    second = task_listing.page(filters, before=first.before, size=3)
    third = task_listing.page(filters, before=second.before, size=3)
    shown = [task.pk for page in (first, second, third) for task in page.tasks]
    assert shown == made[::-1]
    assert (third.before, third.searched_to) == (None, None)


def test_a_search_that_takes_too_long_says_how_far_it_came(cast: Cast, monkeypatch: Any) -> None:
    monkeypatch.setattr(task_filters, "FEW", -1)
    monkeypatch.setattr(bounded_listing, "FIRST_WINDOW", 2)
    monkeypatch.setattr(bounded_listing, "LARGEST_WINDOW", 2)
    made = [make_comparison(cast.project, f"Question {number}?", priority=number == 0) for number in range(5)]
    filters, before, looked = TaskFilters.of(cast.project, {"priority": "raised"}), None, 0
    while looked < 5:
        page = task_listing.page(filters, before=before, seconds=0)
        looked, before = looked + 1, page.searched_to
        if before is None:
            break
        assert page.tasks == []
    assert [task.pk for task in page.tasks] == [made[0].pk]
    assert looked == 3


def of(project: Project, **given: str) -> TaskFilters:
    return TaskFilters.of(project, given)


class TestChanges:
    def test_ticked_tasks_get_a_priority_and_a_labeler(self, cast: Cast) -> None:
        made = [make_comparison(cast.project, f"Question {number}?").pk for number in range(3)]
        task_edits.change(filters=of(cast.project), by=cast.manager, ticked=made[:2], values={"priority": 7})
        assert numbers(cast.project, priority="raised") == made[1::-1]
        change = {"reserved_for": cast.labeler.pk}
        task_edits.change(filters=of(cast.project), by=cast.manager, ticked=[made[0]], values=change)
        assert numbers(cast.project, reserved=str(cast.labeler.pk)) == [made[0]]

    @pytest.mark.parametrize("given", [{"q": "weather"}, {"language": "zh"}, {"author": "A-MODEL", "language": "zh"}])
    def test_all_that_pass_are_changed_and_no_other(self, cast: Cast, given: dict[str, str]) -> None:
        make_comparison(cast.project)
        weather = make_comparison(cast.project, "The weather?")
        Prompt.objects.filter(pk=weather.prompt_id).update(language="zh")
        search_index.index_due()
        filters = of(cast.project, **given)
        task_edits.change(filters=filters, by=cast.manager, ticked=None, values={"priority": -2})
        assert numbers(cast.project, priority="lowered") == [weather.pk]

    def test_a_skill_is_found_again(self, cast: Cast) -> None:
        skill = Skill.objects.create(project=cast.project, name="Python")
        task = make_comparison(cast.project)
        make_comparison(cast.project, "Another?")
        task_edits.change(filters=of(cast.project), by=cast.manager, ticked=[task.pk], values={"skill": skill.pk})
        assert numbers(cast.project, skill=str(skill.pk)) == [task.pk]

    def test_withdrawn_and_put_back(self, cast: Cast) -> None:
        first, second = (make_comparison(cast.project, f"Question {number}?").pk for number in range(2))
        assert task_edits.withdraw(filters=of(cast.project), by=cast.manager, ticked=[first]) == 1
        assert numbers(cast.project, state="withdrawn") == [first]
        withdrawn = of(cast.project, state="withdrawn")
        assert task_edits.withdraw(filters=withdrawn, by=cast.manager, ticked=None, restore=True) == 1
        assert numbers(cast.project, state="open") == [second, first]

    def test_what_cannot_be_is_refused_with_a_sentence(self, cast: Cast, monkeypatch: Any) -> None:
        make_comparison(cast.project)
        other = make_comparison(cast.other_project)
        filters = of(cast.project)
        with pytest.raises(Refused, match="Tick the tasks first"):
            task_edits.change(filters=filters, by=cast.manager, ticked=[other.pk], values={"priority": 1})
        complete = of(cast.project, state="complete")
        with pytest.raises(Refused, match="Only open tasks"):
            task_edits.change(filters=complete, by=cast.manager, ticked=None, values={"priority": 1})
        monkeypatch.setattr(task_edits, "MOST_WITHDRAWN", 0)
        with pytest.raises(Refused, match="More than 0 tasks"):
            task_edits.withdraw(filters=filters, by=cast.manager, ticked=None)
        with pytest.raises(NotYours):
            task_edits.withdraw(filters=filters, by=cast.researcher, ticked=[Task.objects.earliest("pk").pk])


class TestThePage:
    @pytest.fixture
    def manager(self, cast: Cast, client: Client) -> Client:
        client.force_login(cast.manager)
        return client

    def test_keeps_filters_in_the_address_as_chips(self, cast: Cast, manager: Client, tasks: dict[str, Task]) -> None:
        page = manager.get("/p/kindness/tasks/?state=withdrawn&q=egg&nonsense=1").content.decode()
        assert '<a class="chip" href="?q=egg">' in page
        assert '<a class="chip" href="?state=withdrawn">' in page
        assert f"/p/kindness/tasks/{tasks['eggs'].pk}/" in page
        assert f"/p/kindness/tasks/{tasks['weather'].pk}/" not in page

    def test_replies_to_htmx_with_the_list_alone(self, cast: Cast, manager: Client, tasks: dict[str, Task]) -> None:
        headers = {"HX-Request": "true", "HX-Target": "task-list"}
        part = manager.get("/p/kindness/tasks/?q=天气", headers=headers).content.decode()
        assert part.strip().startswith('<div id="task-list"')
        assert "今天天气怎么样" in part

    def test_says_that_texts_are_still_to_be_indexed(self, cast: Cast, manager: Client) -> None:
        make_comparison(cast.project)
        assert "still being indexed" in manager.get("/p/kindness/tasks/?q=egg").content.decode()
        search_index.index_due()
        assert "still being indexed" not in manager.get("/p/kindness/tasks/?q=egg").content.decode()

    def test_a_task_shows_its_authors_and_judgments(self, cast: Cast, manager: Client, tasks: dict[str, Task]) -> None:
        page = manager.get(f"/p/kindness/tasks/{tasks['judged'].pk}/").content.decode()
        assert "Whom do you trust?" in page
        assert "a-model" in page
        assert page.count('href="/p/kindness/review/') >= 2
        other = Task.objects.get(project=cast.other_project)
        assert manager.get(f"/p/kindness/tasks/{other.pk}/").status_code == 404

    def test_changes_tasks_and_shows_the_same_list(self, cast: Cast, manager: Client) -> None:
        task = make_comparison(cast.project)
        fields = {"act": "priority", "priority": "4", "task": [str(task.pk)]}
        reply = manager.post("/p/kindness/tasks/change?kind=compare", fields)
        assert reply["Location"] == "/p/kindness/tasks/?kind=compare"
        assert Task.objects.get().priority == 4
        more = {"act": "judgments_wanted", "judgments_wanted": "2", "scope": "passing"}
        assert manager.post("/p/kindness/tasks/change?kind=compare", more).status_code == 302
        assert Task.objects.get().judgments_wanted == 2
        for number, sentence in (("0", "A task wants at least 1 judgment"), ("5", "5 judgments a task need as many")):
            refused = manager.post("/p/kindness/tasks/change", more | {"judgments_wanted": number})
            assert (refused.status_code, sentence in refused.content.decode()) == (400, True)
        for wrong in ({"act": "priority", "priority": "x"}, {"act": "no"}, {"act": "priority", "priority": "9999"}):
            assert manager.post("/p/kindness/tasks/change", {"task": [str(task.pk)], **wrong}).status_code == 400
        manager.post("/p/kindness/tasks/change", {"act": "withdraw", "scope": "passing"})
        assert Task.objects.get().state == "withdrawn"

    def test_orders_of_a_task_are_in_the_letters_of_its_page(self, cast: Cast, manager: Client) -> None:
        edit_project(project=cast.project, by=cast.manager, overlap=2)
        task = make_comparison(cast.project, "Which?", ("Yes.", "No."))
        judged(task, cast.labeler, "B > A", shown="AB")
        judged(task, cast.second_labeler, "B > A", shown="BA")
        consensus.refresh_due()
        page = markup(manager.get(f"/p/kindness/tasks/{task.pk}/"))
        assert page.count("B &gt; A</a>") == 2
        assert re.search(r"Confidence of the consensus: \d+% · B &gt; A", page)
        assert '<h2 class="small">A ·<bdi>a-model</bdi></h2>' in page

    def test_repeats_are_in_the_list_when_asked_for(self, cast: Cast, manager: Client) -> None:
        task = make_comparison(cast.project)
        repeat = make_comparison(cast.project, "Once more?")
        Task.objects.filter(pk=repeat.pk).update(state=Task.State.REPEAT)
        address, link = "/p/kindness/tasks/", f'href="/p/kindness/tasks/{repeat.pk}/"'
        assert f'href="/p/kindness/tasks/{task.pk}/"' in manager.get(address).content.decode()
        assert link not in manager.get(address).content.decode()
        for asked in ("?state=repeat", f"?q=%23{repeat.pk}"):
            assert link in manager.get(address + asked).content.decode()

    def test_costs_a_bounded_number_of_queries(
        self, cast: Cast, manager: Client, tasks: dict[str, Task], django_assert_max_num_queries: Any
    ) -> None:
        with django_assert_max_num_queries(45):
            manager.get("/p/kindness/tasks/?state=complete&q=hen")
