"""Gold tasks and rates for the tests of hidden checks."""

from collections.abc import Callable

import pytest

from annotate.labeling import queue
from annotate.labeling.checks import gold
from annotate.models import Assignment, Project, Task, User
from tests.factories.cast import Cast, judge, make_comparison, response_ids

Claim = Callable[..., Assignment | None]


@pytest.fixture
def make_gold(cast: Cast) -> Callable[..., Task]:
    def make(question: str = "Gold?", **values: object) -> Task:
        task = make_comparison(cast.project, question, **values)
        return gold.promote(task=task, tiers=[[key] for key in response_ids(task)], by=cast.manager)

    return make


@pytest.fixture
def settings_of(cast: Cast) -> Callable[..., None]:
    """Change settings of the cast's project past the checks of edit_project."""

    def change(**values: object) -> None:
        Project.objects.filter(pk=cast.project.pk).update(**values)
        cast.project.refresh_from_db()

    return change


@pytest.fixture
def claim(cast: Cast) -> Claim:
    def of(labeler: User | None = None) -> Assignment | None:
        return queue.claim_next(labeler=labeler or cast.labeler, project=cast.project, ahead=False)

    return of


@pytest.fixture
def work(claim: Claim) -> Callable[..., list[Assignment]]:
    """Claim and judge, as shown, until so many are done or nothing is left; the assignments."""

    def of(count: int, labeler: User | None = None) -> list[Assignment]:
        done: list[Assignment] = []
        while len(done) < count and (assignment := claim(labeler)) is not None:
            judge(assignment, [[key] for key in assignment.presentation])
            done.append(assignment)
        return done

    return of
