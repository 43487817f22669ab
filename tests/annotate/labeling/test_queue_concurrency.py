"""Many labelers at once, each with a real connection of their own: nothing is given twice, nothing is left over."""

import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Count

from annotate.labeling import queue
from annotate.models import Assignment, Judgment, JudgmentRevision, Membership, Project, Task
from annotate.people.projects import create_project
from tests.factories.cast import make_comparison, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Results of the calls, each made in a thread of its own when all are ready. An error in one is raised here."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            barrier.wait(timeout=30)
            results[index] = calls[index]()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    if errors:
        raise errors[0]
    return results


def make_project(*, overlap: int, labelers: int) -> tuple[Project, list[Any]]:
    admin = make_user("admin", is_superuser=True)
    project = create_project(by=admin, name="Busy", overlap=overlap)
    people = [make_user(f"labeler-{number}") for number in range(labelers)]
    Membership.objects.bulk_create(Membership(user=user, project=project, role="labeler") for user in people)
    return project, people


def test_labelers_who_work_at_once_give_each_task_exactly_the_judgments_it_wants():
    project, labelers = make_project(overlap=2, labelers=6)
    tasks = [make_comparison(project, f"Question {number}", ("Yes.", "No.")) for number in range(20)]

    def work(labeler: Any) -> int:
        done = 0
        while (assignment := queue.claim_next(labeler=labeler, project=project)) is not None:
            if done == 3:
                queue.skip(assignment_id=assignment.pk, labeler=labeler)
                done += 1
                continue
            submission = queue.Submission(client_id=uuid.uuid4(), tiers=[[pk] for pk in assignment.presentation])
            queue.submit(assignment_id=assignment.pk, labeler=labeler, submission=submission)
            done += 1
        return done

    at_once([lambda labeler=labeler: work(labeler) for labeler in labelers])
    # Some waited in vain while others held the last ones ahead; whoever comes back now finds what was skipped.
    for labeler in labelers:
        work(labeler)
    states = set(Task.objects.values_list("state", "judgments_given", "slots_free"))
    assert states == {(Task.State.COMPLETE, 2, 0)}
    assert Judgment.objects.filter(surplus=False).count() == 2 * len(tasks)
    assert not Judgment.objects.filter(surplus=True).exists()


def test_the_last_task_goes_to_one_of_many():
    project, labelers = make_project(overlap=1, labelers=8)
    make_comparison(project)
    claims = [lambda labeler=labeler: queue.claim_next(labeler=labeler, project=project) for labeler in labelers]
    assert len([claimed for claimed in at_once(claims) if claimed]) == 1
    assert Task.objects.get().slots_free == 0


def test_nobody_is_sent_away_while_a_wanted_task_is_only_locked_by_others():
    project, labelers = make_project(overlap=8, labelers=8)
    make_comparison(project)
    claims = [lambda labeler=labeler: queue.claim_next(labeler=labeler, project=project) for labeler in labelers]
    assert all(at_once(claims))
    assert (Task.objects.get().slots_free, Assignment.objects.count()) == (0, 8)


def set_overlap(project: Project, overlap: int) -> None:
    with transaction.atomic():
        change = queue.plan_overlap_change(project=project, overlap=overlap)
    queue.begin_overlap_change(change)


def test_claims_of_several_tasks_never_wait_for_each_other():
    """Everybody takes one task and looks for a second while overlaps change, which locks all tasks in a row."""
    project, labelers = make_project(overlap=12, labelers=8)
    for number in range(3):
        make_comparison(project, f"Question {number}")
    for overlap in (9, 12, 10, 11):
        claims = [lambda labeler=labeler: queue.claim_next(labeler=labeler, project=project) for labeler in labelers]
        changes = [lambda overlap=overlap: set_overlap(project, overlap)]
        assert all(at_once([*claims[:4], *changes, *claims[4:]])[:4])
        for labeler in labelers:
            queue.release_held(labeler=labeler, project=project)
    assert set(Task.objects.values_list("slots_free", flat=True)) == {11}


def test_two_tabs_of_one_labeler_get_the_same_task():
    project, (labeler,) = make_project(overlap=1, labelers=1)
    for number in range(6):
        make_comparison(project, f"Question {number}")
    claimed = at_once([lambda: queue.claim_next(labeler=labeler, project=project)] * 6)
    assert len({assignment.pk for assignment in claimed}) == 1
    held = Assignment.objects.values("state").annotate(number=Count("pk")).values_list("state", "number")
    assert dict(held) == {"current": 1, "ahead": 1}


def test_one_submit_sent_many_times_at_once_is_stored_once():
    project, (labeler,) = make_project(overlap=1, labelers=1)
    make_comparison(project)
    assignment = queue.claim_next(labeler=labeler, project=project)
    submission = queue.Submission(client_id=uuid.uuid4(), tiers=[[pk] for pk in assignment.presentation])

    def submit() -> queue.Receipt:
        return queue.submit(assignment_id=assignment.pk, labeler=labeler, submission=submission)

    receipts = at_once([submit] * 6)
    assert [receipt.repeated for receipt in receipts].count(False) == 1
    assert JudgmentRevision.objects.count() == 1
    assert Task.objects.get().judgments_given == 1


def test_a_place_freed_by_a_late_lease_is_taken_once():
    project, labelers = make_project(overlap=1, labelers=5)
    make_comparison(project)
    late = queue.claim_next(labeler=labelers[0], project=project)
    queue.release_held(labeler=labelers[0], project=project)
    submission = queue.Submission(client_id=uuid.uuid4(), tiers=[[pk] for pk in late.presentation])

    def submit() -> queue.Receipt:
        return queue.submit(assignment_id=late.pk, labeler=labelers[0], submission=submission)

    claims = [lambda labeler=labeler: queue.claim_next(labeler=labeler, project=project) for labeler in labelers[1:]]
    receipt, *claimed = at_once([submit, *claims])
    assert len([assignment for assignment in claimed if assignment]) == (1 if receipt.surplus else 0)
    assert Task.objects.get().slots_free == 0


def test_overlap_changed_while_people_claim_never_gives_too_many():
    project, labelers = make_project(overlap=4, labelers=6)
    for number in range(4):
        make_comparison(project, f"Question {number}")
    claims = [lambda labeler=labeler: queue.claim_next(labeler=labeler, project=project) for labeler in labelers]
    at_once([*claims[:3], lambda: set_overlap(project, 2), *claims[3:]])
    for task in Task.objects.all():
        held = task.assignments.filter(state__in=Assignment.HELD).count()
        assert task.slots_free == max(0, 2 - held)
