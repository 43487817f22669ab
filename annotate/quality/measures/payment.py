"""Hours and counts by labeler and period, for whoever pays: one row a labeler, kind of task and day or month."""

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


def payment_rows(project: Project, period: Period, *, grain: str = Grain.DAY, by_name: bool) -> Iterator[list[Any]]:
    """The table with its head. by_name: labelers by their names, for those who manage them; else by their pseudonyms.

    Imported judgments are left out: nobody gave them here.
    """
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
