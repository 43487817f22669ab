"""The stored consensus and reliabilities: marked by judgments, computed by the job, the judgments untouched."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotate.labeling import queue
from annotate.models import (
    AggregationEstimate,
    Assignment,
    JudgmentRevision,
    LabelerReliability,
    Project,
    Task,
    TaskConsensus,
    User,
)
from annotate.people.projects import edit_project
from annotate.quality import consensus
from annotate.quality.aggregation.crowd_bt import TYPICAL
from tests.factories.cast import Cast, judge, make_comparison, make_user, response_ids

Tiers = list[list[int]]


@pytest.fixture(autouse=True)
def three_judgments_a_task(cast: Cast) -> None:
    cast.project.overlap = 3
    cast.project.save()


@pytest.fixture
def third(cast: Cast) -> User:
    person = make_user("third")
    cast.project.memberships.create(user=person, role="labeler")
    return person


def assigned(task: Task, labeler: User) -> Assignment:
    """The task in the labeler's hands, whatever the queue would give them."""
    Task.objects.filter(pk=task.pk).update(slots_free=task.judgments_wanted, state=Task.State.OPEN)
    Assignment.objects.filter(labeler=labeler, state__in=Assignment.HELD).update(state=Assignment.State.EXPIRED)
    return Assignment.objects.create(
        task=task,
        labeler=labeler,
        project=task.project,
        lease_until=task.created_at,
        seed=0,
        presentation=response_ids(task),
    )


def judged(task: Task, labeler: User, order: str, **values: object) -> None:
    """order: "B > A = C", letters in the order in which the responses were made."""
    ids = dict(zip("ABCDEFGHI", response_ids(task), strict=False))
    tiers = [[ids[letter.strip()] for letter in tier.split("=")] for tier in order.split(">") if order]
    judge(assigned(task, labeler), tiers, **values)


def in_letters(task: Task) -> str:
    letters = dict(zip(response_ids(task), "ABCDEFGHI", strict=False))
    tiers = TaskConsensus.objects.get(task=task).tiers
    return " > ".join(" = ".join(letters[key] for key in tier) for tier in tiers)


def pair(project: Project, number: int = 0) -> Task:
    return make_comparison(project, f"Question {number}?", ("One.", "Two."))


def test_a_judgment_marks_its_task_and_the_job_stores_the_consensus(cast: Cast, third: User) -> None:
    task = make_comparison(cast.project)
    assert consensus.refresh_due() == 0
    judged(task, cast.labeler, "A > B > C > D")
    judged(task, cast.second_labeler, "A > C > B > D")
    judged(task, third, "A > B > D > C")
    before = list(JudgmentRevision.objects.values())
    assert consensus.refresh_due() == 1
    stored = TaskConsensus.objects.get(task=task)
    assert (in_letters(task), stored.method, stored.judgments) == ("A > B > C > D", "crowd_bt", 3)
    assert 0.4 < stored.confidence < 0.9
    assert list(JudgmentRevision.objects.values()) == before
    assert consensus.refresh_due() == 0


