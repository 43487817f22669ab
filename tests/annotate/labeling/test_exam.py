"""The qualification exam: who has to take it, how it is scored, and what managers do with it."""

import re
import threading

import pytest
from django.db import transaction
from django.test import Client

from annotate.errors import InvalidOrdering, NotYours, Refused
from annotate.labeling import exam, qualification, queue
from annotate.labeling.ordering import Ordering
from annotate.models import Assignment, AuditEvent, ExamAnswer, ExamAttempt, Judgment, Project, Task
from annotate.people.projects import edit_project
from annotate.quality.agreement import against_gold
from tests.annotate.labeling.test_queue_concurrency import at_once
from tests.factories.cast import Cast, judge, make_comparison, response_ids
from tests.harness.markup import markup

pytestmark = pytest.mark.django_db


def ordering(*tiers: tuple[int, ...]) -> Ordering:
    return Ordering(tiers)


@pytest.mark.parametrize(
    ("given", "score"),
    [
        (ordering((1,), (2,), (3,)), (3, 3)),
        (ordering((2,), (1,), (3,)), (2, 3)),
        (ordering((1, 2), (3,)), (2, 3)),  # a tie where a preference is known is a miss
        (ordering((1,), (3,)), (1, 3)),  # so is a response that wasn't ranked
        (ordering(), (0, 3)),
    ],
)
def test_score_counts_the_known_pairs(given: Ordering, score: tuple[int, int]) -> None:
    assert against_gold(given, ordering((1,), (2,), (3,))) == score


def test_pairs_that_are_tied_in_the_known_ordering_are_not_asked() -> None:
    assert against_gold(ordering((2,), (1,), (3,)), ordering((1, 2), (3,))) == (2, 2)


@pytest.fixture
def tasks(cast: Cast) -> list[Task]:
    """Two items whose responses are known in the order in which they were made, and a live task behind them."""
    made = []
    for number in range(2):
        task = make_comparison(cast.project, f"Known {number}?")
        Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
        task.refresh_from_db()
        made.append(exam.add_item(task=task, by=cast.manager))
    make_comparison(cast.project, "Live?")
    edit_project(project=cast.project, by=cast.manager, exam_threshold=0.75, exam_attempts=2)
    cast.project.refresh_from_db()
    return made


def take(cast: Cast, *, well: int) -> ExamAttempt:
    """An attempt with the first `well` items in the known order and the others upside down."""
    attempt = exam.start(labeler=cast.labeler, project=cast.project)
    for number in range(2):
        item = exam.current(attempt)
        assert item is not None
        tiers = item.gold_tiers if number < well else item.gold_tiers[::-1]
        attempt = exam.answer(answer_id=item.pk, labeler=cast.labeler, tiers=tiers)
    return attempt


class TestTheGate:
    def test_keeps_live_work_from_those_who_have_not_passed(self, cast: Cast, tasks: list[Task]) -> None:
        assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
        assert not qualification.is_qualified(user=cast.labeler, project=cast.project)
        take(cast, well=2)
        assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert assignment is not None
        assert str(assignment.task.prompt) == "Live?"

    def test_is_open_for_managers_and_where_no_exam_is_set(self, cast: Cast, tasks: list[Task]) -> None:
        assert qualification.is_qualified(user=cast.manager, project=cast.project)
        edit_project(project=cast.project, by=cast.manager, exam_threshold=None)
        cast.project.refresh_from_db()
        assert qualification.is_qualified(user=cast.labeler, project=cast.project)

    def test_with_a_threshold_and_nothing_to_ask_is_open(self, cast: Cast) -> None:
        edit_project(project=cast.project, by=cast.manager, exam_threshold=0.5)
        cast.project.refresh_from_db()
        assert qualification.is_qualified(user=cast.labeler, project=cast.project)
        with pytest.raises(Refused, match="has no exam"):
            exam.start(labeler=cast.labeler, project=cast.project)

    def test_takes_late_work_of_one_who_had_begun_before(self, cast: Cast) -> None:
        task = make_comparison(cast.project)
        assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert assignment is not None
        other = make_comparison(cast.project, "Known?")
        Task.objects.filter(pk=other.pk).update(gold_tiers=[[key] for key in response_ids(other)])
        exam.add_item(task=Task.objects.get(pk=other.pk), by=cast.manager)
        edit_project(project=cast.project, by=cast.manager, exam_threshold=0.5)
        judge(assignment, [[key] for key in response_ids(task)])
        assert Judgment.objects.count() == 1


