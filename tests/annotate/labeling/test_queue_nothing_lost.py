"""Drafts by version, and judgments taken back: what was entered is never lost, and what counts is always clear."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import QuerySet
from django.utils import timezone

from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import Assignment, Demonstration, Judgment, JudgmentRevision, Task
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, judge, make_comparison, response_ids

State = Assignment.State


def claim(cast: Cast, labeler: Any = None) -> Assignment:
    assignment = queue.claim_next(labeler=labeler or cast.labeler, project=cast.project)
    assert assignment is not None
    return assignment


def save(assignment: Assignment, comment: str, **values: Any) -> queue.DraftReceipt:
    return queue.save_draft(
        assignment_id=assignment.pk, labeler=assignment.labeler, draft={"comment": [comment]}, **values
    )


def stored(assignment: Assignment) -> Any:
    return Assignment.objects.get(pk=assignment.pk).draft["comment"][0]


def states(cast: Cast) -> dict[int, str]:
    return dict(Assignment.objects.filter(labeler=cast.labeler).values_list("task_id", "state"))


class TestDrafts:
    def test_of_one_page_count_upwards_and_an_older_one_that_comes_late_changes_nothing(self, cast: Cast) -> None:
        make_comparison(cast.project)
        assignment = claim(cast)
        assert save(assignment, "second", page="a", version=2, base=0).kept
        late = save(assignment, "first", page="a", version=1, base=0)
        assert (late.kept, late.conflict, late.version) == (False, False, 2)
        assert stored(assignment) == "second"

    def test_of_a_page_that_has_not_seen_the_newest_is_a_conflict_that_shows_it(self, cast: Cast) -> None:
        make_comparison(cast.project)
        assignment = claim(cast)
        save(assignment, "from the office", page="a", version=1, base=0)
        refused = save(assignment, "from home", page="b", version=7, base=0)
        assert (refused.conflict, refused.version, refused.draft) == (True, 1, {"comment": ["from the office"]})
        assert stored(assignment) == "from the office"
        agreed = save(assignment, "from home", page="b", version=8, base=1)
        assert (agreed.kept, agreed.version) == (True, 8)
        assert stored(assignment) == "from home"
        assert save(assignment, "office again", page="a", version=2, base=0).conflict

    def test_after_the_lease_ran_out_is_kept_and_said(self, cast: Cast) -> None:
        make_comparison(cast.project)
        assignment = claim(cast)
        queue.release_held(labeler=cast.labeler, project=cast.project)
        receipt = save(assignment, "late", page="a", version=1, base=0)
        assert (receipt.kept, receipt.expired) == (True, True)

    def test_of_a_skipped_task_is_of_no_use(self, cast: Cast) -> None:
        make_comparison(cast.project)
        assignment = claim(cast)
        queue.skip(assignment_id=assignment.pk, labeler=cast.labeler)
        assert save(assignment, "late").over

    def test_that_was_on_its_way_while_the_task_was_submitted_is_no_new_draft(self, cast: Cast) -> None:
        make_comparison(cast.project)
        assignment = claim(cast)
        save(assignment, "first", page="a", version=1, base=0)
        judge(assignment, [assignment.presentation])
        assert not save(assignment, "late", page="a", version=2, base=0).kept
        assert Assignment.objects.get().draft is None

    def test_of_a_submitted_task_begins_a_revision(self, cast: Cast) -> None:
        make_comparison(cast.project)
        assignment = claim(cast)
        judge(assignment, [assignment.presentation])
        assignment.refresh_from_db()
        base = assignment.draft_version
        assert save(assignment, "on second thoughts", page="b", version=base + 1, base=base).kept
        assert Assignment.objects.get().state == State.SUBMITTED
        assert stored(assignment) == "on second thoughts"


def undo(assignment: Assignment, **draft: Any) -> Assignment:
    return queue.withdraw(assignment_id=assignment.pk, labeler=assignment.labeler, draft=draft)


class TestUndo:
    def test_puts_the_task_back_on_the_board_and_the_next_one_behind_it(self, cast: Cast) -> None:
        tasks = [make_comparison(cast.project, f"Question {number}") for number in range(4)]
        first = claim(cast)
        judge(first, [first.presentation])
        second = claim(cast)
        third = queue.look_ahead(labeler=cast.labeler, project=cast.project)
        assert third is not None
        undo(first, comment=["as it was"])
        assert states(cast) == {first.task_id: "current", second.task_id: "ahead", third.task_id: "expired"}
        again = claim(cast)
        assert (again.pk, again.draft) == (first.pk, {"comment": ["as it was"]})
        judgment = Judgment.objects.get()
        assert judgment.latest is None
        assert list(judgment.revisions.values_list("number", "withdrawn")) == [(1, False), (2, True)]
        assert {(task.judgments_given, task.slots_free, task.state) for task in Task.objects.all()} == {
            (0, 0, "open"),
            (0, 1, "open"),
        }
        assert sum(Task.objects.values_list("slots_free", flat=True)) == len(tasks) - 2

    def test_and_submitting_again_counts_once(self, cast: Cast) -> None:
        task = make_comparison(cast.project)
        assignment = claim(cast)
        judge(assignment, [assignment.presentation])
        undo(assignment)
        receipt = judge(assignment, [[key] for key in assignment.presentation])
        assert (receipt.revision.number, receipt.revised, receipt.surplus) == (3, False, False)
        task.refresh_from_db()
        assert (task.judgments_given, task.slots_free, task.state) == (1, 0, "complete")
        assert Judgment.objects.get().latest == receipt.revision

    def test_twice_is_once(self, cast: Cast) -> None:
        make_comparison(cast.project)
        assignment = claim(cast)
        judge(assignment, [assignment.presentation])
        undo(assignment)
        undo(assignment)
        assert JudgmentRevision.objects.count() == 2

    def test_is_refused_when_it_is_too_late_and_for_revisions(self, cast: Cast) -> None:
        make_comparison(cast.project)
        assignment = claim(cast)
        Assignment.objects.filter(pk=assignment.pk).update(state=Assignment.State.EXPIRED)
        with pytest.raises(Refused, match="nothing to undo"):
            undo(assignment)
        receipt = judge(assignment, [assignment.presentation])
        long_ago = timezone.now() - timedelta(minutes=1)
        QuerySet.update(JudgmentRevision.objects.all(), created_at=long_ago)  # past the guard of append-only rows
        with pytest.raises(Refused, match="too late"):
            undo(assignment)
        judge(assignment, [[key] for key in assignment.presentation])
        with pytest.raises(Refused, match="revision"):
            undo(assignment)
        assert Judgment.objects.get().latest_id != receipt.revision.pk

    def test_of_a_surplus_judgment_takes_no_place_from_anybody(self, cast: Cast) -> None:
        task = make_comparison(cast.project)
        late = claim(cast)
        queue.release_held(labeler=cast.labeler, project=cast.project)
        other = claim(cast, cast.second_labeler)
        judge(late, [late.presentation])
        undo(late)
        task.refresh_from_db()
        assert (task.judgments_given, task.slots_free) == (0, 0)
        assert Assignment.objects.get(pk=late.pk).state == State.EXPIRED
        assert judge(late, [late.presentation]).surplus
        assert not judge(other, [other.presentation]).surplus

    def test_keeps_to_the_overlap_when_it_was_lowered_meanwhile(self, cast: Cast) -> None:
        edit_project(project=cast.project, by=cast.manager, overlap=2)
        task = make_comparison(cast.project)
        assignment = claim(cast)
        judge(assignment, [assignment.presentation])
        edit_project(project=cast.project, by=cast.manager, overlap=1)
        undo(assignment)
        task.refresh_from_db()
        assert (task.judgments_given, task.slots_free, task.state) == (0, 0, "open")


class TestAnImprovedResponse:
    def test_is_a_demonstration_that_points_to_what_it_came_from(self, cast: Cast) -> None:
        a, b, _, _ = response_ids(make_comparison(cast.project))
        assignment = claim(cast)
        improved = {"improved": {"response": b, "text": "  Slowly, in water.\r\n"}}
        judge(assignment, [[b], [a]], content=improved)
        demonstration = Demonstration.objects.get()
        assert demonstration.response.text == "  Slowly, in water.\n"
        assert demonstration.response.edited_from_id == b
        assert demonstration.response.finish_reason == "written"
        assert demonstration.response.author.user == cast.labeler
        assert demonstration.assignment == assignment

    def test_as_it_was_is_none(self, cast: Cast) -> None:
        a, b, _, _ = response_ids(make_comparison(cast.project))
        judge(claim(cast), [[b], [a]], content={"improved": {"response": b, "text": " Slowly. "}})
        assert not Demonstration.objects.exists()
        assert JudgmentRevision.objects.get().content == {}

    def test_follows_revisions_and_undo(self, cast: Cast) -> None:
        a, b, _, _ = response_ids(make_comparison(cast.project))
        assignment = claim(cast)
        for text in ("One.", "One.", "Two.", None):
            content = {"improved": {"response": b, "text": text}} if text else {}
            judge(assignment, [[b], [a]], content=content)
        exam_progress = Demonstration.objects.values_list("response__text", "withdrawn_at")
        assert [text for text, _ in exam_progress] == ["One.", "Two."]
        assert all(withdrawn for _, withdrawn in exam_progress)

    @pytest.mark.parametrize(
        "content", [[1], {"other": 1}, {"improved": {"text": "x"}}, {"improved": {"response": 0, "text": "x"}}]
    )
    def test_of_another_shape_is_refused(self, cast: Cast, content: Any) -> None:
        make_comparison(cast.project)
        assignment = claim(cast)
        with pytest.raises(Refused) as refusal:
            judge(assignment, [assignment.presentation], content=content, client_id=uuid.uuid4())
        assert refusal.value.status == 400


def test_notes_are_kept_per_response(cast: Cast) -> None:
    a, b, _, _ = response_ids(make_comparison(cast.project))
    receipt = judge(claim(cast), [[a], [b]], notes={str(a): " clear ", b: "  "})
    assert receipt.revision.notes == {str(a): "clear"}
