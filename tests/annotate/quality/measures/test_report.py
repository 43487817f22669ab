"""Measures of a period: which rows it reads, and what they say by labeler, use case, language, criterion and time."""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotate.models import MeasureSums, Prompt, Task
from annotate.people.projects import edit_project
from annotate.quality import measures
from annotate.quality.measures import report as reporting
from annotate.quality.measures.advice import Sign, advice
from annotate.quality.measures.payment import payment_rows
from annotate.quality.measures.report import Measures, Period, PeriodReport
from annotate.rendering.csv_tables import csv_lines, safe_cell
from tests.annotate.quality.measures.judging import judged
from tests.factories.cast import Cast, make_comparison

TODAY = date(2026, 7, 20)


@pytest.fixture(autouse=True)
def on_a_day_in_july(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "today", lambda: TODAY)


def on(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 12, tzinfo=UTC)


def pair(cast: Cast, number: int, *, use_case: str = "other", language: str = "en") -> Task:
    task = make_comparison(cast.project, f"Question {number}?", ("One.", "Two, longer."))
    Prompt.objects.filter(pk=task.prompt_id).update(use_case=use_case, language=language)
    return task


@pytest.fixture
def half_a_year(cast: Cast) -> Cast:
    """A judgment of each labeler on the first and the fifteenth of five months; they agree on the first."""
    for month in range(3, 8):
        for day, order in ((1, "A > B"), (15, "B > A")):
            use_case, language = ("chat", "en") if day == 1 else ("summarisation", "zh")
            task = pair(cast, 100 * month + day, use_case=use_case, language=language)
            judged(task, cast.labeler, "A > B", at=on(month, day), shown="AB", seconds=10.0)
            judged(task, cast.second_labeler, order, at=on(month, day), shown="BA", seconds=30.0)
    measures.fold_due()
    return cast


def rows_read(cast: Cast, first: date, last: date) -> set[tuple[str, date]]:
    rows = MeasureSums.objects.filter(Period(first, last).rows, project=cast.project, cut="segment")
    return set(rows.values_list("grain", "start"))


def test_a_period_is_read_as_whole_months_and_the_days_that_are_left(half_a_year: Cast) -> None:
    assert rows_read(half_a_year, date(2026, 3, 2), date(2026, 6, 1)) == {
        ("week", date(2026, 3, 9)),
        ("month", date(2026, 4, 1)),
        ("month", date(2026, 5, 1)),
        ("day", date(2026, 6, 1)),
    }
    # What no month covers is read by weeks where it has whole ones: here the third day is a Monday.
    assert rows_read(half_a_year, date(2026, 6, 3), date(2026, 6, 30)) == {("week", date(2026, 6, 15))}
    assert rows_read(half_a_year, date(2026, 3, 2), date(2026, 3, 16)) == {("week", date(2026, 3, 9))}
    # The month of today has nothing after today.
    assert rows_read(half_a_year, date(2026, 7, 1), TODAY) == {("month", date(2026, 7, 1))}
    assert rows_read(half_a_year, date(2026, 6, 10), date(2026, 6, 20)) == {("day", date(2026, 6, 15))}


@pytest.mark.parametrize(
    ("first", "last", "judgments"),
    [
        (date(2026, 3, 1), TODAY, 20),
        (date(2026, 3, 2), date(2026, 6, 1), 12),
        (date(2026, 4, 15), date(2026, 4, 15), 2),
        (date(2026, 8, 1), date(2026, 8, 9), 0),
        (date(2025, 1, 1), date(2026, 12, 31), 20),
    ],
)
def test_every_period_counts_its_own_days(half_a_year: Cast, first: date, last: date, judgments: int) -> None:
    report = PeriodReport(half_a_year.project, Period(first, last))
    assert report.total.judgments == judgments
    assert sum(one.judgments for one in report.by_labeler.values()) == judgments
    assert sum(one.judgments for one in report.by_use_case.values()) == judgments


def test_by_labeler_use_case_and_language(half_a_year: Cast) -> None:
    report = PeriodReport(half_a_year.project, Period.everything(half_a_year.project))
    assert report.period == Period(date(2026, 3, 1), TODAY)
    one, other = (report.by_labeler[user.pk] for user in (half_a_year.labeler, half_a_year.second_labeler))
    assert (one.agreement.hits, one.agreement.total, one.median_seconds, one.per_hour) == (5, 10, 10.0, 360.0)
    assert (one.position.rate, other.position.hits) == (1.0, 5)
    assert (other.length.hits, other.length.total) == (5, 10)
    assert {name: found.agreement.rate for name, found in report.by_use_case.items()} == {
        "chat": 1.0,
        "summarisation": 0.0,
    }
    assert report.by_language["zh"].judgments == 10
    assert set(report.by_kind) == {"compare"}
    assert report.total.quartiles == (10.0, 20.0, 30.0)


def test_of_one_use_case_or_labeler_alone(half_a_year: Cast) -> None:
    period = Period(date(2026, 3, 1), date(2026, 4, 30))
    report = PeriodReport(half_a_year.project, period, use_case="summarisation")
    assert (report.total.judgments, report.total.agreement.rate) == (4, 0.0)
    assert {key: one.judgments for key, one in report.by_labeler.items()} == {
        half_a_year.labeler.pk: 2,
        half_a_year.second_labeler.pk: 2,
    }
    report = PeriodReport(half_a_year.project, period, labeler=half_a_year.labeler, language="zh")
    assert (report.total.judgments, report.total.agreement.total) == (2, 2)
    assert set(report.by_use_case) == {"summarisation"}


