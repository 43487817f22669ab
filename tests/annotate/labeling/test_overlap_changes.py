"""A new overlap is carried into many tasks by a job, while people work, and whatever dies in between."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.data import pacing
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.labeling.queue import overlap
from annotate.models import Assignment, OverlapChange, Project, Task
from annotate.models.leased_job import LEASE
from annotate.people.projects import edit_project
from rlhf import tasks
from rlhf.runs import runs
from tests.factories.cast import Cast, judge, make_comparison

State = OverlapChange.State
SETTINGS = "/p/kindness/settings/"


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Messages to workers."""
    found: list[tuple[object, ...]] = []
    monkeypatch.setattr(runs, "send", lambda *message, **options: found.append(message))
    return found


@pytest.fixture
def ten(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """As many tasks, three of which are changed within the request and the others by twos."""
    monkeypatch.setattr(overlap, "AT_ONCE", 3)
    monkeypatch.setattr(pacing, "FIRST_BATCH", 2)
    monkeypatch.setattr(pacing, "LARGEST_BATCH", 2)
    monkeypatch.setattr(overlap.Pace.__init__, "__kwdefaults__", {"largest": 2})
    return [make_comparison(cast.project, f"Question {number}", ("Yes.", "No.")) for number in range(10)]


def counts() -> list[tuple[int, int]]:
    """(judgments wanted, places free) of the tasks in the order of their numbers."""
    return list(Task.objects.order_by("pk").values_list("judgments_wanted", "slots_free"))


def begun(cast: Cast, new: int = 2) -> OverlapChange:
    edit_project(project=cast.project, by=cast.manager, overlap=new)
    return OverlapChange.objects.latest("pk")


def polled(client: Client) -> str:
    return client.get(SETTINGS, headers={"HX-Request": "true"}).content.decode()


class Killed(BaseException):
    """The process is gone."""


def die_at_batch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    batches = pacing.Pace.batches

    def killed(pace: pacing.Pace, items: list[int]) -> Iterator[list[int]]:
        for count, batch in enumerate(batches(pace, items), start=1):
            if count == number:
                raise Killed
            yield batch

    monkeypatch.setattr(pacing.Pace, "batches", killed)


def test_few_tasks_are_changed_at_once(cast: Cast, sent: list[tuple[object, ...]]) -> None:
    for number in range(3):
        make_comparison(cast.project, f"Question {number}")
    change = begun(cast)
    assert (change.state, change.tasks_changed, change.tasks_in_all) == (State.DONE, 3, 3)
    assert (counts(), sent) == ([(2, 2)] * 3, [])


@pytest.mark.django_db(transaction=True)
def test_the_page_says_at_once_that_it_is_under_way_then_how_far_and_how_many_there_were(
    cast: Cast, ten: list[Task], sent: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    client.force_login(cast.manager)
    form = client.get(SETTINGS).context["form"]
    fields = {bound.html_name: str(bound.value() or "") for bound in form if bound.value() is not False}
    page = client.post(SETTINGS, fields | {"overlap": "2"}, follow=True).content.decode()
    change = OverlapChange.objects.get()
    assert sent == [("rlhf.change_overlap", change.pk)]
    assert "The new overlap 2 is being applied to the tasks that there are." in page
    assert "It waits for a worker." in page
    assert counts() == [(2, 2)] * 3 + [(1, 1)] * 7
    with monkeypatch.context() as patched:
        die_at_batch(patched, 3)
        with pytest.raises(Killed):
            tasks.change_overlap(change.pk)
    assert "7 of 10 tasks changed" in polled(client)
    OverlapChange.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    tasks.change_overlap(change.pk)
    assert counts() == [(2, 2)] * 10
    ended = polled(client)
    assert ": 10 tasks changed." in ended
    assert "hx-trigger" not in ended


def test_a_job_that_was_killed_between_two_batches_is_finished_by_another_one_and_no_task_is_counted_twice(
    cast: Cast, ten: list[Task], sent: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = begun(cast)
    with monkeypatch.context() as patched:
        die_at_batch(patched, 2)
        with pytest.raises(Killed):
            tasks.change_overlap(change.pk)
    assert counts() == [(2, 2)] * 5 + [(1, 1)] * 5
    tasks.change_overlap(change.pk)  # the message came twice, and the lease isn't over
    assert counts() == [(2, 2)] * 5 + [(1, 1)] * 5
    later = timezone.now() + LEASE + timedelta(seconds=1)
    assert list(queue.abandoned_overlap_changes(now=later)) == [change]
    OverlapChange.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    sent.clear()
    tasks.reap_queue()
    assert ("rlhf.change_overlap", change.pk) in sent
    tasks.change_overlap(change.pk)
    tasks.change_overlap(change.pk)
    change.refresh_from_db()
    assert (change.state, change.tasks_changed, change.tasks_in_all) == (State.DONE, 10, 10)
    assert counts() == [(2, 2)] * 10


def test_people_work_between_two_batches(cast: Cast, ten: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    """One task is judged before its batch, one is held, and both want one judgment more afterwards."""
    change = begun(cast)
    Task.objects.filter(pk=ten[9].pk).update(priority=2)
    Task.objects.filter(pk=ten[8].pk).update(priority=1)
    batches = pacing.Pace.batches

    def with_work(pace: pacing.Pace, items: list[int]) -> Iterator[list[int]]:
        for count, batch in enumerate(batches(pace, items), start=1):
            if count == 2:
                first = queue.claim_next(labeler=cast.labeler, project=cast.project)
                assert first is not None
                judge(first, [first.presentation])
                assert first.task == ten[9]
            yield batch

    monkeypatch.setattr(pacing.Pace, "batches", with_work)
    tasks.change_overlap(change.pk)
    held = Assignment.objects.get(state=Assignment.State.AHEAD)
    assert held.task == ten[8]
    assert counts() == [(2, 2)] * 8 + [(2, 1), (2, 1)]
    judged = Task.objects.get(pk=ten[9].pk)
    assert (judged.state, judged.judgments_given) == (Task.State.OPEN, 1)
    second = queue.claim_next(labeler=cast.second_labeler, project=cast.project)
    assert second is not None
    assert second.task == ten[9]


def test_a_newer_change_takes_the_place_of_one_that_is_under_way(cast: Cast, ten: list[Task]) -> None:
    first = begun(cast)
    second = begun(cast, 3)
    tasks.change_overlap(first.pk)
    assert counts() == [(3, 3)] * 3 + [(1, 1)] * 7
    tasks.change_overlap(second.pk)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, first.tasks_changed) == (State.REPLACED, 3)
    assert (second.state, second.tasks_changed) == (State.DONE, 10)
    assert counts() == [(3, 3)] * 10


def test_a_job_stops_between_two_batches_when_a_newer_change_comes(
    cast: Cast, ten: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = begun(cast)
    batches = pacing.Pace.batches

    def overtaken(pace: pacing.Pace, items: list[int]) -> Iterator[list[int]]:
        for count, batch in enumerate(batches(pace, items), start=1):
            if count == 2:
                queue.plan_overlap_change(project=cast.project, overlap=1)
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(pacing.Pace, "batches", overtaken)
        tasks.change_overlap(change.pk)
    assert counts() == [(2, 2)] * 5 + [(1, 1)] * 5
    tasks.change_overlap(OverlapChange.objects.latest("pk").pk)
    assert counts() == [(1, 1)] * 10


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        (0, "Judgments a task (n): Ensure this value is greater than or equal to 1."),
        (5, "5 judgments a task need as many labelers, and 4 people may judge here: invite more first."),
    ],
)
def test_what_nobody_can_give_is_refused_in_a_sentence(cast: Cast, new: int, sentence: str) -> None:
    with pytest.raises(Refused) as refusal:
        edit_project(project=cast.project, by=cast.manager, overlap=new)
    assert (str(refusal.value), refusal.value.status) == (sentence, 400)
    assert Project.objects.get(pk=cast.project.pk).overlap == 1
    assert not OverlapChange.objects.exists()