class TestAnAttempt:
    def test_asks_every_item_once_in_an_order_of_its_own_and_goes_on_where_it_was_left(
        self, cast: Cast, tasks: list[Task]
    ) -> None:
        attempt = exam.start(labeler=cast.labeler, project=cast.project)
        assert {answer.task for answer in attempt.answers.all()} == set(tasks)
        assert exam.start(labeler=cast.labeler, project=cast.project) == attempt
        for answer in attempt.answers.all():
            assert sorted(answer.presentation) == response_ids(answer.task)

    def test_passes_at_the_threshold_and_leaves_no_judgment(self, cast: Cast, tasks: list[Task]) -> None:
        attempt = take(cast, well=2)
        assert (attempt.hits, attempt.total, attempt.score, attempt.passed) == (12, 12, 1.0, True)
        assert attempt.finished_at is not None
        assert not Judgment.objects.exists()
        assert not Assignment.objects.exists()

    def test_fails_below_it_and_may_be_repeated_as_often_as_set(self, cast: Cast, tasks: list[Task]) -> None:
        first = take(cast, well=1)
        assert (first.hits, first.total, first.passed) == (6, 12, False)
        assert qualification.exam_progress(user=cast.labeler, project=cast.project).attempts_left == 1
        assert not exam.may_see_known(first)
        second = take(cast, well=0)
        assert (second.number, second.score, second.passed) == (2, 0.0, False)
        assert not exam.may_see_known(second)
        with pytest.raises(Refused, match="used all your attempts"):
            exam.start(labeler=cast.labeler, project=cast.project)

    def test_passed_is_not_taken_again(self, cast: Cast, tasks: list[Task]) -> None:
        attempt = take(cast, well=2)
        assert exam.may_see_known(attempt)
        with pytest.raises(Refused, match="passed this exam already"):
            exam.start(labeler=cast.labeler, project=cast.project)

    def test_keeps_the_first_response_to_an_item(self, cast: Cast, tasks: list[Task]) -> None:
        attempt = exam.start(labeler=cast.labeler, project=cast.project)
        item = exam.current(attempt)
        assert item is not None
        for tiers in (item.gold_tiers, item.gold_tiers[::-1]):
            exam.answer(answer_id=item.pk, labeler=cast.labeler, tiers=tiers)
        item.refresh_from_db()
        assert (item.hits, item.total) == (6, 6)

    def test_wants_an_order(self, cast: Cast, tasks: list[Task]) -> None:
        item = exam.current(exam.start(labeler=cast.labeler, project=cast.project))
        assert item is not None
        with pytest.raises(InvalidOrdering):
            exam.answer(answer_id=item.pk, labeler=cast.labeler, tiers=[])
        exam.answer(answer_id=item.pk, labeler=cast.labeler, tiers=[], all_unacceptable=True)
        item.refresh_from_db()
        assert (item.hits, item.total) == (0, 6)

    def test_keeps_drafts_the_newest_of_them(self, cast: Cast, tasks: list[Task]) -> None:
        item = exam.current(exam.start(labeler=cast.labeler, project=cast.project))
        assert item is not None
        for version, kept in ((2, True), (1, False)):
            receipt = exam.save_draft(
                answer_id=item.pk, labeler=cast.labeler, draft={"n": [str(version)]}, version=version
            )
            assert (receipt.kept, receipt.version) == (kept, 2)
        item.refresh_from_db()
        assert item.draft == {"n": ["2"]}

    def test_is_nobody_elses(self, cast: Cast, tasks: list[Task]) -> None:
        item = exam.current(exam.start(labeler=cast.labeler, project=cast.project))
        assert item is not None
        with pytest.raises(NotYours):
            exam.answer(answer_id=item.pk, labeler=cast.second_labeler, tiers=item.gold_tiers)
        with pytest.raises(NotYours):
            exam.start(labeler=cast.outsider, project=cast.project)


