"""Counts for pages: of small projects as they are, of large ones as a job keeps them."""

from typing import Any

import pytest

from annotate.labeling import queue
from annotate.models import Project, ProjectFigures, Prompt
from annotate.people.projects import edit_project
from annotate.quality import project_figures
from tests.factories.cast import Cast, judge, make_comparison

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(cast: Cast) -> Project:
    """Two comparisons that want two judgments each, one of which has one."""
    project = edit_project(project=cast.project, by=cast.manager, overlap=2)
    make_comparison(project)
    weather = make_comparison(project, "天气？", ("好", "不好"))
    Prompt.objects.filter(pk=weather.prompt_id).update(language="zh", use_case="chat")
    assignment = queue.claim_next(labeler=cast.labeler, project=project)
    assert assignment is not None
    judge(assignment, [[pk] for pk in sorted(assignment.presentation)])
    return project


def test_counts(cast: Cast, project: Project) -> None:
    figures = project_figures.count(project)
    assert (figures.prompts, figures.responses, figures.judgments, figures.wanted) == (2, 6, 1, 3)
    assert (figures.tasks_open, figures.tasks_complete) == (2, 0)
    assert figures.kinds == {"compare": {"open": 2, "complete": 0, "withdrawn": 0, "judgments": 1}}
    judged = cast.labeler.judgments.get().task.prompt
    assert judged is not None
    expected = {"other": [1, 0], "chat": [1, 0]}
    expected[judged.use_case][1] = 1
    assert figures.use_cases == expected
    assert set(figures.languages) == {"en", "zh"}
    assert project_figures.count(cast.other_project) == project_figures.Figures()


def test_a_large_project_has_the_counts_of_the_job(cast: Cast, project: Project, monkeypatch: Any) -> None:
    assert project_figures.refresh_due() == 0
    monkeypatch.setattr(project_figures, "SMALL", 1)
    assert project_figures.of(project) is None
    assert project_figures.kind_counts(project, None) == []
    assert project_figures.refresh_due() == 1
    found = project_figures.of(project)
    assert found is not None
    assert (found.prompts, found.wanted) == (2, 3)
    assert found.computed_at == ProjectFigures.objects.get().computed_at
    assert project_figures.refresh_due() == 0, "nothing changed"


def test_counting_is_repeated_after_a_change_and_a_rest(cast: Cast, project: Project, monkeypatch: Any) -> None:
    monkeypatch.setattr(project_figures, "SMALL", 1)
    project_figures.refresh_due()
    make_comparison(project, "Another?")
    ProjectFigures.objects.update(count_seconds=1_000)
    assert project_figures.refresh_due() == 0
    ProjectFigures.objects.update(count_seconds=0)
    assert project_figures.refresh_due() == 1
    found = project_figures.of(project)
    assert found is not None
    assert found.prompts == 3
