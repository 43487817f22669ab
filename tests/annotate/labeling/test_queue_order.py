"""Which task comes next, and what finding it costs on a large queue."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.labeling import queue
from annotate.models import Assignment, Membership, Project, QueueCursor, Task, User
from annotate.people import members
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, judge, keys_of, make_comparison, make_responses

LARGE, DONE = 12_000, 6_000


def claimed(labeler: User, project: Project) -> Task:
    assignment = queue.claim_next(labeler=labeler, project=project, ahead=False)
    assert assignment is not None
    return assignment.task


def done(labeler: User, project: Project) -> Task:
    """The labeler's next task, judged."""
    assignment = queue.claim_next(labeler=labeler, project=project, ahead=False)
    assert assignment is not None
    judge(assignment, [assignment.presentation])
    return assignment.task


def test_a_task_of_the_same_prompt_never_comes_right_after_one_unless_no_other_is_left(cast: Cast) -> None:
    first = make_comparison(cast.project, "A?", ("Yes.", "No."), priority=9)
    assert first.prompt is not None
    twins = [
        queue.add_comparison(
            project=cast.project, prompt=first.prompt, responses=make_responses(first.prompt, *texts), priority=priority
        )
        for texts, priority in ((("1", "2"), 8), (("3", "4"), 1))
    ]
    other = make_comparison(cast.project, "B?", ("Yes.", "No."), priority=5)
    last = make_comparison(cast.project, "C?", ("Yes.", "No."), priority=4)
    came = [done(cast.labeler, cast.project) for _ in range(5)]
    assert came == [first, other, twins[0], last, twins[1]]
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None


def test_the_task_ahead_is_of_another_prompt_and_so_is_the_one_after_a_submit(cast: Cast) -> None:
    first = make_comparison(cast.project, "A?", ("Yes.", "No."), priority=9)
    assert first.prompt is not None
    texts = make_responses(first.prompt, "1", "2")
    twin = queue.add_comparison(project=cast.project, prompt=first.prompt, responses=texts, priority=8)
    other = make_comparison(cast.project, "B?", ("Yes.", "No."), priority=5)
    assert claimed(cast.labeler, cast.project) == first
    ahead = queue.lease_ahead(labeler=cast.labeler, project=cast.project)
    assert ahead is not None
    assert ahead.task == other
    assert [done(cast.labeler, cast.project) for _ in range(3)] == [first, other, twin]


def test_what_somebody_skips_comes_to_those_who_have_come_past_it_and_nothing_else_is_looked_at_again(
    cast: Cast,
) -> None:
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    project = Project.objects.get(pk=cast.project.pk)
    urgent, *others = [
        make_comparison(project, f"Question {number}", ("Yes.", "No."), priority=9 - number) for number in range(6)
    ]
    queue.claim_next(labeler=cast.reviewer, project=project, ahead=False)
    skipped = queue.claim_next(labeler=cast.second_labeler, project=project, ahead=False)
    assert skipped is not None
    assert skipped.task == urgent
    assert [done(cast.labeler, project) for _ in range(3)] == others[:3]
    place = QueueCursor.objects.get(labeler=cast.labeler).position
    assert place == Task.objects.get(pk=others[2].pk).position
    queue.skip(assignment_id=skipped.pk, labeler=cast.second_labeler)
    assert done(cast.labeler, project) == urgent
    assert QueueCursor.objects.get(labeler=cast.labeler).position == place
    assert done(cast.labeler, project) == others[3]
    queue.release_held(labeler=cast.reviewer, project=project)
    assert done(cast.labeler, project) == others[4]


def test_a_place_that_comes_free_is_found_by_those_who_have_come_to_the_end(cast: Cast) -> None:
    task = make_comparison(cast.project)
    lease = queue.claim_next(labeler=cast.second_labeler, project=cast.project, ahead=False)
    assert lease is not None
    for _ in range(2):
        assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
    queue.skip(assignment_id=lease.pk, labeler=cast.second_labeler)
    assert claimed(cast.labeler, cast.project) == task
    assert queue.claim_next(labeler=cast.second_labeler, project=cast.project) is None


