import json
from datetime import timedelta

import pytest
from django.utils import timezone

from annotate.data.imports import import_file
from annotate.errors import InvalidOrdering, NotYours, Refused, UnknownResponse
from annotate.labeling import queue
from annotate.models import Assignment, Judgment, JudgmentRevision, Task
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, judge, make_comparison, make_prompt, make_responses, response_ids

State = Assignment.State


def claim(cast: Cast, labeler=None) -> Assignment | None:
    return queue.claim_next(labeler=labeler or cast.labeler, project=cast.project)


def overdue(assignment: Assignment) -> None:
    """Let the lease run out and be taken back."""
    Assignment.objects.filter(pk=assignment.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    queue.release_expired()


def test_an_empty_queue_gives_nothing(cast):
    assert claim(cast) is None


def test_asking_again_gives_the_same_task_and_renews_its_lease(cast):
    make_comparison(cast.project)
    first = claim(cast)
    Assignment.objects.filter(pk=first.pk).update(lease_until=timezone.now() - timedelta(minutes=5))
    again = claim(cast)
    assert again.pk == first.pk
    assert again.lease_until > timezone.now() + timedelta(minutes=29)
    assert Assignment.objects.count() == 1


def test_one_more_is_leased_ahead_and_comes_next(cast):
    for number in range(3):
        make_comparison(cast.project, f"Question {number}")
    current = claim(cast)
    ahead = queue.look_ahead(labeler=cast.labeler, project=cast.project)
    assert (current.state, ahead.state) == (State.CURRENT, State.AHEAD)
    assert current.opened_at is not None
    assert ahead.opened_at is None
    judge(current, [[response] for response in current.presentation])
    promoted = claim(cast)
    assert promoted.pk == ahead.pk
    assert promoted.state == State.CURRENT
    assert promoted.opened_at is not None
    assert Assignment.objects.filter(labeler=cast.labeler, state=State.AHEAD).count() == 1


def test_a_task_is_given_to_as_many_labelers_as_it_wants(cast):
    make_comparison(cast.project)
    assert claim(cast) is not None
    assert claim(cast, cast.second_labeler) is None


def test_overlap_gives_a_task_to_several_and_to_nobody_twice(cast):
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    task = make_comparison(cast.project)
    for labeler in (cast.labeler, cast.second_labeler):
        judge(claim(cast, labeler), [[response] for response in response_ids(task)])
    task.refresh_from_db()
    assert (task.state, task.judgments_given, task.slots_free) == (Task.State.COMPLETE, 2, 0)
    assert claim(cast, cast.reviewer) is None
    assert claim(cast) is None


def test_higher_priority_comes_first_even_when_it_came_later(cast):
    for number in range(6):
        make_comparison(cast.project, f"Question {number}")
    done = claim(cast)
    judge(done, [[response] for response in done.presentation])
    urgent = make_comparison(cast.project, "Urgent", priority=5)
    queue.claim_next(labeler=cast.second_labeler, project=cast.project)
    assert Assignment.objects.get(labeler=cast.second_labeler, state=State.CURRENT).task_id == urgent.pk


def test_each_labeler_sees_an_order_of_his_own_that_stays(cast):
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    orders = set()
    for number in range(8):
        task = make_comparison(cast.project, f"Question {number}")
        for labeler in (cast.labeler, cast.second_labeler):
            assignment = claim(cast, labeler)
            assert sorted(assignment.presentation) == response_ids(task)
            assert claim(cast, labeler).presentation == assignment.presentation
            orders.add(
                tuple(response - task.task_responses.first().response_id for response in assignment.presentation)
            )
            judge(assignment, [[response] for response in assignment.presentation])
    assert len(orders) > 4


def test_a_judgment_is_stored_with_all_its_parts(cast):
    edit_project(
        project=cast.project,
        by=cast.manager,
        criteria=[{"name": "overall", "label": "Overall", "min": 1, "max": 7}],
        flags=[{"name": "hallucination", "label": "Makes things up"}],
    )
    task = make_comparison(cast.project)
    a, b, c, d = response_ids(task)
    receipt = judge(
        claim(cast),
        [[b], [a, d]],
        ratings={str(a): {"overall": 5}},
        flags={c: ["hallucination"]},
        comment="  Close.  ",
        seconds=12.5,
    )
    revision = JudgmentRevision.objects.get()
    assert receipt.revision == revision
    assert not receipt.repeated
    assert not receipt.surplus
    assert revision.tiers == [[b], [a, d]]
    assert revision.ratings == {str(a): {"overall": 5}}
    assert revision.flags == {str(c): ["hallucination"]}
    assert (revision.comment, revision.seconds, revision.number) == ("Close.", 12.5, 1)
    assert revision.rubric == cast.project.rubric
    judgment = Judgment.objects.get()
    assert judgment.latest == revision
    assert judgment.labeler == cast.labeler
    assert judgment.task == task


@pytest.mark.parametrize(
    "values",
    [
        {"ratings": {"overall": 3}},
        {"ratings": []},
        {"flags": {}, "seconds": float("nan")},
        {"seconds": -1.0},
        {"margin": 4},
        {"margin": 1},
        {"comment": "a\0b"},
        {"comment": "\ud800"},
        {"comment": "x" * 20_001},
        {"source": "robot"},
        {"rubric_id": 999_999},
    ],
)
def test_a_broken_part_is_refused_and_nothing_is_lost(cast, values):
    make_comparison(cast.project)
    assignment = claim(cast)
    queue.save_draft(assignment_id=assignment.pk, labeler=cast.labeler, draft={"comment": "so far"})
    with pytest.raises(Refused) as refusal:
        judge(assignment, [[response] for response in assignment.presentation], **values)
    assert refusal.value.status == 400
    assert str(refusal.value).endswith(".")
    assignment.refresh_from_db()
    assert assignment.state == State.CURRENT
    assert assignment.draft == {"comment": "so far"}
    assert not Judgment.objects.exists()


def test_a_rating_outside_its_scale_is_refused(cast):
    criteria = [{"name": "overall", "label": "Overall", "min": 1, "max": 7}]
    edit_project(project=cast.project, by=cast.manager, criteria=criteria)
    task = make_comparison(cast.project)
    responses = response_ids(task)
    for ratings in ({responses[0]: {"overall": 8}}, {responses[0]: {"overall": True}}, {responses[0]: {"charm": 2}}):
        with pytest.raises(Refused):
            judge(claim(cast), [[response] for response in responses], ratings=ratings)


def test_a_rating_by_the_rubric_that_was_on_the_page_is_taken(cast):
    criteria = [{"name": "overall", "label": "Overall", "min": 1, "max": 7}]
    shown = edit_project(project=cast.project, by=cast.manager, criteria=criteria).rubric
    responses = response_ids(make_comparison(cast.project))
    assignment = claim(cast)
    edit_project(project=cast.project, by=cast.manager, criteria=[])
    receipt = judge(assignment, [responses], ratings={responses[0]: {"overall": 7}}, rubric_id=shown.pk)
    assert receipt.revision.rubric == shown


def test_nothing_ranked_is_refused_but_all_may_be_unacceptable(cast):
    make_comparison(cast.project)
    assignment = claim(cast)
    for tiers in ([], [[assignment.presentation[0]]]):
        with pytest.raises(InvalidOrdering, match="at least two"):
            judge(assignment, tiers)
    assert judge(assignment, [], all_unacceptable=True).revision.all_unacceptable


def test_a_response_that_is_not_in_the_task_is_refused(cast):
    make_comparison(cast.project)
    other = make_responses(make_prompt(cast.project, "Another question"), "Another response")[0]
    assignment = claim(cast)
    with pytest.raises(UnknownResponse):
        judge(assignment, [[assignment.presentation[0]], [other.pk]])


def test_a_task_of_somebody_else_is_refused(cast):
    make_comparison(cast.project)
    assignment = claim(cast)
    submission = queue.Submission(client_id="6b0c3b52-0e7b-4d6c-9a44-6a8c1c4f6f0a", tiers=[assignment.presentation])
    with pytest.raises(NotYours):
        queue.submit(assignment_id=assignment.pk, labeler=cast.second_labeler, submission=submission)
    with pytest.raises(NotYours):
        queue.skip(assignment_id=assignment.pk, labeler=cast.second_labeler)
    with pytest.raises(NotYours):
        queue.save_draft(assignment_id=assignment.pk, labeler=cast.second_labeler, draft={})
    with pytest.raises(Refused) as refusal:
        queue.skip(assignment_id=assignment.pk + 1000, labeler=cast.labeler)
    assert refusal.value.status == 404


def test_a_repeated_submit_is_the_same_judgment(cast):
    task = make_comparison(cast.project)
    assignment = claim(cast)
    first = judge(assignment, [[response] for response in assignment.presentation])
    again = judge(assignment, [[response] for response in assignment.presentation], client_id=first.revision.client_id)
    assert again.repeated
    assert again.revision == first.revision
    task.refresh_from_db()
    assert JudgmentRevision.objects.count() == 1
    assert task.judgments_given == 1


def test_another_submit_is_a_revision_and_the_latest_counts(cast):
    task = make_comparison(cast.project)
    assignment = claim(cast)
    ordering = [[response] for response in assignment.presentation]
    judge(assignment, ordering)
    receipt = judge(assignment, ordering[::-1])
    judgment = Judgment.objects.get()
    task.refresh_from_db()
    assert (receipt.revision.number, judgment.latest, task.judgments_given) == (2, receipt.revision, 1)
    assert judgment.revisions.count() == 2


def test_a_lease_that_ran_out_goes_to_another_labeler(cast):
    task = make_comparison(cast.project)
    late = claim(cast)
    assert claim(cast, cast.second_labeler) is None
    overdue(late)
    assert claim(cast, cast.second_labeler).task == task


def test_a_late_judgment_takes_a_place_that_is_still_free(cast):
    task = make_comparison(cast.project)
    late = claim(cast)
    overdue(late)
    receipt = judge(late, [[response] for response in late.presentation])
    task.refresh_from_db()
    assert not receipt.surplus
    assert (task.state, task.judgments_given, task.slots_free) == (Task.State.COMPLETE, 1, 0)


def test_a_late_judgment_is_kept_as_surplus_when_another_took_the_place(cast):
    task = make_comparison(cast.project)
    late = claim(cast)
    overdue(late)
    other = claim(cast, cast.second_labeler)
    receipt = judge(late, [[response] for response in late.presentation])
    assert receipt.surplus
    assert receipt.judgment.surplus
    assert not judge(other, [[response] for response in other.presentation]).surplus
    task.refresh_from_db()
    assert (task.judgments_given, Judgment.objects.count()) == (1, 2)


def test_a_labeler_gets_a_task_back_that_ran_out_with_his_draft_and_order(cast):
    make_comparison(cast.project)
    before = claim(cast)
    queue.save_draft(assignment_id=before.pk, labeler=cast.labeler, draft={"tiers": [[1]]})
    overdue(before)
    after = claim(cast)
    assert after.pk == before.pk
    assert after.state == State.CURRENT
    assert after.draft == {"tiers": [[1]]}
    assert after.presentation == before.presentation


def test_a_skipped_task_goes_to_others_and_not_back(cast):
    task = make_comparison(cast.project)
    assignment = claim(cast)
    for _ in range(2):
        queue.skip(assignment_id=assignment.pk, labeler=cast.labeler, reason="Not my field")
    task.refresh_from_db()
    assert task.slots_free == 1
    assert claim(cast) is None
    assert claim(cast, cast.second_labeler).task == task
    assert Assignment.objects.get(pk=assignment.pk).skip_reason == "Not my field"


def test_a_submitted_task_cannot_be_skipped(cast):
    make_comparison(cast.project)
    assignment = claim(cast)
    judge(assignment, [assignment.presentation])
    with pytest.raises(Refused, match="kept"):
        queue.skip(assignment_id=assignment.pk, labeler=cast.labeler)


def test_a_draft_renews_the_lease(cast):
    make_comparison(cast.project)
    assignment = claim(cast)
    Assignment.objects.filter(pk=assignment.pk).update(lease_until=timezone.now())
    assert queue.save_draft(assignment_id=assignment.pk, labeler=cast.labeler, draft={"comment": "好"}).kept
    assignment.refresh_from_db()
    assert assignment.draft == {"comment": "好"}
    assert assignment.lease_until > timezone.now() + timedelta(minutes=29)


@pytest.mark.parametrize("draft", [[], "text", {"a": float("inf")}, {"a": "\0"}, {"a": "\ud800"}, {"a": "x" * 400_000}])
def test_a_broken_draft_is_refused(cast, draft):
    make_comparison(cast.project)
    with pytest.raises(Refused) as refusal:
        queue.save_draft(assignment_id=claim(cast).pk, labeler=cast.labeler, draft=draft)
    assert refusal.value.status == 400


def test_a_draft_may_speak_of_escapes(cast):
    make_comparison(cast.project)
    assert queue.save_draft(assignment_id=claim(cast).pk, labeler=cast.labeler, draft={"comment": r"write \u0000"}).kept


def test_more_overlap_opens_places_in_open_tasks(cast):
    task = make_comparison(cast.project)
    claim(cast)
    edit_project(project=cast.project, by=cast.manager, overlap=3)
    task.refresh_from_db()
    assert (task.judgments_wanted, task.slots_free) == (3, 2)
    assert claim(cast, cast.second_labeler).task == task


def test_less_overlap_completes_tasks_that_have_enough(cast):
    edit_project(project=cast.project, by=cast.manager, overlap=3)
    task = make_comparison(cast.project)
    assignment = claim(cast)
    judge(assignment, [assignment.presentation])
    edit_project(project=cast.project, by=cast.manager, overlap=1)
    task.refresh_from_db()
    assert (task.state, task.slots_free, task.judgments_wanted) == (Task.State.COMPLETE, 0, 1)


def test_overlap_that_is_lowered_and_raised_again_opens_tasks_with_too_few_judgments(cast):
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    task, untouched = make_comparison(cast.project), make_comparison(cast.project, "Another?")
    assignment = claim(cast)
    judge(assignment, [assignment.presentation])
    judged, other = (task, untouched) if assignment.task == task else (untouched, task)
    seen = []
    for overlap in (1, 2, 3):
        edit_project(project=cast.project, by=cast.manager, overlap=overlap)
        seen.append([(t.state, t.judgments_wanted, t.slots_free) for t in Task.objects.filter(pk=judged.pk)])
    assert seen == [[("complete", 1, 0)], [("open", 2, 1)], [("open", 3, 2)]]
    other.refresh_from_db()
    assert (other.state, other.judgments_wanted) == ("open", 3)
    assert {claim(cast, cast.second_labeler).task, claim(cast, cast.reviewer).task} <= {task, untouched}


def test_a_raised_overlap_leaves_alone_what_came_judged_and_tasks_of_other_kinds(cast, tmp_path):
    """Rankings of a file are their judges'; a response to write wants as many as were asked for when it was made."""
    path = tmp_path / "rankings.jsonl"
    responses = [{"text": "Yes.", "rank": 1}, {"text": "No.", "rank": 2}]
    path.write_text(json.dumps({"prompt": [{"role": "user", "content": "Well?"}], "responses": responses}))
    import_file(project=cast.project, path=path, by=cast.manager)
    written = Task.objects.create(project=cast.project, kind="demonstrate", prompt=make_prompt(cast.project))
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    imported = Task.objects.get(kind="compare")
    written.refresh_from_db()
    assert (imported.state, imported.judgments_wanted) == ("complete", 1)
    assert (written.state, written.judgments_wanted, written.slots_free) == ("open", 1, 1)


def test_leases_beyond_a_lowered_overlap_do_not_free_places_when_they_end(cast):
    edit_project(project=cast.project, by=cast.manager, overlap=3)
    task = make_comparison(cast.project)
    leases = [claim(cast, labeler) for labeler in (cast.labeler, cast.second_labeler, cast.reviewer)]
    edit_project(project=cast.project, by=cast.manager, overlap=1)
    for lease, free in zip(leases, (0, 0, 1), strict=True):
        queue.skip(assignment_id=lease.pk, labeler=lease.labeler)
        task.refresh_from_db()
        assert task.slots_free == free


def test_the_cursor_does_not_hide_tasks_that_appear_or_come_back(cast):
    first = make_comparison(cast.project, "First")
    assignment = claim(cast)
    judge(assignment, [assignment.presentation])
    assert claim(cast) is None
    second = make_comparison(cast.project, "Second")
    assert claim(cast).task == second
    assert first != second


def test_kinds_that_are_switched_off_are_not_given(cast):
    make_comparison(cast.project)
    edit_project(project=cast.project, by=cast.manager, task_kinds=["demonstrate"])
    cast.project.refresh_from_db()
    assert claim(cast) is None
    cast_project = edit_project(project=cast.project, by=cast.manager, task_kinds=["compare"])
    assert queue.claim_next(labeler=cast.labeler, project=cast_project) is not None


def test_an_archived_project_gives_nothing(cast):
    make_comparison(cast.project)
    project = edit_project(project=cast.project, by=cast.manager, archived=True)
    assert queue.claim_next(labeler=cast.labeler, project=project) is None


def test_a_comparison_wants_responses_to_one_prompt_of_the_project(cast):
    prompt, other = make_prompt(cast.project), make_prompt(cast.project, "Another")
    mine, theirs = make_responses(prompt, "a", "b"), make_responses(other, "c")
    with pytest.raises(Refused):
        queue.add_comparison(project=cast.project, prompt=prompt, responses=[mine[0], theirs[0]])
    with pytest.raises(Refused):
        queue.add_comparison(project=cast.other_project, prompt=prompt, responses=mine)
    with pytest.raises(Refused, match="2 to 9"):
        queue.add_comparison(project=cast.project, prompt=prompt, responses=mine[:1])
    with pytest.raises(UnknownResponse):
        queue.add_comparison(project=cast.project, prompt=prompt, responses=mine, gold_tiers=[[theirs[0].pk]])
    assert not Task.objects.exists()
