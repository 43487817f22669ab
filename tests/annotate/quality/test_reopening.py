"""Judged tasks are given out again, chosen by a filter."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from annotate.errors import NotYours, Refused
from annotate.labeling import queue
from annotate.models import AuditEvent, Judgment, Prompt, Task, TaskConsensus, TaskReopening, User
from annotate.quality import consensus
from annotate.quality.review import adjudication, batch_changes, reopening
from annotate.quality.review.reopening import TaskFilter
from rlhf import tasks
from rlhf.runs import runs
from tests.annotate.quality.test_adjudication import decide, task_of
from tests.factories.cast import Cast, make_user

NOW = timezone.now


@pytest.fixture(autouse=True)
def sent(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Messages to workers. Two judgments a task."""
    cast.project.overlap = 2
    cast.project.save()
    found: list[tuple[object, ...]] = []
    monkeypatch.setattr(runs, "send", lambda *message, **options: found.append(message))
    return found


@pytest.fixture
def made(cast: Cast) -> list[Task]:
    """Complete tasks with agreements 2/3, 1, 0 and 1/3; the second is of another use case, the third a week old."""
    found = [
        task_of(cast, 0, "A > B > C", "A > C > B"),
        task_of(cast, 1, "A > B > C", "A > B > C"),
        task_of(cast, 2, "A > B > C", "C > B > A"),
        task_of(cast, 3, "A > B > C", "C > A > B"),
    ]
    Prompt.objects.filter(tasks=found[1]).update(use_case="brainstorming")
    Judgment.objects.filter(task=found[2]).update(created_at=NOW() - timedelta(days=7))
    consensus.refresh_due()
    return found


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ({}, [0, 1, 2, 3]),
        ({"agreement_below": 0.5}, [2, 3]),
        ({"use_case": "brainstorming"}, [1]),
        ({"after": timedelta(days=-1)}, [0, 1, 3]),
        ({"before": timedelta(days=-1)}, [2]),
        ({"agreement_below": 0.7, "after": timedelta(days=-1)}, [0, 3]),
    ],
)
def test_the_filter(cast: Cast, made: list[Task], values: dict[str, Any], numbers: list[int]) -> None:
    chosen = {name: NOW() + value if isinstance(value, timedelta) else value for name, value in values.items()}
    for chosen_by in (TaskFilter(**chosen), TaskFilter.stored(TaskFilter(**chosen).as_json())):
        assert set(chosen_by.tasks(cast.project)) == {made[number] for number in numbers}
        assert reopening.preview(project=cast.project, chosen=chosen_by) == len(numbers)


def test_of_a_labeler_and_neither_adjudicated_nor_left_out(cast: Cast, made: list[Task]) -> None:
    mine = TaskFilter(labeler=cast.labeler.pk)
    assert mine.tasks(cast.project).count() == 4
    assert TaskFilter(labeler=cast.reviewer.pk).tasks(cast.project).count() == 0
    assignment = adjudication.claim_next(reviewer=cast.reviewer, project=cast.project)
    assert assignment is not None
    decide(assignment)
    assert set(mine.tasks(cast.project)) == {made[0], made[1], made[3]}


def test_gives_them_to_those_who_have_not_judged_them(cast: Cast, made: list[Task]) -> None:
    third: User = make_user("third")
    cast.project.memberships.create(user=third, role="labeler")
    assert queue.claim_next(labeler=third, project=cast.project) is None
    done = reopening.reopen(project=cast.project, chosen=TaskFilter(agreement_below=0.5), judgments=1, by=cast.manager)
    assert (done.state, done.done, done.in_all) == ("done", 2, 2)
    values = Task.objects.order_by("pk").values_list("state", "judgments_wanted", "slots_free", "judgments_given")
    assert list(values) == [("complete", 2, 0, 2), ("complete", 2, 0, 2), ("open", 3, 1, 2), ("open", 3, 1, 2)]
    consensus.refresh_due()
    assert not TaskConsensus.objects.filter(task__in=made[2:], for_review=True).exists(), "they get judgments first"
    claimed = queue.claim_next(labeler=third, project=cast.project)
    assert claimed is not None
    assert claimed.task in made[2:]
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
    event = AuditEvent.objects.get(verb="tasks.reopened")
    assert (event.actor, event.detail) == (cast.manager, {"filters": {"agreement_below": 0.5}, "judgments": 1})


@pytest.mark.django_db(transaction=True)
def test_a_job_does_the_rest_once_though_tasks_are_complete_again(
    cast: Cast, made: list[Task], sent: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_changes, "AT_ONCE", 1)
    begun = reopening.reopen(project=cast.project, chosen=TaskFilter(), judgments=2, by=cast.manager)
    assert (begun.state, begun.done, sent) == (
        "waiting",
        1,
        [("rlhf.apply_batch_change", "taskreopening", begun.pk)],
    )
    Task.objects.filter(pk=made[0].pk).update(state="complete", slots_free=0, judgments_given=4)
    for _ in range(2):
        tasks.apply_batch_change("taskreopening", begun.pk)
    begun.refresh_from_db()
    assert (begun.state, begun.done, begun.in_all) == ("done", 4, 4)
    assert list(Task.objects.order_by("pk").values_list("judgments_wanted", flat=True)) == [4, 4, 4, 4]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"chosen": TaskFilter(agreement_below=0.0)}, "No judged task is like that, so there is nothing to give out"),
        ({"judgments": 0}, "Ask for 1 to 50 judgments more."),
        ({"judgments": 51}, "Ask for 1 to 50 judgments more."),
        ({"judgments": 5}, "5 judgments a task need as many labelers, and 4 people may judge here"),
    ],
)
def test_what_makes_no_sense_is_refused(cast: Cast, made: list[Task], values: Any, sentence: str) -> None:
    asked = {"project": cast.project, "chosen": TaskFilter(), "judgments": 1, "by": cast.manager}
    with pytest.raises(Refused, match=sentence):
        reopening.reopen(**asked | values)
    assert not TaskReopening.objects.exists()
    with pytest.raises(NotYours):
        reopening.reopen(**asked | {"by": cast.reviewer})
