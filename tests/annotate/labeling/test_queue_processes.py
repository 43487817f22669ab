"""Sixteen real processes on one queue, some of which are killed: nothing is given twice, and nothing is lost."""

import math
import multiprocessing
import signal
import time
import uuid
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from django.db import connections

from annotate.labeling import queue
from annotate.models import Assignment, Judgment, JudgmentRevision, Membership, Project, Task, User
from annotate.people.projects import create_project
from tests.factories.cast import make_comparison, make_user

LABELERS, KILLED, TASKS = 16, 4, 40
FORK = multiprocessing.get_context("fork")


def work(user: int, project: int, acknowledged: Path, patience: float = 0.5, begin: Event | None = None) -> None:
    """A labeler until nothing is left for a while; writes each client id once its judgment is acknowledged."""
    if begin is not None:
        begin.wait()
    labeler, current = User.objects.get(pk=user), Project.objects.get(pk=project)
    last_seen = time.monotonic()
    with acknowledged.open("a", buffering=1) as file:
        while True:
            assignment = queue.claim_next(labeler=labeler, project=current)
            if assignment is None:
                # Others hold the last tasks for a moment.
                if time.monotonic() - last_seen > patience:
                    return
                time.sleep(0.02)
            while assignment is not None:
                tiers = [[response] for response in assignment.presentation]
                submission = queue.Submission(client_id=uuid.uuid4(), tiers=tiers)
                assignment.labeler, assignment.project = labeler, current
                _receipt, assignment = queue.submit_and_claim(assignment=assignment, submission=submission)
                file.write(f"{submission.client_id}\n")
                last_seen = time.monotonic()


def manage(project: int) -> None:
    """The overlap goes up and down, and so do priorities."""
    current, manager = Project.objects.get(pk=project), User.objects.get(username="admin")
    for wanted, priority in ((3, 5), (2, 1), (3, 0)):
        overlap = queue.plan_overlap_change(project=current, overlap=wanted)
        queue.run_overlap_change(overlap.pk)
        change = queue.plan_task_change(
            project=current, by=manager, selection={"judgments_given": 0}, values={"priority": priority}
        )
        queue.run_task_change(change.pk)


def started(call: Callable[..., None], *arguments: object) -> BaseProcess:
    process = FORK.Process(target=call, args=arguments)
    process.start()
    return process


@pytest.mark.django_db(transaction=True)
def test_sixteen_processes_of_which_four_are_killed(tmp_path: Path) -> None:
    project = create_project(by=make_user("admin", is_superuser=True), name="Busy", overlap=2)
    people = [make_user(f"labeler-{number}") for number in range(LABELERS)]
    Membership.objects.bulk_create(Membership(user=user, project=project, role="labeler") for user in people)
    for number in range(TASKS):
        make_comparison(project, f"Question {number}", ("Yes.", "No."))
    connections.close_all()  # a connection isn't shared between processes
    files = [tmp_path / f"{number}.txt" for number in range(LABELERS)]
    begin = FORK.Event()  # or the first have done everything before the last is started
    working = [
        # One that is to be killed never leaves, so the signal always finds it alive.
        started(work, user.pk, project.pk, file, math.inf if number < KILLED else 0.5, begin)
        for number, (user, file) in enumerate(zip(people, files, strict=True))
    ]
    managing = started(manage, project.pk)
    try:
        begin.set()
        for process, file in list(zip(working, files, strict=True))[:KILLED]:
            while not (file.exists() and file.stat().st_size) and any(other.is_alive() for other in working[KILLED:]):
                time.sleep(0.005)
            process.kill()
        for process in [*working, managing]:
            process.join(timeout=60)
    finally:
        for process in [*working, managing]:
            process.kill()
    assert [process.exitcode for process in working[:KILLED]] == [-signal.SIGKILL] * KILLED
    assert [process.exitcode for process in working[KILLED:]] == [0] * (LABELERS - KILLED)
    assert managing.exitcode == 0

    Assignment.objects.filter(state__in=Assignment.HELD).update(lease_until="2026-01-01T00:00Z")
    queue.release_expired()
    for user, file in zip(people, files, strict=True):
        work(user.pk, project.pk, file, patience=0.0)
    for task in Task.objects.all():
        given = Judgment.objects.filter(task=task, surplus=False, latest__isnull=False).count()
        held = task.assignments.filter(state__in=Assignment.HELD).count()
        assert (task.judgments_given, task.slots_free) == (given, max(0, task.judgments_wanted - given - held))
        assert given <= 3
    acknowledged = {line for file in files for line in file.read_text().splitlines()}
    stored = {str(key) for key in JudgmentRevision.objects.values_list("client_id", flat=True)}
    assert acknowledged <= stored
    # A killed one may have stored a judgment that it did not live to note.
    assert len(stored - acknowledged) <= KILLED
    assert Judgment.objects.filter(surplus=True).count() == 0
    # One wants two all the same, where its third lease was out when the overlap fell and had come in when it rose.
    assert set(Task.objects.values_list("judgments_given", "state")) == {(3, Task.State.COMPLETE)}
