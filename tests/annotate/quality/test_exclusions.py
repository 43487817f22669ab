"""A labeler's judgments are left out since a date: kept and marked, and out of everything that judgments count for."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from annotate.data import snapshots
from annotate.errors import NotYours, Refused
from annotate.labeling import queue
from annotate.models import (
    AuditEvent,
    Demonstration,
    Judgment,
    JudgmentExclusion,
    JudgmentRevision,
    Task,
    TaskConsensus,
    User,
)
from annotate.quality import consensus, measures, review
from annotate.quality.measures.report import Period, PeriodReport
from annotate.quality.review import batch_changes
from rlhf import tasks
from rlhf.loop.rounds import new_data
from rlhf.runs import runs
from tests.annotate.quality.test_consensus import in_letters, judged
from tests.factories.cast import Cast, make_comparison, make_user

Messages = list[tuple[object, ...]]


@pytest.fixture(autouse=True)
def sent(cast: Cast, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any) -> Messages:
    """Messages to workers. Two judgments a task."""
    settings.HONE_DATA = tmp_path
    cast.project.overlap = 2
    cast.project.save()
    found: Messages = []
    monkeypatch.setattr(runs, "send", lambda *message, **options: found.append(message))
    return found


@pytest.fixture
def pairs(cast: Cast) -> list[Task]:
    """Three complete tasks on which the two labelers contradict each other; the first was judged two days ago."""
    made = [make_comparison(cast.project, f"Question {number}?", ("One.", "Two.")) for number in range(3)]
    for task in made:
        judged(task, cast.labeler, "A > B")
        judged(task, cast.second_labeler, "B > A")
    Judgment.objects.filter(task=made[0]).update(created_at=timezone.now() - timedelta(days=2))
    Task.objects.update(slots_free=0)
    return made


def leave_out(cast: Cast, *, days: float = 1, **values: Any) -> JudgmentExclusion:
    given: dict[str, Any] = {
        "project": cast.project,
        "labeler": cast.second_labeler,
        "since": timezone.now() - timedelta(days=days),
        "reason": "Clicked through.",
        "by": cast.manager,
    }
    return review.leave_out(**given | values)


def given(made: list[Task]) -> list[tuple[int, int, str]]:
    """(judgments that count, places, state) of the tasks."""
    chosen = Task.objects.filter(pk__in=[task.pk for task in made]).order_by("pk")
    return list(chosen.values_list("judgments_given", "slots_free", "state"))


def rows(cast: Cast, **options: Any) -> int:
    return snapshots.freeze(project=cast.project, kind="rankings", by=cast.manager, **options).rows or 0


def test_what_is_left_out_counts_for_nothing_and_is_kept(cast: Cast, pairs: list[Task], sent: Messages) -> None:
    revisions = list(JudgmentRevision.objects.values())
    consensus.refresh_due()
    assert [in_letters(task) for task in pairs] == ["A = B"] * 3
    exclusion = leave_out(cast)
    assert (exclusion.state, exclusion.done, exclusion.in_all, sent) == ("done", 2, 2, [])
    assert given(pairs) == [(2, 0, "complete"), (1, 0, "complete"), (1, 0, "complete")]
    consensus.refresh_due()
    assert [in_letters(task) for task in pairs] == ["A = B", "A > B", "A > B"]
    assert list(TaskConsensus.objects.order_by("task").values_list("judgments", flat=True)) == [2, 1, 1]
    measures.fold_due()
    figures = PeriodReport(cast.project, Period.everything(cast.project))
    assert (figures.total.judgments, figures.total.agreement.total) == (4, 1)
    assert figures.by_labeler[cast.second_labeler.pk].judgments == 1
    assert [rows(cast), rows(cast, aggregation="weighted"), rows(cast, aggregation="consensus")] == [4, 4, 3]
    assert new_data.new_judgments(cast.project) == 4
    assert list(JudgmentRevision.objects.values()) == revisions
    assert set(exclusion.judgments.values_list("task", flat=True)) == {pairs[1].pk, pairs[2].pk}
    event = AuditEvent.objects.get(verb="judgments.left_out")
    assert (event.actor, event.detail["person"], event.detail["reason"]) == (
        cast.manager,
        cast.second_labeler.pk,
        "Clicked through.",
    )


def test_counted_again_all_is_as_before(cast: Cast, pairs: list[Task]) -> None:
    before = given(pairs)
    exclusion = leave_out(cast)
    for _ in range(2):
        review.count_again(exclusion=exclusion, by=cast.manager)
    consensus.refresh_due()
    assert given(pairs) == before
    assert [in_letters(task) for task in pairs] == ["A = B"] * 3
    assert (rows(cast), Judgment.objects.filter(left_out__isnull=False).count()) == (6, 0)
    assert AuditEvent.objects.filter(verb="judgments.counted_again").count() == 1


def test_what_another_exclusion_covers_too_stays_left_out(cast: Cast, pairs: list[Task]) -> None:
    later = leave_out(cast)
    earlier = leave_out(cast, days=3)
    review.count_again(exclusion=later, by=cast.manager)
    assert (earlier.judgments.count(), given(pairs)) == (3, [(1, 0, "complete")] * 3)


def test_tasks_short_of_judgments_are_given_to_others_if_that_is_chosen(cast: Cast, pairs: list[Task]) -> None:
    third = make_user("third")
    cast.project.memberships.create(user=third, role="labeler")
    assert queue.claim_next(labeler=third, project=cast.project) is None
    leave_out(cast, gives_out_again=True)
    assert given(pairs)[1:] == [(1, 1, "open")] * 2
    claimed = queue.claim_next(labeler=third, project=cast.project)
    assert claimed is not None
    assert claimed.task in pairs[1:]
    assert queue.claim_next(labeler=cast.second_labeler, project=cast.project) is None, "they have judged it"


def test_an_open_task_gets_its_place_back_and_is_complete_when_the_judgment_counts_again(cast: Cast) -> None:
    task = make_comparison(cast.project)
    judged(task, cast.second_labeler, "A > B > C > D")
    Task.objects.update(slots_free=1)
    exclusion = leave_out(cast)
    assert given([task]) == [(0, 2, "open")]
    judged(task, cast.labeler, "A > B > C > D")
    review.count_again(exclusion=exclusion, by=cast.manager)
    assert given([task]) == [(2, 0, "complete")]


def test_taken_back_and_given_again_it_stays_left_out(cast: Cast) -> None:
    task = make_comparison(cast.project)
    judged(task, cast.second_labeler, "A > B > C > D")
    Task.objects.update(slots_free=1)
    exclusion = leave_out(cast)
    assignment = cast.second_labeler.assignments.get()
    queue.withdraw(assignment_id=assignment.pk, labeler=cast.second_labeler, draft={})
    assert given([task]) == [(0, 2, "open")]
    again = queue.Submission(client_id=uuid.uuid4(), tiers=[[key] for key in assignment.presentation])
    queue.submit(assignment_id=assignment.pk, labeler=cast.second_labeler, submission=again)
    assert (given([task]), exclusion.judgments.count()) == ([(0, 2, "open")], 1)


def test_an_improved_response_is_left_out_with_its_judgment(cast: Cast) -> None:
    task = make_comparison(cast.project)
    improved = {
        "improved": {"response": task.responses.order_by("pk").values_list("pk", flat=True)[0], "text": "Better."}
    }
    judged(task, cast.second_labeler, "A > B > C > D", content=improved)
    judged(make_comparison(cast.project, "Another?"), cast.labeler, "A > B > C > D")
    assert (rows(cast), Demonstration.objects.count()) == (3, 1)
    leave_out(cast)
    assert rows(cast) == 1


class TestAJob:
    @pytest.fixture(autouse=True)
    def one_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batch_changes, "AT_ONCE", 1)

    @pytest.mark.django_db(transaction=True)
    def test_does_the_rest_and_a_second_message_does_nothing(
        self, cast: Cast, pairs: list[Task], sent: Messages
    ) -> None:
        exclusion = leave_out(cast, days=3)
        assert (exclusion.state, exclusion.done) == ("waiting", 1)
        message = ("rlhf.apply_batch_change", "judgmentexclusion", exclusion.pk)
        assert sent == [message]
        tasks.reap_queue()
        assert sent == [message] * 2, "one that was lost is sent again"
        for _ in range(2):
            tasks.apply_batch_change("judgmentexclusion", exclusion.pk)
        exclusion.refresh_from_db()
        assert (exclusion.state, exclusion.done, exclusion.in_all) == ("done", 3, 3)
        assert given(pairs) == [(1, 0, "complete")] * 3

    def test_that_is_undone_at_work_leaves_nothing_left_out(self, cast: Cast, pairs: list[Task]) -> None:
        exclusion = leave_out(cast, days=3)
        review.count_again(exclusion=exclusion, by=cast.manager)
        tasks.apply_batch_change("judgmentexclusion", exclusion.pk)
        assert (exclusion.judgments.count(), given(pairs)) == (0, [(2, 0, "complete")] * 3)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"days": -1}, "This time is in the future: nothing was judged since then."),
        ({"days": 0}, "second_labeler has given no judgment here since then that counts."),
        ({"reason": "  "}, "Say why: the reason stays with these judgments."),
    ],
)
def test_what_makes_no_sense_is_refused(cast: Cast, pairs: list[Task], values: Any, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        leave_out(cast, **values)
    assert not JudgmentExclusion.objects.exists()


@pytest.mark.parametrize("name", ["reviewer", "labeler", "researcher", "outsider"])
def test_only_managers_leave_out(cast: Cast, pairs: list[Task], name: str) -> None:
    person: User = getattr(cast, name)
    with pytest.raises(NotYours):
        leave_out(cast, by=person)
    exclusion = leave_out(cast)
    with pytest.raises(NotYours):
        review.count_again(exclusion=exclusion, by=person)
