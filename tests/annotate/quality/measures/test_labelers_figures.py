"""What a period's report says of a project and its labelers, from the work to the figures."""

from typing import Any

import pytest

from annotate.labeling import queue
from annotate.people.projects import edit_project
from annotate.quality import measures, project_figures
from annotate.quality.measures.report import Period, PeriodReport
from tests.factories.cast import Cast, judge, make_comparison, response_ids

pytestmark = pytest.mark.django_db


def claimed(cast: Cast, labeler: Any) -> Any:
    assignment = queue.claim_next(labeler=labeler, project=cast.project)
    assert assignment is not None
    return assignment


def test_an_empty_project_has_no_figures_and_no_errors(cast: Cast) -> None:
    report = PeriodReport(cast.project, Period.everything(cast.project))
    total = report.total
    assert (total.judgments, total.median_seconds, report.by_labeler) == (0, None, {})
    assert (total.agreement.rate, total.alpha.value, total.position.rate) == (None, None, None)


def test_counts_pace_and_agreement(cast: Cast) -> None:
    project = edit_project(project=cast.project, by=cast.manager, overlap=2)
    for number in range(3):
        make_comparison(project, f"Question {number}", ("a", "b", "c"))
    make_comparison(project, "Waits", ("a", "b"), priority=-1)
    for seconds in (10, 20, 60):
        assignment = claimed(cast, cast.labeler)
        judge(assignment, [[pk] for pk in response_ids(assignment.task)], seconds=seconds)
    queue.skip(assignment_id=claimed(cast, cast.labeler).pk, labeler=cast.labeler)
    for _ in range(2):
        assignment = claimed(cast, cast.second_labeler)
        a, b, c = response_ids(assignment.task)
        judge(assignment, [[a], [c], [b]])
    measures.fold_due()
    counts = project_figures.count(project)
    assert (counts.prompts, counts.responses, counts.judgments, counts.surplus) == (4, 11, 5, 0)
    assert (counts.tasks_open, counts.tasks_complete) == (2, 2)
    report = PeriodReport(project, Period.last_days(1))
    mine, other = report.by_labeler[cast.labeler.pk], report.by_labeler[cast.second_labeler.pk]
    assert (mine.judgments, mine.median_seconds) == (3, 20)
    assert mine.per_hour == pytest.approx(120)
    assert (other.judgments, other.median_seconds, other.per_hour) == (2, None, None)
    # a > b and a > c in both tasks; b and c the other way round.
    total = report.total
    assert (total.agreement.hits, total.agreement.total) == (mine.agreement.hits, mine.agreement.total) == (4, 6)
    assert total.position.total == 15
    assert total.alpha.value is not None
    assert -1 < total.alpha.value < 1


def test_only_this_project_counts(cast: Cast) -> None:
    make_comparison(cast.other_project)
    assert project_figures.count(cast.project).prompts == 0


def test_the_number_of_queries_does_not_grow_with_the_labelers(cast: Cast, django_assert_max_num_queries: Any) -> None:
    for number in range(4):
        make_comparison(cast.project, f"Question {number}")
    for labeler in (cast.labeler, cast.second_labeler, cast.reviewer, cast.manager):
        if assignment := queue.claim_next(labeler=labeler, project=cast.project):
            judge(assignment, [assignment.presentation])
    measures.fold_due()
    report = PeriodReport(cast.project, Period.last_days(1))
    with django_assert_max_num_queries(3):
        assert len(report.by_labeler) > 1
        assert report.total.position.total is not None