class TestItems:
    def test_leave_the_queue_and_come_back(self, cast: Cast) -> None:
        task = make_comparison(cast.project)
        Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
        held = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert held is not None
        exam.add_item(task=Task.objects.get(pk=task.pk), by=cast.manager)
        held.refresh_from_db()
        assert held.state == Assignment.State.EXPIRED
        assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
        back = exam.remove_item(task=Task.objects.get(pk=task.pk), by=cast.manager)
        assert (back.state, back.slots_free) == ("open", 1)
        assert queue.claim_next(labeler=cast.labeler, project=cast.project) == held
        verbs = list(AuditEvent.objects.filter(verb__startswith="exam.").values_list("verb", flat=True))
        assert sorted(verbs) == ["exam.item_added", "exam.item_removed"]

    def test_take_the_managers_own_judgment_as_known(self, cast: Cast) -> None:
        task = make_comparison(cast.project)
        assignment = queue.claim_next(labeler=cast.manager, project=cast.project)
        assert assignment is not None
        a, b, c, d = response_ids(task)
        receipt = judge(assignment, [[c], [a, b], [d]])
        item = exam.add_item(task=Task.objects.get(pk=task.pk), by=cast.manager, judgment=receipt.judgment)
        assert (item.state, item.gold_tiers) == ("exam", [[c], [a, b], [d]])
        assert exam.remove_item(task=item, by=cast.manager).state == "complete"

    def test_need_something_known(self, cast: Cast) -> None:
        task = make_comparison(cast.project)
        with pytest.raises(Refused, match="known ordering"):
            exam.add_item(task=task, by=cast.manager)
        Task.objects.filter(pk=task.pk).update(gold_tiers=[response_ids(task)])
        with pytest.raises(Refused, match="prefers at least one"):
            exam.add_item(task=Task.objects.get(pk=task.pk), by=cast.manager)

    def test_are_a_managers_to_set(self, cast: Cast, tasks: list[Task]) -> None:
        for action in (exam.add_item, exam.remove_item):
            with pytest.raises(NotYours):
                action(task=tasks[0], by=cast.labeler)
        with pytest.raises(NotYours):
            exam.waive(labeler=cast.labeler, project=cast.project, by=cast.labeler)
        with pytest.raises(NotYours):
            exam.annul(labeler=cast.labeler, project=cast.project, by=cast.outsider)


def test_a_waiver_opens_the_gate_and_annulling_closes_it(cast: Cast, tasks: list[Task]) -> None:
    exam.waive(labeler=cast.labeler, project=cast.project, by=cast.manager)
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is not None
    assert exam.annul(labeler=cast.labeler, project=cast.project, by=cast.manager) == 1
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
    assert take(cast, well=2).number == 1


def test_annulled_attempts_count_no_more(cast: Cast, tasks: list[Task]) -> None:
    take(cast, well=0)
    take(cast, well=0)
    assert exam.annul(labeler=cast.labeler, project=cast.project, by=cast.manager) == 2
    exam_progress = qualification.exam_progress(user=cast.labeler, project=cast.project)
    assert (exam_progress.attempts, exam_progress.attempts_left) == ((), 2)
    assert take(cast, well=2).number == 3
    assert ExamAnswer.objects.count() == 6
    assert Project.objects.get(pk=cast.project.pk).exam_attempts == 2


def test_known_orders_stay_hidden_while_a_manager_can_let_them_be_asked_again(
    cast: Cast, tasks: list[Task], client: Client
) -> None:
    client.force_login(cast.labeler)
    for round_of_attempts in range(2):
        last = [take(cast, well=1) for _ in range(cast.project.exam_attempts)][-1]
        page = client.get("/p/kindness/exam/").content.decode()
        assert "used all attempts" in page
        assert "Not passed yet" in page
        assert "Known order:" not in page
        # Of one task, "0 of 6" is the known order turned round, and of one pair the total is.
        assert not re.search(r"of \d+ pairs|\d+ ?%", markup(page))
        assert not exam.may_see_known(last)
        assert exam.annul(labeler=cast.labeler, project=cast.project, by=cast.manager) == 2, round_of_attempts
        page = client.get("/p/kindness/exam/").content.decode()
        assert "Start the exam" in page
        assert "Known order:" not in page


