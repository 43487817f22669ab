from datetime import date, timedelta

import pytest

from annotate.quality.forecast import forecast

TODAY = date(2026, 11, 29)


def test_a_steady_pace_has_one_day() -> None:
    found = forecast(1_000, [100] * 14, today=TODAY)
    assert found is not None
    assert (found.expected, found.earliest, found.latest) == (TODAY + timedelta(10),) * 3
    assert found.per_day == 100


def test_the_range_follows_from_the_spread() -> None:
    """Fourteen days of 50 or 150: mean 100, s = 51.89, half = 1.96 * 51.89 / sqrt(14) = 27.18."""
    found = forecast(10_000, [50, 150] * 7, today=TODAY)
    assert found is not None
    assert found.expected == TODAY + timedelta(100)
    assert found.earliest == TODAY + timedelta(79)  # 10,000 / 127.18 = 78.6
    assert found.latest == TODAY + timedelta(138)  # 10,000 / 72.82 = 137.3


def test_a_pace_that_may_be_nothing_has_no_latest_day() -> None:
    found = forecast(1_000, [0] * 11 + [5, 5, 900], today=TODAY)
    assert found is not None
    assert found.latest is None


@pytest.mark.parametrize(("backlog", "per_day"), [(0, [10] * 14), (100, [0] * 12 + [5, 5]), (10**9, [1] * 14), (5, [])])
def test_nothing_is_forecast_from_nothing(backlog: int, per_day: list[int]) -> None:
    assert forecast(backlog, per_day, today=TODAY) is None
