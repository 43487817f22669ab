"""A reviewer decides between the labelers' orders: which task they get, and what the adjudicated order counts for."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.data import snapshots
from annotate.errors import NotYours, Refused
from annotate.labeling import queue
from annotate.labeling.queue import Receipt, Submission
from annotate.models import Assignment, AuditEvent, Judgment, Task, TaskConsensus, User
from annotate.people.projects import edit_project
from annotate.quality import consensus, measures, review
from annotate.quality.measures.report import Period, PeriodReport
from annotate.quality.review import adjudication
from tests.annotate.labeling.test_queue_concurrency import at_once
from tests.annotate.quality.test_consensus import in_letters, judged
from tests.factories.cast import Cast, make_comparison, make_user, response_ids

COMPLETE, WITHDRAWN = Task.State.COMPLETE, Task.State.WITHDRAWN


@pytest.fixture(autouse=True)
def two_judgments_a_task(cast: Cast, settings: Any, tmp_path: Any) -> None:
    settings.HONE_DATA = tmp_path
    cast.project.overlap = 2
    cast.project.review_below = 0.4
    cast.project.save()


def task_of(cast: Cast, number: int, first: str, second: str) -> Task:
    """A complete task with the orders of the two labelers."""
    task = make_comparison(cast.project, f"Question {number}?", ("One.", "Two.", "Three."))
    judged(task, cast.labeler, first)
    judged(task, cast.second_labeler, second)
    Task.objects.filter(pk=task.pk).update(slots_free=0)
    return task


@pytest.fixture
def made(cast: Cast) -> list[Task]:
    """Agreement on 1 pair in 3, on all, and on none."""
    found = [
        task_of(cast, 0, "A > B > C", "A > C > B"),
        task_of(cast, 1, "A > B > C", "A > B > C"),
        task_of(cast, 2, "A > B > C", "C > B > A"),
        task_of(cast, 3, "A > B > C", "C > A > B"),
    ]
    consensus.refresh_due()
    return found


@pytest.fixture
def colleague(cast: Cast) -> User:
    person = make_user("colleague")
    cast.project.memberships.create(user=person, role="reviewer")
    return person


def claimed(cast: Cast, reviewer: User | None = None) -> Assignment:
    found = adjudication.claim_next(reviewer=reviewer or cast.reviewer, project=cast.project)
    assert found is not None
    return found


def decide(assignment: Assignment, order: str = "B > A > C", **values: Any) -> Receipt:
    ids = dict(zip("ABC", response_ids(assignment.task), strict=True))
    tiers = [[ids[letter]] for letter in order.split(" > ")]
    submission = Submission(**{"client_id": uuid.uuid4(), "tiers": tiers} | values)
    return adjudication.submit(assignment_id=assignment.pk, reviewer=assignment.labeler, submission=submission)


def frozen(cast: Cast, **options: Any) -> list[dict[str, Any]]:
    snapshot = snapshots.freeze(project=cast.project, kind="rankings", by=cast.manager, **options)
    files = [snapshots.data_file(snapshot, split) for split in ("train", "validation", "test")]
    rows = [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: int(row["task"].partition("-")[2]))


class TestTheQueue:
    def test_is_what_is_least_certain_first(self, cast: Cast, made: list[Task]) -> None:
        stored = {row.task_id: (row.agreement, row.for_review) for row in TaskConsensus.objects.all()}
        assert [stored[task.pk] for task in made] == [(0.666667, True), (1.0, True), (0.0, True), (0.333333, True)]
        assert list(adjudication.waiting(cast.project).values_list("task", flat=True)) == [made[2].pk, made[3].pk]
        edit_project(project=cast.project, by=cast.manager, review_below=1.0)
        cast.project.refresh_from_db()
        assert adjudication.waiting(cast.project).count() == 4, "the bound is read, nothing is computed again"

    @pytest.mark.parametrize(("first", "second", "agreement"), [("", "", 1.0), ("A > B > C", "", 0.0)])
    def test_labelers_agree_or_not_that_nothing_is_acceptable(
        self, cast: Cast, first: str, second: str, agreement: float
    ) -> None:
        task = make_comparison(cast.project, texts=("One.", "Two.", "Three."))
        for labeler, order in ((cast.labeler, first), (cast.second_labeler, second)):
            judged(task, labeler, order, all_unacceptable=not order)
            consensus.refresh_due()
        stored = TaskConsensus.objects.get()
        assert (stored.agreement, adjudication.waiting(cast.project).exists()) == (agreement, agreement < 0.4)

    def test_asked_again_gives_the_same_and_two_reviewers_get_two(
        self, cast: Cast, made: list[Task], colleague: User
    ) -> None:
        first = claimed(cast)
        assert (first.task, first.state, claimed(cast).pk) == (made[2], "reviewing", first.pk)
        assert claimed(cast, colleague).task == made[3]
        assert adjudication.claim_next(reviewer=cast.manager, project=cast.project) is None

    def test_takes_back_what_a_reviewer_left(self, cast: Cast, made: list[Task], colleague: User) -> None:
        first = claimed(cast)
        adjudication.keep_draft(assignment=first, draft={"comment": ["half"]})
        TaskConsensus.objects.filter(reviewer=cast.reviewer).update(review_until=timezone.now() - timedelta(seconds=1))
        assert claimed(cast, colleague).task == made[2]
        assert claimed(cast).task == made[3], "the first one goes on with another task"
        first.refresh_from_db()
        assert first.draft == {"comment": ["half"]}

    def test_a_draft_renews_the_lease(self, cast: Cast, made: list[Task], colleague: User) -> None:
        first = claimed(cast)
        TaskConsensus.objects.filter(reviewer=cast.reviewer).update(review_until=timezone.now() - timedelta(seconds=1))
        assert adjudication.keep_draft(assignment=first, draft={"comment": ["more"]}).kept
        assert claimed(cast, colleague).task == made[3]

    def test_never_gives_what_one_judged_or_left_to_others(self, cast: Cast, made: list[Task]) -> None:
        cast.project.memberships.create(user=cast.labeler, role="reviewer")
        assert adjudication.claim_next(reviewer=cast.labeler, project=cast.project) is None
        with pytest.raises(Refused, match="You judged this task yourself, so another reviewer decides it"):
            adjudication.claim(task=made[2], reviewer=cast.labeler)
        first = claimed(cast)
        adjudication.skip(assignment_id=first.pk, reviewer=cast.reviewer, reason="can't judge")
        assert claimed(cast).task == made[3]
        assert claimed(cast, cast.manager).task == made[2]

    def test_a_certain_task_can_be_chosen_and_one_in_other_hands_cannot(
        self, cast: Cast, made: list[Task], colleague: User
    ) -> None:
        first = claimed(cast)
        with pytest.raises(Refused, match=r"reviewer is at this task now. Take the next one."):
            adjudication.claim(task=made[2], reviewer=colleague)
        assert adjudication.claim(task=made[1], reviewer=cast.reviewer).task == made[1], "whatever its agreement"
        assert claimed(cast, colleague).task == first.task, "what was at hand is free again"
        decide(claimed(cast))
        with pytest.raises(Refused, match="reviewer has decided this task"):
            adjudication.claim(task=made[1], reviewer=colleague)

    def test_waits_for_a_returned_judgment(self, cast: Cast, made: list[Task]) -> None:
        judgment = Judgment.objects.get(task=made[2], labeler=cast.labeler)
        review.send_back(judgment=judgment, by=cast.reviewer, comment="The other way round?")
        consensus.mark_stale(Task.objects.all())
        consensus.refresh_due()
        assert claimed(cast).task == made[3]
        again = Submission(client_id=uuid.uuid4(), tiers=[[key] for key in response_ids(made[2])])
        queue.submit(assignment_id=judgment.assignment_id, labeler=cast.labeler, submission=again)
        consensus.refresh_due()
        assert TaskConsensus.objects.get(task=made[2]).for_review

    def test_costs_the_same_few_queries_whatever_its_length(self, cast: Cast, made: list[Task]) -> None:
        claimed(cast)
        with CaptureQueriesContext(connection) as one:
            claimed(cast)
        for number in range(4, 9):
            task_of(cast, number, "A > B > C", "C > B > A")
        consensus.refresh_due()
        with CaptureQueriesContext(connection) as more:
            claimed(cast)
        assert len(more) == len(one)


class TestTheAdjudicatedOrder:
    def test_is_the_consensus_and_takes_no_place_of_the_labelers(self, cast: Cast, made: list[Task]) -> None:
        receipt = decide(claimed(cast), "B > A > C")
        assert (receipt.surplus, receipt.judgment.is_adjudication) == (False, True)
        task = Task.objects.get(pk=made[2].pk)
        assert (task.judgments_given, task.slots_free, task.state) == (2, 0, "complete")
        consensus.refresh_due()
        stored = TaskConsensus.objects.get(task=task)
        assert (in_letters(task), stored.confidence, stored.agreement, stored.judgments) == ("B > A > C", 1.0, 0.0, 2)
        assert list(adjudication.waiting(cast.project).values_list("task", flat=True)) == [made[3].pk]
        measures.fold_due()
        figures = PeriodReport(cast.project, Period.last_days(1)).total
        assert (figures.judgments, figures.agreement.total) == (8, 12), "it is none of the labelers' judgments"
        event = AuditEvent.objects.get(verb="task.adjudicated")
        assert (event.actor, event.subject_id) == (cast.reviewer, str(task.pk))

    def test_stands_for_the_labelers_rows_in_every_snapshot(self, cast: Cast, made: list[Task]) -> None:
        decide(claimed(cast), "B > A > C")
        of_task = f"task-{made[2].pk}"
        raw, weighted = frozen(cast), frozen(cast, aggregation="weighted")
        for rows in (raw, weighted):
            assert len(rows) == 7
            (row,) = [row for row in rows if row["task"] == of_task]
            assert (row["adjudicated"], [item["rank"] for item in row["responses"]]) == (True, [2, 1, 3])
        assert all("adjudicated" not in row for row in raw if row["task"] != of_task)
        highest = max(row["weight"] for row in weighted)
        assert [row["task"] for row in weighted if row["weight"] == highest] == [of_task]
        rows = frozen(cast, aggregation="consensus")
        (row,) = [row for row in rows if row["task"] == of_task]
        assert [len(rows), row["adjudicated"], row["judgments"], row["confidence"]] == [4, True, 2, 1.0]
        assert [item["rank"] for item in row["responses"]] == [2, 1, 3]

    def test_leaves_the_labelers_judgments_to_say_how_reliable_they_are(self, cast: Cast, made: list[Task]) -> None:
        before = snapshots.freeze(project=cast.project, kind="rankings", by=cast.manager, aggregation="weighted")
        decide(claimed(cast))
        after = snapshots.freeze(project=cast.project, kind="rankings", by=cast.manager, aggregation="weighted")

        def reliability(snapshot: Any) -> Any:
            path = snapshots.folder_of(snapshot) / "manifest.json"
            return json.loads(path.read_text(encoding="utf-8"))["aggregation"]["reliability"]

        assert reliability(after) == reliability(before)

    def test_beside_the_first_one_is_kept_and_does_not_count(
        self, cast: Cast, made: list[Task], colleague: User
    ) -> None:
        late = claimed(cast)
        TaskConsensus.objects.filter(reviewer=cast.reviewer).update(review_until=timezone.now() - timedelta(seconds=1))
        decide(claimed(cast, colleague), "B > A > C")
        assert decide(late, "C > A > B").surplus
        consensus.refresh_due()
        assert (in_letters(made[2]), Judgment.objects.filter(is_adjudication=True).count()) == ("B > A > C", 2)

    def test_sent_twice_counts_once_and_can_be_revised(self, cast: Cast, made: list[Task]) -> None:
        assignment, client_id = claimed(cast), uuid.uuid4()
        assert not decide(assignment, client_id=client_id).repeated
        assert decide(assignment, client_id=client_id).repeated
        receipt = decide(assignment, "C > B > A")
        assert (receipt.revised, receipt.surplus, receipt.revision.number) == (True, False, 2)
        consensus.refresh_due()
        assert in_letters(made[2]) == "C > B > A"

    def test_taken_back_waits_again_in_the_same_hands(self, cast: Cast, made: list[Task], colleague: User) -> None:
        first = claimed(cast)
        decide(first)
        assert claimed(cast).task == made[3]
        adjudication.withdraw(assignment_id=first.pk, reviewer=cast.reviewer, draft={"comment": ["as it was"]})
        consensus.refresh_due()
        again = claimed(cast)
        assert (again.pk, again.draft, in_letters(made[2])) == (first.pk, {"comment": ["as it was"]}, "A = B = C")
        assert claimed(cast, colleague).task == made[3]
        assert not decide(again).surplus

    def test_taken_back_again_leaves_alone_what_another_decided(
        self, cast: Cast, made: list[Task], colleague: User
    ) -> None:
        first = claimed(cast)
        decide(first)
        adjudication.withdraw(assignment_id=first.pk, reviewer=cast.reviewer, draft={})
        TaskConsensus.objects.filter(task=first.task).update(review_until=timezone.now() - timedelta(hours=1))
        assert not decide(adjudication.claim(task=first.task, reviewer=colleague)).surplus
        adjudication.withdraw(assignment_id=first.pk, reviewer=cast.reviewer, draft={})
        row = TaskConsensus.objects.get(task=first.task)
        assert (row.for_review, row.reviewer, row.review_until) == (False, None, None)
        assert claimed(cast).task == made[3]

    def test_a_skip_taken_back_leaves_alone_what_another_decided(
        self, cast: Cast, made: list[Task], colleague: User
    ) -> None:
        first = claimed(cast)
        adjudication.skip(assignment_id=first.pk, reviewer=cast.reviewer)
        decide(claimed(cast, colleague))
        assert adjudication.unskip(assignment_id=first.pk, reviewer=cast.reviewer).state == "reviewing"
        row = TaskConsensus.objects.get(task=first.task)
        assert (row.for_review, row.reviewer) == (False, None)

    def test_what_is_decided_is_given_to_nobody(self, cast: Cast, made: list[Task], colleague: User) -> None:
        first = claimed(cast)
        decide(first)
        TaskConsensus.objects.filter(task=first.task).update(for_review=True)
        assert claimed(cast, colleague).task == made[3]

    def test_set_aside_counts_no_more_and_can_be_decided_anew(
        self, cast: Cast, made: list[Task], colleague: User
    ) -> None:
        judgment = decide(claimed(cast)).judgment
        for _ in range(2):
            adjudication.set_aside(judgment=judgment, by=cast.manager)
        consensus.refresh_due()
        assert in_letters(made[2]) == "A = B = C"
        assert AuditEvent.objects.filter(verb="adjudication.set_aside").count() == 1
        assert not decide(adjudication.claim(task=made[2], reviewer=colleague), "C > B > A").surplus
        consensus.refresh_due()
        assert in_letters(made[2]) == "C > B > A"

    def test_stands_where_every_judgment_of_the_task_was_left_out(self, cast: Cast, made: list[Task]) -> None:
        decide(claimed(cast), "B > A > C")
        for labeler in (cast.labeler, cast.second_labeler):
            since = timezone.now() - timedelta(days=1)
            review.leave_out(project=cast.project, labeler=labeler, since=since, reason="Spam.", by=cast.manager)
        consensus.refresh_due()
        stored = TaskConsensus.objects.get()
        assert (in_letters(made[2]), stored.confidence, stored.judgments) == ("B > A > C", 1.0, 0)
        assert [row["task"] for row in frozen(cast, aggregation="consensus")] == [f"task-{made[2].pk}"]

    def test_of_a_task_that_was_withdrawn_meanwhile_is_refused_and_kept(self, cast: Cast, made: list[Task]) -> None:
        first = claimed(cast)
        adjudication.keep_draft(assignment=first, draft={"comment": ["half"]})
        Task.objects.filter(pk=made[2].pk).update(state=WITHDRAWN)
        with pytest.raises(Refused, match="This task was taken out of the queue meanwhile"):
            decide(first)
        first.refresh_from_db()
        assert (first.draft, claimed(cast).task) == ({"comment": ["half"]}, made[3])


@pytest.mark.parametrize("name", ["labeler", "researcher", "outsider"])
def test_only_reviewers_and_managers_decide(cast: Cast, made: list[Task], name: str) -> None:
    with pytest.raises(NotYours):
        adjudication.claim_next(reviewer=getattr(cast, name), project=cast.project)
    with pytest.raises(NotYours):
        adjudication.claim(task=made[2], reviewer=getattr(cast, name))


def test_who_reviews_no_more_submits_no_more(cast: Cast, made: list[Task]) -> None:
    first = claimed(cast)
    cast.project.memberships.filter(user=cast.reviewer).update(role="labeler")
    with pytest.raises(NotYours):
        decide(first)


def test_no_adjudication_is_a_labelers_work(cast: Cast, made: list[Task]) -> None:
    """Nor does it stand in the way of it: a reviewer who labels has a task at hand beside it."""
    make_comparison(cast.project, "Another?")
    first = claimed(cast)
    labeling = queue.claim_next(labeler=cast.reviewer, project=cast.project)
    assert labeling is not None
    assert labeling.task != first.task
    assert queue.release_expired(now=timezone.now() + timedelta(days=1)) == 1
    first.refresh_from_db()
    assert first.state == "reviewing"


@pytest.mark.django_db(transaction=True)
def test_reviewers_who_work_at_once_decide_each_task_once(cast: Cast, made: list[Task], colleague: User) -> None:
    edit_project(project=cast.project, by=cast.manager, review_below=1.0)
    cast.project.refresh_from_db()
    for number in range(4, 10):
        task_of(cast, number, "A > B > C", "C > B > A")
    consensus.refresh_due()

    def work(reviewer: User) -> int:
        done = 0
        while (assignment := adjudication.claim_next(reviewer=reviewer, project=cast.project)) is not None:
            decide(assignment, "B > A > C")
            done += 1
        return done

    done = at_once([lambda each=each: work(each) for each in (cast.reviewer, colleague, cast.manager)])
    assert sum(done) == Judgment.objects.filter(Judgment.ADJUDICATED).count() == 10
    assert not Judgment.objects.filter(surplus=True).exists()
