"""Pages of long lists by key."""

import pytest

from annotate.data.keyset_pages import keyset_page
from annotate.models import Task, TaskConsensus
from tests.factories.cast import Cast, make_comparison

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def made(cast: Cast) -> list[Task]:
    return [make_comparison(cast.project, f"Question {n}", ("Yes.", "No."), priority=n % 3) for n in range(7)]


@pytest.mark.parametrize("order", [("-pk",), ("priority", "pk"), ("-priority", "-pk")])
def test_pages_have_every_row_once_in_its_order(made: list[Task], order: tuple[str, ...]) -> None:
    found, after, first = [], "", True
    while True:
        page = keyset_page(Task.objects.all(), after, order=order, size=2)
        assert page.is_first == first
        found += page.rows
        if not page.following:
            break
        after, first = page.following, False
    assert found == list(Task.objects.order_by(*order))


def test_a_tiny_number_is_a_place(cast: Cast) -> None:
    assert not keyset_page(TaskConsensus.objects.all(), f"{5e-05!r}:1", order=("certainty", "pk")).is_first


@pytest.mark.parametrize("after", ["x", "1:2", "nan", "1e999", "9" * 40, "-", "1e9999999", "%00", "１"])
def test_what_is_no_place_is_the_first_page(made: list[Task], after: str) -> None:
    page = keyset_page(Task.objects.all(), after, size=2)
    assert (page.rows, page.is_first) == ([made[6], made[5]], True)
