"""Charts of one measure over days or months, for annotate/period_chart.html and static/hone/period_charts.js."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.utils import formats

from annotate.quality.intervals import Share
from annotate.rendering.shown_numbers import percent


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a chart: its numbers as scripts read them, empty without data, and as people do."""

    start: date
    value: str
    text: str
    low: str = ""
    high: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A measure over the period. form: "line" or "bars"; unit: "%" of shares."""

    name: str
    label: str
    form: str
    unit: str
    points: list[Point]


def counted_chart(name: str, label: str, values: Sequence[tuple[date, int]]) -> Chart:
    points = [Point(start=start, value=str(value), text=formats.localize(value)) for start, value in values]
    return Chart(name=name, label=label, form="bars", unit="", points=points)


def share_chart(name: str, label: str, values: Sequence[tuple[date, Share]]) -> Chart:
    points = [
        Point(
            start=start,
            value=_number(share.rate),
            low=_number(share.low),
            high=_number(share.high),
            text="–" if share.rate is None else f"{percent(share.rate)} ({percent(share.low)}–{percent(share.high)})",
        )
        for start, share in values
    ]
    return Chart(name=name, label=label, form="line", unit="%", points=points)


def seconds_chart(name: str, label: str, values: Sequence[tuple[date, float | None]]) -> Chart:
    points = [
        Point(start=start, value=_number(value), text="–" if value is None else formats.number_format(value, 0))
        for start, value in values
    ]
    return Chart(name=name, label=label, form="line", unit="", points=points)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