@pytest.mark.parametrize(
    ("pairs", "threshold", "tells"),
    [
        (1, 0.8, True),
        (1, 0.01, True),
        (2, 0.5, True),  # both wrong
        (2, 0.8, False),  # one wrong, and nobody knows which
        (3, 0.6, True),  # at most one right, so at least two turned round
        (3, 0.8, False),
        (12, 0.5, True),
        (12, 0.6, False),
        (1, 0.0, False),  # nobody fails
        (0, 0.8, False),
    ],
)
def test_a_fail_tells_the_order_where_the_opposite_passes(pairs: int, threshold: float, tells: bool) -> None:
    assert exam.fail_tells_order(pairs, threshold) is tells


def test_a_pair_that_was_failed_is_not_asked_again(cast: Cast, client: Client) -> None:
    task = make_comparison(cast.project, "Known?", texts=("one", "other"))
    Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
    exam.add_item(task=Task.objects.get(pk=task.pk), by=cast.manager)
    edit_project(project=cast.project, by=cast.manager, exam_threshold=0.75, exam_attempts=2)
    cast.project.refresh_from_db()
    item = exam.current(exam.start(labeler=cast.labeler, project=cast.project))
    assert item is not None
    exam.answer(answer_id=item.pk, labeler=cast.labeler, tiers=item.gold_tiers[::-1])
    client.force_login(cast.labeler)
    page = client.get("/p/kindness/exam/").content.decode()
    assert "You can tell the known order of every task of this exam" in page
    assert "Start another attempt" not in page
    assert not re.search(r"\d+ ?%", markup(page))
    for _ in range(2):
        with pytest.raises(Refused, match="can tell the known order of every task"):
            exam.start(labeler=cast.labeler, project=cast.project)
        exam.annul(labeler=cast.labeler, project=cast.project, by=cast.manager)
    client.force_login(cast.manager)
    assert "aren’t asked the same tasks again" in client.get("/p/kindness/exam/settings/").content.decode()


def test_what_was_shown_after_a_pass_is_not_asked_again(cast: Cast, tasks: list[Task], client: Client) -> None:
    client.force_login(cast.labeler)
    take(cast, well=2)
    assert "Known order:" in client.get("/p/kindness/exam/").content.decode()
    exam.annul(labeler=cast.labeler, project=cast.project, by=cast.manager)
    assert "Known order:" not in client.get("/p/kindness/exam/").content.decode()
    with pytest.raises(Refused, match="can tell the known order of every task"):
        exam.start(labeler=cast.labeler, project=cast.project)
    reply = client.post("/p/kindness/exam/start", follow=True)
    assert "A manager of the project can add others" in reply.content.decode()
    other = make_comparison(cast.project, "Known 3?")
    Task.objects.filter(pk=other.pk).update(gold_tiers=[[key] for key in response_ids(other)])
    exam.add_item(task=Task.objects.get(pk=other.pk), by=cast.manager)
    attempt = exam.start(labeler=cast.labeler, project=cast.project)
    assert list(attempt.answers.values_list("task", flat=True)) == [other.pk]
    # Somebody else is asked everything.
    everything = exam.start(labeler=cast.second_labeler, project=cast.project)
    assert everything.answers.count() == 3


@pytest.mark.django_db(transaction=True)
def test_the_last_two_items_handed_in_at_once_end_the_attempt(cast: Cast, tasks: list[Task]) -> None:
    attempt = exam.start(labeler=cast.labeler, project=cast.project)
    one, other = (item.pk for item in attempt.answers.all())
    is_one_answered, is_other_answered = threading.Event(), threading.Event()

    def hand_in(item: int) -> None:
        exam.answer(answer_id=item, labeler=cast.labeler, tiers=[], all_unacceptable=True)

    def slowly() -> None:
        with transaction.atomic():
            hand_in(one)
            is_one_answered.set()
            is_other_answered.wait(0.5)  # which it can't be before this one is committed

    def meanwhile() -> None:
        assert is_one_answered.wait(30)
        hand_in(other)
        is_other_answered.set()

    at_once([slowly, meanwhile])
    attempt.refresh_from_db()
    assert (attempt.finished_at is not None, attempt.total, attempt.passed) == (True, 12, False)