def test_a_project_with_more_than_the_job_can_do_keeps_no_other_waiting(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch of one task takes a second of the job's four; the first project has more than it can do."""
    for number in range(9):
        judged(pair(cast.project, number), cast.labeler, "A > B")
    project = Project.objects.create(name="Newest", slug="newest", overlap=3)
    project.memberships.create(user=cast.labeler, role="labeler")
    newest = pair(project)
    judged(newest, cast.labeler, "A > B")
    clock = [0.0]
    store = consensus._store
    monkeypatch.setattr(consensus, "BATCH", 1)
    monkeypatch.setattr(consensus, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def store_slowly(*args: Any, **values: Any) -> int:
        clock[0] += 1.0
        return store(*args, **values)

    monkeypatch.setattr(consensus, "_store", store_slowly)
    first = Task.objects.filter(project=cast.project).order_by("pk").first()
    Task.objects.filter(pk=first.pk).update(consensus_stale_at=timezone.now())  # type: ignore[union-attr]
    assert consensus.refresh_due(seconds=4.0) == 5
    assert TaskConsensus.objects.filter(task=newest).exists()
    # Of the first project the oldest marks: not the task that was marked again last.
    done = TaskConsensus.objects.filter(project=cast.project).order_by("task").values_list("task", flat=True)
    assert list(done) == [task.pk for task in Task.objects.filter(project=cast.project).order_by("pk")[1:5]]
    assert consensus.refresh_due(seconds=60.0) == 5


def test_a_revision_and_a_withdrawal_are_followed(cast: Cast) -> None:
    task = pair(cast.project)
    assignment = assigned(task, cast.labeler)
    one, two = response_ids(task)
    judge(assignment, [[one], [two]])
    consensus.refresh_due()
    assert in_letters(task) == "A > B"
    judge(assignment, [[two], [one]])
    assert consensus.refresh_due() == 1
    assert in_letters(task) == "B > A"
    other = pair(cast.project, 1)
    assignment = assigned(other, cast.second_labeler)
    judge(assignment, [[key] for key in response_ids(other)])
    consensus.refresh_due()
    queue.withdraw(assignment_id=assignment.pk, labeler=cast.second_labeler, draft={})
    consensus.refresh_due()
    assert not TaskConsensus.objects.filter(task=other).exists()


@pytest.mark.parametrize(
    ("method", "expected"), [("majority", "A > B > C"), ("borda", "A = B > C"), ("crowd_bt", "B > C > A")]
)
def test_the_project_says_by_which_method(cast: Cast, third: User, method: str, expected: str) -> None:
    task = make_comparison(cast.project, "Question?", ("One.", "Two.", "Three."))
    judged(task, cast.labeler, "A > B > C")
    judged(task, cast.second_labeler, "A > B > C")
    judged(task, third, "B > C > A")
    AggregationEstimate.objects.create(project=cast.project, tie=-2, spread=2, judgments=3, computed_at=task.created_at)
    for labeler, reliability in ((cast.labeler, 0.6), (cast.second_labeler, 0.6), (third, 0.95)):
        LabelerReliability.objects.create(
            project=cast.project, labeler=labeler, reliability=reliability, comparisons=9, computed_at=task.created_at
        )
    consensus.refresh_due()
    edit_project(project=cast.project, by=cast.manager, consensus_method=method)
    consensus.refresh_due()
    assert (in_letters(task), TaskConsensus.objects.get().method) == (expected, method)


def test_reliabilities_are_estimated_and_move_the_consensus_of_split_tasks(cast: Cast, third: User) -> None:
    """Two agree on twenty tasks where the third says the reverse; then the third and one of them differ."""
    for number in range(20):
        task = pair(cast.project, number)
        judged(task, cast.labeler, "A > B")
        judged(task, cast.second_labeler, "A > B")
        judged(task, third, "B > A")
    split = pair(cast.project, 99)
    judged(split, cast.labeler, "A > B")
    judged(split, third, "B > A")
    consensus.refresh_due()
    found = {row.labeler: row for row in LabelerReliability.objects.all()}
    assert found[cast.labeler].reliability > TYPICAL > 0.5 > found[third].reliability
    assert (found[third].comparisons, found[cast.second_labeler].comparisons) == (21, 20)
    assert in_letters(split) == "A > B"
    estimated_at = AggregationEstimate.objects.get().computed_at
    judged(pair(cast.project, 100), cast.labeler, "A > B")
    consensus.refresh_due()
    assert AggregationEstimate.objects.get().computed_at == estimated_at  # 1 in 62 more is too few


def test_new_estimates_mark_the_tasks_that_they_bear_on(cast: Cast, third: User) -> None:
    split = pair(cast.project)
    judged(split, cast.labeler, "B > A")
    judged(split, third, "A > B")
    consensus.refresh_due()
    assert in_letters(split) == "A = B"
    for number in range(1, 12):
        task = pair(cast.project, number)
        judged(task, cast.labeler, "A > B")
        judged(task, cast.second_labeler, "A > B")
        judged(task, third, "B > A")
    consensus.refresh_due()
    assert in_letters(split) == "B > A"  # nobody has judged it since


def test_flags_and_ratings_have_a_consensus(cast: Cast, third: User) -> None:
    edit_project(
        project=cast.project,
        by=cast.manager,
        criteria=[{"name": "quality", "label": "Quality", "min": 1, "max": 3}],
        flags=[{"name": "untrue", "label": "Untrue"}],
    )
    tasks = [pair(cast.project, number) for number in range(8)]
    for task in tasks:
        one, two = response_ids(task)
        for labeler, flagged, rating in ((cast.labeler, [two], 3), (cast.second_labeler, [two], 3), (third, [], 1)):
            judged(
                task,
                labeler,
                "A > B",
                flags={key: ["untrue"] for key in flagged},
                ratings={one: {"quality": rating}},
            )
    consensus.refresh_due()
    one, two = response_ids(tasks[0])
    labels = TaskConsensus.objects.get(task=tasks[0]).labels
    assert labels[str(one)]["ratings"]["quality"][0] == 3
    assert labels[str(one)]["ratings"]["quality"][1] > 0.9
    assert labels[str(two)]["flags"]["untrue"] > 0.9
    assert "flags" not in labels[str(one)]
    row = LabelerReliability.objects.get(labeler=third)
    assert row.reliability > TYPICAL  # they order as the others do
    assert set(row.confusion) == {"flags", "ratings"}


def test_a_judgment_that_comes_while_the_job_computes_marks_the_task_again(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = pair(cast.project)
    judged(task, cast.labeler, "A > B")
    compute = consensus.orders

    def late(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(consensus, "orders", compute)
        judged(task, cast.second_labeler, "A > B")
        return compute(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(consensus, "orders", late)
    consensus.refresh_due()
    assert not TaskConsensus.objects.exists()
    consensus.refresh_due()
    assert TaskConsensus.objects.get().judgments == 2


def test_a_first_submit_costs_no_statement_more(cast: Cast) -> None:
    task = pair(cast.project)
    assignment = assigned(task, cast.labeler)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        judge(assignment, [[key] for key in response_ids(task)])
    updates = [query["sql"] for query in queries if query["sql"].startswith('UPDATE "annotate_task" ')]
    assert len(updates) == 1
    assert "consensus_stale_at" in updates[0]


def test_the_job_ends_when_its_time_is_over_and_goes_on(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consensus, "BATCH", 1)
    for number in range(3):
        judged(pair(cast.project, number), cast.labeler, "A > B")
    assert [consensus.refresh_due(seconds=0) for _ in range(4)] == [1, 1, 1, 0]


def test_reviewers_read_the_consensus_beside_a_judgment(cast: Cast, third: User, client: Client) -> None:
    task = make_comparison(cast.project, "Question?", ("One.", "Two.", "Three."))
    judged(task, cast.labeler, "A > B > C")
    judged(task, cast.second_labeler, "A > B > C")
    judged(task, third, "B > A > C")
    edit_project(project=cast.project, by=cast.manager, consensus_method="majority")
    consensus.refresh_due()
    client.force_login(cast.manager)
    address = reverse("annotate:review_judgment", args=[cast.project.slug, task.judgments.get(labeler=third).pk])
    page = " ".join(client.get(address).content.decode().split())
    assert "<strong>A &gt; B &gt; C</strong> · confidence 61% · from 3 judgments" in page
    assert "Majority of each pair (Copeland), computed" in page
    assert page.count("</a>: A &gt; B &gt; C") == 2
    assert "A judgment came since" not in page
    judged(task, cast.reviewer, "C > B > A")
    assert "A judgment came since" in client.get(address).content.decode()


def test_a_labelers_page_has_the_reliability_and_says_what_it_means(cast: Cast, third: User, client: Client) -> None:
    LabelerReliability.objects.create(
        project=cast.project, labeler=third, reliability=0.914, comparisons=12, computed_at=cast.project.created_at
    )
    client.force_login(cast.manager)
    page = " ".join(
        client.get(reverse("annotate:labeler", args=[cast.project.slug, third.pk])).content.decode().split()
    )
    assert "0.91 <small> 12 comparisons </small>" in page
    assert "1 always follows it, 0.5 orders at random." in page
