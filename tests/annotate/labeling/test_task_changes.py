"""A new priority, reservation or skill is carried into many tasks by a job, while people work, and whatever dies."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate.data import pacing
from annotate.errors import NotYours, Refused
from annotate.labeling import queue
from annotate.labeling.queue import adaptive_overlap, overlap, task_changes
from annotate.models import AuditEvent, Membership, OverlapChange, Project, Prompt, Skill, Task, TaskChange
from annotate.people import members
from annotate.people.projects import edit_project
from rlhf import tasks
from rlhf.runs import runs
from tests.factories.cast import Cast, judge, make_comparison

State = TaskChange.State


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Messages to workers."""
    found: list[tuple[object, ...]] = []
    monkeypatch.setattr(runs, "send", lambda *message, **options: found.append(message))
    return found


@pytest.fixture
def ten(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """As many tasks, four of which are changed within the request and the others by twos."""
    monkeypatch.setattr(task_changes, "AT_ONCE", 4)
    monkeypatch.setattr(pacing, "FIRST_BATCH", 2)
    monkeypatch.setattr(task_changes.Pace.__init__, "__kwdefaults__", {"largest": 2})
    return [make_comparison(cast.project, f"Question {number}", ("Yes.", "No.")) for number in range(10)]


class Killed(BaseException):
    """The process is gone."""


def plan(cast: Cast, selection: dict[str, Any] | None = None, **values: Any) -> TaskChange:
    return queue.plan_task_change(project=cast.project, by=cast.manager, selection=selection or {}, values=values)


def priorities() -> list[int]:
    return list(Task.objects.order_by("pk").values_list("priority", flat=True))


@pytest.mark.django_db(transaction=True)
def test_the_first_are_changed_at_once_and_the_rest_by_a_job(
    cast: Cast, ten: list[Task], sent: list[tuple[object, ...]]
) -> None:
    change = plan(cast, priority=7)
    queue.begin_task_change(change)
    assert (change.state, change.tasks_changed, priorities()) == (State.WAITING, 4, [7] * 4 + [0] * 6)
    assert sent == [("rlhf.change_tasks", change.pk)]
    later = make_comparison(cast.project, "Later?", ("Yes.", "No."))
    tasks.change_tasks(change.pk)
    change.refresh_from_db()
    assert (change.state, change.tasks_changed, priorities()) == (State.DONE, 10, [7] * 10 + [0])
    assert Task.objects.order_by("position").last() == later


def test_a_job_that_was_killed_is_finished_by_another_one_and_no_task_is_counted_twice(
    cast: Cast, ten: list[Task], sent: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = plan(cast, priority=7)
    give, given = task_changes._give, iter(range(10))

    def killed(change: TaskChange, batch: list[int]) -> int:
        if next(given) == 2:
            raise Killed
        return give(change, batch)

    with monkeypatch.context() as patched:
        patched.setattr(task_changes, "_give", killed)
        with pytest.raises(Killed):
            tasks.change_tasks(change.pk)
    assert priorities() == [7] * 4 + [0] * 6
    tasks.change_tasks(change.pk)  # the message came twice, and the lease isn't over
    assert priorities() == [7] * 4 + [0] * 6
    TaskChange.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    tasks.reap_queue()
    assert ("rlhf.change_tasks", change.pk) in sent
    tasks.change_tasks(change.pk)
    tasks.change_tasks(change.pk)
    change.refresh_from_db()
    assert (change.state, change.tasks_changed, priorities()) == (State.DONE, 10, [7] * 10)


def test_a_later_change_waits_for_an_earlier_one_and_holds(cast: Cast, ten: list[Task]) -> None:
    first, second = plan(cast, priority=7), plan(cast, priority=1)
    tasks.change_tasks(second.pk)
    assert priorities() == [0] * 10
    assert list(queue.abandoned_task_changes(now=timezone.now())) == [first]
    tasks.change_tasks(first.pk)
    tasks.change_tasks(second.pk)
    assert priorities() == [1] * 10


def test_people_work_between_two_batches_and_get_what_came_first_meanwhile(
    cast: Cast, ten: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = plan(cast, {"pk__in": [task.pk for task in ten[4:]]}, priority=5)
    held = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    assert held is not None
    batches = pacing.Pace.batches

    def with_work(pace: pacing.Pace, items: list[int]) -> Iterator[list[int]]:
        for batch in batches(pace, items):
            if ten[6].pk in batch:
                judge(held, [held.presentation])
            yield batch

    monkeypatch.setattr(pacing.Pace, "batches", with_work)
    tasks.change_tasks(change.pk)
    assert Task.objects.filter(priority=5, slots_free=1).count() == 6 - (held.task in ten[4:])
    following = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    assert following is not None
    assert following.task in ten[4:]


def test_reserves_and_releases_and_gives_skills_by_what_tasks_are(cast: Cast) -> None:
    chinese, english = make_comparison(cast.project, "Zh?"), make_comparison(cast.project, "En?")
    Prompt.objects.filter(pk=chinese.prompt_id).update(language="zh")
    members.set_work_rules(
        membership=Membership.objects.get(user=cast.labeler), by=cast.manager, daily_limit=None, skills=["Law"]
    )
    law = Skill.objects.get()
    queue.begin_task_change(plan(cast, {"prompt__language": "zh"}, reserved_for=cast.labeler.pk, skill=law.pk))
    found = {task.pk: (task.reserved_for, task.skill) for task in Task.objects.all()}
    assert found == {chinese.pk: (cast.labeler, law), english.pk: (None, None)}
    queue.begin_task_change(plan(cast, {"reserved_for": cast.labeler.pk}, reserved_for=None, skill=None))
    assert not Task.objects.exclude(reserved_for=None, skill=None).exists()
    event = AuditEvent.objects.filter(verb="tasks.changed").order_by("-pk")[0]
    assert (event.actor, event.detail) == (
        cast.manager,
        {"selection": {"reserved_for": cast.labeler.pk}, "values": {"reserved_for": None, "skill": None}},
    )


def test_who_leaves_leaves_no_task_reserved_however_many_there_are(
    cast: Cast, ten: list[Task], sent: list[tuple[object, ...]], django_capture_on_commit_callbacks: Any
) -> None:
    Task.objects.update(reserved_for=cast.labeler)
    with django_capture_on_commit_callbacks(execute=True):
        members.remove_role(user=cast.labeler, project=cast.project, role="labeler", by=cast.manager)
    assert Task.objects.filter(reserved_for=cast.labeler).count() == 6
    change = TaskChange.objects.get()
    assert sent == [("rlhf.change_tasks", change.pk)]
    tasks.change_tasks(change.pk)
    assert not Task.objects.filter(reserved_for=cast.labeler).exists()
    members.remove_role(user=cast.second_labeler, project=cast.project, role="labeler", by=cast.manager)
    assert TaskChange.objects.count() == 1


def numbers() -> list[tuple[int, int, str]]:
    """(judgments wanted, places free, state) of the tasks in the order of their numbers."""
    return list(Task.objects.order_by("pk").values_list("judgments_wanted", "slots_free", "state"))


def test_chosen_tasks_want_another_number_of_judgments_while_they_are_held_and_judged(cast: Cast) -> None:
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    tasks_there = [make_comparison(cast.project, f"Question {number}", ("Yes.", "No.")) for number in range(3)]
    held = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert held is not None
    judge(held, [held.presentation])
    other = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    assert other is not None
    chosen = {"pk__in": [held.task_id, other.task_id]}
    queue.begin_task_change(plan(cast, chosen, judgments_wanted=1))
    left = ({task.pk for task in tasks_there} - set(chosen["pk__in"])).pop()
    expected = {held.task_id: (1, 0, "complete"), other.task_id: (1, 0, "open"), left: (2, 2, "open")}
    assert numbers() == [expected[task.pk] for task in tasks_there]
    assert Task.objects.exclude(consensus_stale_at=None).filter(pk=held.task_id).exists()
    judge(other, [other.presentation])
    queue.begin_task_change(plan(cast, {"judgments_given": 0}, judgments_wanted=3))
    expected = {held.task_id: (1, 0, "complete"), other.task_id: (1, 0, "complete"), left: (3, 3, "open")}
    assert numbers() == [expected[task.pk] for task in tasks_there]


def test_tasks_that_a_smaller_number_completes_adapt_to_disagreement(cast: Cast) -> None:
    adaptive = {"adaptive_overlap": True, "overlap_least": 2, "overlap_most": 4}
    edit_project(project=cast.project, by=cast.manager, overlap=3, **adaptive)
    task = make_comparison(cast.project, "Question", ("Yes.", "No."))
    queue.begin_task_change(plan(cast, judgments_wanted=3))
    for labeler, best in ((cast.labeler, 0), (cast.second_labeler, 1)):
        held = queue.claim_next(labeler=labeler, project=cast.project)
        assert held is not None
        shown = sorted(held.presentation)
        judge(held, [[shown[best]], [shown[1 - best]]])
    queue.begin_task_change(plan(cast, judgments_wanted=2))
    assert numbers() == [(2, 0, "complete")]
    assert list(Task.objects.exclude(checks_stale_at=None)) == [task]
    assert adaptive_overlap.adapt(Project.objects.get(pk=cast.project.pk), [task.pk]) == 1
    assert numbers() == [(3, 1, "open")]


def test_of_a_new_overlap_and_a_number_of_some_tasks_the_later_waits_for_the_earlier(
    cast: Cast, ten: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "AT_ONCE", 4)
    change = plan(cast, judgments_wanted=2)
    with pytest.raises(Refused, match="The number of judgments of some tasks is being changed: save the overlap again"):
        edit_project(project=cast.project, by=cast.manager, overlap=3)
    tasks.change_tasks(change.pk)
    edit_project(project=cast.project, by=cast.manager, overlap=3)
    with pytest.raises(Refused, match="A new overlap is being applied to all tasks: change single ones when that is"):
        plan(cast, judgments_wanted=2)
    assert plan(cast, priority=1).values == {"priority": 1}
    tasks.change_overlap(OverlapChange.objects.latest("pk").pk)
    assert set(numbers()) == {(3, 3, "open")}


@pytest.mark.parametrize(
    ("selection", "values", "sentence"),
    [
        ({}, {}, "Say a priority, a labeler, a skill or a number of judgments."),
        ({}, {"state": "complete"}, "Say a priority, a labeler, a skill or a number of judgments."),
        ({}, {"judgments_wanted": 0}, "A task wants at least 1 judgment: withdraw tasks that nobody is to judge."),
        ({}, {"judgments_wanted": None}, "A task wants at least 1 judgment: withdraw tasks that nobody is to judge."),
        (
            {},
            {"judgments_wanted": 5},
            "5 judgments a task need as many labelers, and 4 people may judge here: invite more first.",
        ),
        ({}, {"priority": 1_001}, "A priority is a number from -1000 to 1000."),
        ({}, {"priority": True}, "A priority is a number from -1000 to 1000."),
        ({}, {"skill": 99}, "This project has no such skill."),
        ({}, {"reserved_for": 0}, "Tasks are reserved for somebody who labels in this project."),
        ({"project": 1}, {"priority": 1}, "Tasks aren’t selected by project."),
        ({"priority": "high"}, {"priority": 1}, "The selection of tasks has a value that can’t be."),
        ({"pk__in": [*range(10_001)]}, {"priority": 1}, "Name 10000 tasks at most, or select them by what they are."),
    ],
)
def test_what_cannot_be_is_refused(
    cast: Cast, selection: dict[str, Any], values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Refused) as refusal:
        plan(cast, selection, **values)
    assert (str(refusal.value), TaskChange.objects.count()) == (sentence, 0)


def test_is_for_managers(cast: Cast) -> None:
    with pytest.raises(NotYours):
        queue.plan_task_change(project=cast.project, by=cast.reviewer, selection={}, values={"priority": 1})


def test_the_command(cast: Cast) -> None:
    make_comparison(cast.project)
    out = StringIO()
    call_command("change_tasks", "kindness", "--kind", "compare", "--reserve", "labeler", "--priority", "3", stdout=out)
    assert out.getvalue() == "1 tasks changed\n"
    assert Task.objects.filter(priority=3, reserved_for=cast.labeler).count() == 1
    call_command("change_tasks", "kindness", "--judgments", "2", stdout=out)
    assert Task.objects.filter(judgments_wanted=2, slots_free=2).count() == 1
    contrary = ["--release", "--reserve", "labeler"]
    for wrong in (["--judgments", "0"], ["--reserve", "nobody"], ["--skill", "Law"], contrary, []):
        with pytest.raises(CommandError):
            call_command("change_tasks", "kindness", *wrong)
