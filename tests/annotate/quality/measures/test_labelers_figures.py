import pytest

from annotate.labeling import queue
from annotate.people.projects import edit_project
from annotate.quality import measures
from annotate.quality.overview import ProjectOverview
from tests.cast import judge, make_comparison, response_ids


def test_an_empty_project_has_no_figures_and_no_errors(cast):
    overview = ProjectOverview(cast.project)
    assert (overview.counts.prompts, overview.counts.judgments, overview.counts.tasks_open) == (0, 0, 0)
    assert [pace.labeler for pace in overview.labelers] == [cast.labeler, cast.second_labeler]
    assert overview.labelers[0].median_seconds is None
    assert (overview.agreement.rate, overview.alpha.value, overview.position_bias.rate) == (None, None, None)


def test_counts_pace_and_agreement(cast):
    project = edit_project(project=cast.project, by=cast.manager, overlap=2)
    tasks = [make_comparison(project, f"Question {number}", ("a", "b", "c")) for number in range(3)]
    make_comparison(project, "Waits", ("a", "b"), priority=-1)
    for seconds in (10, 20, 60):
        assignment = queue.claim_next(labeler=cast.labeler, project=project)
        judge(assignment, [[pk] for pk in response_ids(assignment.task)], seconds=seconds)
    queue.skip(assignment_id=queue.claim_next(labeler=cast.labeler, project=project).pk, labeler=cast.labeler)
    for _ in range(2):
        assignment = queue.claim_next(labeler=cast.second_labeler, project=project)
        a, b, c = response_ids(assignment.task)
        judge(assignment, [[a], [c], [b]])
    measures.fold_due()
    overview = ProjectOverview(project)
    counts = overview.counts
    assert (counts.prompts, counts.responses, counts.judgments, counts.surplus) == (4, 11, 5, 0)
    assert (counts.tasks_open, counts.tasks_complete, counts.in_work) == (2, 2, 1)
    mine, other = overview.labelers
    assert (mine.labeler, mine.judgments, mine.skipped, mine.median_seconds) == (cast.labeler, 3, 1, 20)
    assert mine.per_hour == pytest.approx(120)
    assert (other.judgments, other.median_seconds, other.per_hour) == (2, None, None)
    # a > b and a > c in both tasks; b and c the other way round.
    assert (overview.agreement.hits, overview.agreement.total) == (4, 6)
    assert (mine.agreement.hits, mine.agreement.total) == (4, 6)
    assert overview.position_bias.total == 15
    assert -1 < overview.alpha.value < 1
    assert len(tasks) == 3


def test_only_this_project_counts(cast):
    make_comparison(cast.other_project)
    assert ProjectOverview(cast.project).counts.prompts == 0


def test_the_number_of_queries_does_not_grow_with_the_labelers(cast, django_assert_max_num_queries):
    for number in range(4):
        make_comparison(cast.project, f"Question {number}")
    for labeler in (cast.labeler, cast.second_labeler, cast.reviewer, cast.manager):
        assignment = queue.claim_next(labeler=labeler, project=cast.project)
        if assignment:
            judge(assignment, [assignment.presentation])
    measures.fold_due()
    overview = ProjectOverview(cast.project)
    with django_assert_max_num_queries(13):
        assert overview.counts
        assert overview.labelers
        assert overview.agreement
        assert overview.position_bias