def test_the_trend_has_every_day_or_month(half_a_year: Cast) -> None:
    days = PeriodReport(half_a_year.project, Period(date(2026, 6, 28), date(2026, 7, 2))).trend
    assert [(start.day, one.judgments) for start, one in days] == [(28, 0), (29, 0), (30, 0), (1, 2), (2, 0)]
    report = PeriodReport(half_a_year.project, Period(date(2026, 3, 1), TODAY))
    assert [(start.month, one.judgments) for start, one in report.trend] == [(month, 4) for month in range(3, 8)]
    assert report.judgments_by_start[date(2026, 5, 1)] == {
        half_a_year.labeler.pk: 2,
        half_a_year.second_labeler.pk: 2,
    }


def test_drift_is_measured_against_the_period_before(half_a_year: Cast) -> None:
    report = PeriodReport(half_a_year.project, Period(date(2026, 5, 1), date(2026, 5, 1)))
    assert report.before.period == Period(date(2026, 4, 30), date(2026, 4, 30))
    report = PeriodReport(half_a_year.project, Period(date(2026, 5, 10), date(2026, 5, 19)))
    assert report.total.change_since(report.before.total).value == -1.0


def test_criteria_of_the_rubric(cast: Cast) -> None:
    criteria = [{"name": "quality", "label": "Quality", "min": 1, "max": 7}]
    edit_project(project=cast.project, by=cast.manager, criteria=criteria)
    for number in range(12):
        task = pair(cast, number)
        one, two = task.task_responses.values_list("response_id", flat=True)
        for labeler, value in ((cast.labeler, 4), (cast.second_labeler, 4 + number % 2)):
            ratings = {one: {"quality": value}, two: {"quality": 1}}
            judged(task, labeler, "A > B", at=on(7, 1), ratings=ratings)
    measures.fold_due()
    report = PeriodReport(cast.project, Period(date(2026, 7, 1), TODAY))
    assert report.criteria == ["quality"]
    assert (report.total.criterion_agreement("quality").hits, report.total.criterion_agreement("quality").total) == (
        18,
        24,
    )
    alpha = report.total.criterion_alpha("quality")
    assert alpha.value is not None
    assert alpha.low is not None
    assert alpha.high is not None
    assert 0.5 < alpha.low < alpha.value < alpha.high <= 1
    assert report.by_labeler[cast.second_labeler.pk].criterion_difference("quality") == pytest.approx(0.25)


def test_a_report_costs_one_query_a_part(half_a_year: Cast) -> None:
    report = PeriodReport(half_a_year.project, Period(date(2026, 3, 1), TODAY))
    with CaptureQueriesContext(connection) as queries:
        assert report.total
        assert report.by_labeler
        assert report.trend
    assert len(queries) <= 6


def counters(**families: int) -> Measures:
    return Measures({name.replace("__", "|"): count for name, count in families.items()}, of_labeler=True)


def test_signs_need_twenty_judgments_and_more_than_chance() -> None:
    assert advice(counters(judgments=19, paced=19, hasty=19)) == []
    assert [item.sign for item in advice(counters(paced=40, hasty=20))] == [Sign.HASTE]
    assert advice(counters(paced=40, hasty=10)) == []  # a quarter, but its interval reaches below a fifth
    assert [item.sign for item in advice(counters(written=30, pasted=25))] == [Sign.PASTE]
    # Of 24 orders of 4 responses by chance: 1 in 24.
    assert [item.sign for item in advice(counters(ordered__4=60, as_shown__4=14))] == [Sign.AS_SHOWN]
    assert advice(counters(ordered__4=60, as_shown__4=5)) == []
    assert advice(counters(ordered__2=60, as_shown__2=34)) == []
    assert [item.sign for item in advice(counters(rated=20, same_ratings=18))] == [Sign.SAME_RATINGS]
    assert Sign.HASTE.label == "Judges faster than the responses can be read"


def read_csv(rows: Iterator[list[Any]]) -> list[list[str]]:
    text = "".join(csv_lines(rows))
    assert text[0] == "\ufeff"
    return list(csv.reader(text[1:].splitlines()))


def test_hours_and_counts_by_day_and_month(half_a_year: Cast) -> None:
    cast = half_a_year
    period = Period(date(2026, 6, 2), TODAY)
    header, *rows = read_csv(payment_rows(cast.project, period, by_name=True))
    assert header[:4] == ["labeler", "start", "kind", "judgments"]
    assert [row[:4] for row in rows[:3]] == [
        ["labeler", "2026-06-15", "compare", "1"],
        ["second_labeler", "2026-06-15", "compare", "1"],
        ["labeler", "2026-07-01", "compare", "1"],
    ]
    assert rows[0][6:] == ["1", "0.0028", "0", "0.0"]
    _, *months = read_csv(payment_rows(cast.project, period, grain="month", by_name=True))
    assert [(row[0], row[1], row[3]) for row in months] == [
        ("labeler", "2026-06-01", "1"),
        ("second_labeler", "2026-06-01", "1"),
        ("labeler", "2026-07-01", "2"),
        ("second_labeler", "2026-07-01", "2"),
    ]
    _, *hidden = read_csv(payment_rows(cast.project, period, by_name=False))
    assert hidden[0][0] in {cast.project.pseudonym(cast.labeler.pk), cast.project.pseudonym(cast.second_labeler.pk)}


@pytest.mark.parametrize(
    ("text", "cell"), [("=1+1", "'=1+1"), ("+44", "'+44"), ("-Mara", "'-Mara"), ("@you", "'@you"), ("Mara", "Mara")]
)
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    assert safe_cell(text) == cell


def test_a_period_knows_its_days() -> None:
    assert Period.last_days(7) == Period(TODAY - timedelta(days=6), TODAY)
    assert Period(date(2026, 1, 31), date(2026, 3, 1)).days == 30
