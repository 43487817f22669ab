"""Hours and counts by labeler and period as CSV, for whoever pays: one row a labeler, kind of task and day or month."""

import csv
from collections.abc import Iterator
from datetime import date
from typing import Any

from annotate.data.pseudonyms import labeler_name
from annotate.models import MeasureSums, Project, User
from annotate.quality.measures.report import Period, PeriodReport

COLUMNS = (
    "labeler",
    "start",
    "kind",
    "judgments",
    "beyond_overlap",
    "revised",
    "timed_judgments",
    "hours",
    "left_out",
    "hours_left_out",
)
Grain = MeasureSums.Grain
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell may not begin with, or a spreadsheet computes it."""
BYTE_ORDER_MARK = "\ufeff"
"""Spreadsheets take a file without it for another encoding than UTF-8."""


def safe_cell(text: str) -> str:
    """The text so that no spreadsheet computes it: one that looks like a formula gets an apostrophe before it."""
    return f"'{text}" if text.startswith(FORMULA) else text


def lines(rows: "Iterator[list[Any]]") -> Iterator[str]:
    """CSV, line by line; texts are made safe, numbers stay numbers."""
    writer = csv.writer(_Echo())
    yield BYTE_ORDER_MARK
    for row in rows:
        line: str = writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in row])
        yield line


def payment_lines(project: Project, period: Period, *, grain: str = Grain.DAY, by_name: bool) -> Iterator[str]:
    """The file, streamed. by_name: labelers by their names, for those who manage them; else by their pseudonyms.

    Imported judgments are left out: nobody gave them here.
    """
    return lines(_rows(project, period, grain=grain, by_name=by_name))


def _rows(project: Project, period: Period, *, grain: str, by_name: bool) -> Iterator[list[Any]]:
    yield list(COLUMNS)
    names: dict[int, str] = {}
    for start, of_start in _by_start(project, period, grain=grain):
        for user in User.objects.filter(pk__in={labeler for labeler, _ in of_start} - names.keys()):
            names[user.pk] = user.display_name if by_name else labeler_name(user, project)
        for (labeler, kind), counts in sorted(of_start.items(), key=lambda item: (names[item[0][0]], item[0][1])):
            yield [
                names[labeler],
                start.isoformat(),
                kind,
                counts["judgments"],
                counts["surplus"],
                counts["revised"],
                counts["timed"],
                round(counts["milliseconds"] / 3_600_000, 4),
                counts["left_out"],
                round(counts["left_out_milliseconds"] / 3_600_000, 4),
            ]


COUNTED = ("judgments", "surplus", "revised", "timed", "milliseconds", "left_out", "left_out_milliseconds")
Counts = dict[tuple[int, str], dict[str, int]]


def _by_start(project: Project, period: Period, *, grain: str) -> Iterator[tuple[date, Counts]]:
    """For each day, or month, what each labeler did of each kind; from days, so that no month counts beyond them."""
    rows = PeriodReport(project, period).labeler_days()
    current: date | None = None
    found: Counts = {}
    for start, labeler, kind, sums in rows:
        if sums.get("judgments", 0) == sums.get("imported", 0) and not sums.get("left_out"):
            continue
        unit = start.replace(day=1) if grain == Grain.MONTH else start
        if current is not None and unit != current:
            yield current, found
            found = {}
        current = unit
        counts = found.setdefault((labeler, kind), dict.fromkeys(COUNTED, 0))
        for name in COUNTED:
            counts[name] += sums.get(name, 0)
        counts["judgments"] -= sums.get("imported", 0)
    if current is not None:
        yield current, found


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text
