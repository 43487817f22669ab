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
from annotate.labeling.queue import task_changes
from annotate.models import AuditEvent, Membership, Prompt, Skill, Task, TaskChange
from annotate.people import members
from rlhf import tasks
from rlhf.runs import runs
from tests.cast import Cast, judge, make_comparison

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


@pytest.mark.parametrize(
    ("selection", "values", "sentence"),
    [
        ({}, {}, "Say a priority, a labeler or a skill."),
        ({}, {"state": "complete"}, "Say a priority, a labeler or a skill."),
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
    for wrong in (["--reserve", "nobody"], ["--skill", "Law"], ["--release", "--reserve", "labeler"], []):
        with pytest.raises(CommandError):
            call_command("change_tasks", "kindness", *wrong)