@pytest.fixture
def large(cast: Cast) -> Cast:
    """A queue of LARGE tasks that want two judgments, of which the labeler has given DONE; as many are finished."""
    Project.objects.filter(pk=cast.project.pk).update(overlap=2)
    models = [make_comparison(cast.project, question, ("Yes.", "No.")) for question in ("A?", "B?")]
    finished = {"state": Task.State.COMPLETE, "slots_free": 0, "judgments_given": 2}
    tasks = Task.objects.bulk_create(
        Task(
            project=cast.project,
            prompt=models[number % 2].prompt,
            judgments_wanted=2,
            random_key=number,
            **(finished if number % 3 == 0 else {"slots_free": 2}),
        )
        for number in range(LARGE)
    )
    now = timezone.now()
    Assignment.objects.bulk_create(
        Assignment(
            task=task,
            labeler=cast.labeler,
            project=cast.project,
            state=Assignment.State.SUBMITTED,
            seed=0,
            lease_until=now,
            ended_at=now - timedelta(seconds=DONE - number),
        )
        for number, task in enumerate(tasks[:DONE])
    )
    cast.project.refresh_from_db()
    QueueCursor.objects.create(
        labeler=cast.labeler, project=cast.project, position=DONE - 1, epoch=cast.project.queue_epoch
    )
    if connection.vendor == "postgresql":  # which does so by itself after a while; SQLite never does
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    return cast


def plans(statements: list[str]) -> Iterator[tuple[str, str]]:
    """(statement, a line of its plan) of those that read or change rows."""
    explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
    with connection.cursor() as cursor:
        for statement in statements:
            if statement.startswith(("SELECT", "UPDATE")) and "annotate_" in statement:
                cursor.execute(explain + statement.replace("%", "%%"))
                for row in cursor.fetchall():
                    yield statement, str(row[-1])


def test_no_statement_of_a_submit_with_the_next_task_reads_a_whole_table(large: Cast, client: Client) -> None:
    client.force_login(large.labeler)
    client.get("/p/kindness/work/")
    rules = {"daily_limit": 9_000, "languages": ["en", "zh"], "skills": ["Law"]}
    own = Membership.objects.get(user=large.labeler, project=large.project)
    place = QueueCursor.objects.get(labeler=large.labeler).position
    members.set_work_rules(membership=own, by=large.manager, **rules)
    QueueCursor.objects.filter(labeler=large.labeler).update(position=place)
    held = queue.claim_next(labeler=large.labeler, project=large.project, ahead=False)
    assert held is not None
    fields = {f"rank-{key}": str(rank) for rank, key in enumerate(keys_of(held), start=1)}
    fields |= {"client_id": "5a4dd1ae-1a0b-4d4f-9a36-6f9d5b6ac5d1", "seconds": "3", "all_unacceptable": "1"}
    Assignment.objects.filter(labeler=large.labeler, state=Assignment.State.AHEAD).delete()
    with CaptureQueriesContext(connection) as captured:
        reply = client.post(f"/p/kindness/work/{held.pk}/submit", fields, headers={"HX-Request": "true"})
    assert reply.status_code == 200
    assert reply["X-Hone-Task"]
    statements = [query["sql"] for query in captured.captured_queries]
    # PostgreSQL reads tables of a few rows as a whole, and rightly.
    tables = "annotate_(task|assignment)" if connection.vendor == "postgresql" else r"annotate_\w+"
    scans = rf"^SCAN {tables}(?! USING)$|Seq Scan on {tables}\b"
    assert [(statement[:200], line) for statement, line in plans(statements) if re.search(scans, line)] == []
    claim = next(sql for sql in statements if '"position" > ' in sql)
    assert any("task_queue" in line for statement, line in plans([claim]))
    place = re.search(r'"position" > (\d+)', claim)
    assert place is not None
    assert int(place[1]) >= DONE - 1
    following = Assignment.objects.get(labeler=large.labeler, state=Assignment.State.CURRENT)
    # Of the other prompt each: DONE + 1 has that of the last one, and DONE + 4 that of DONE + 2.
    assert (held.task.random_key, following.task.random_key) == (DONE + 2, DONE + 5)
