"""Rows of sums: what folding adds to them and takes out of them, and how they are written."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from annotate.data.pacing import Pace
from annotate.models import MeasureSums, Project
from annotate.quality.measures.contributions import Contribution, Key, sums_of


class Change:
    """What is to be added to rows of sums; numbers may be negative."""

    def __init__(self) -> None:
        self._added: dict[Key, Counter[str]] = {}

    def add(self, contribution: Contribution) -> None:
        for key, counters in sums_of(contribution):
            row = self._added.setdefault(key, Counter())
            for name, count in counters.items():
                row[name] += count

    def subtract(self, contribution: Contribution) -> None:
        for key, counters in sums_of(contribution):
            row = self._added.setdefault(key, Counter())
            for name, count in counters.items():
                row[name] -= count

    def rows(self, project: Project, *, generation: int) -> list[MeasureSums]:
        """The rows as they shall be, with their primary keys where they are there already.

        Only the holder of the project's lease changes rows, so they can be read before the transaction.
        """
        added = {key: counters for key, counters in self._added.items() if any(counters.values())}
        found = _stored(project, generation=generation, keys=list(added))
        rows = []
        for key, counters in added.items():
            row = found.get(key) or MeasureSums(
                project=project, generation=generation, **dict(zip(_COLUMNS, key, strict=True))
            )
            total = Counter(row.sums)
            total.update(counters)
            row.sums = {name: count for name, count in sorted(total.items()) if count}
            row.judgments = row.sums.get("judgments", 0)
            row.milliseconds = row.sums.get("milliseconds", 0)
            rows.append(row)
        return rows


_COLUMNS = ("cut", "grain", "start", "labeler_id", "kind", "use_case", "language")


def write(rows: list[MeasureSums]) -> None:
    """Insert or overwrite them; what has become empty is deleted."""
    known = [row for row in rows if not row._state.adding]
    if empty := [row.pk for row in known if not row.sums]:
        MeasureSums.objects.filter(pk__in=empty).delete()
    MeasureSums.objects.bulk_create([row for row in rows if row._state.adding and row.sums])
    MeasureSums.objects.bulk_create(
        [row for row in known if row.sums],
        update_conflicts=True,
        unique_fields=["pk"],
        update_fields=["judgments", "milliseconds", "sums"],
    )


def remove_but(project: Project, *, generation: int, renew: Callable[[], Any]) -> None:
    """Delete the rows of every other generation, in short transactions."""
    keys = MeasureSums.objects.filter(project=project).exclude(generation=generation).values_list("pk", flat=True)
    pace = Pace(largest=500)
    for batch in pace.batches(list(keys)):
        with pace.transaction():
            renew()
            MeasureSums.objects.filter(pk__in=batch).delete()


def _stored(project: Project, *, generation: int, keys: list[Key]) -> dict[Key, MeasureSums]:
    """The rows of these keys that are there."""
    found: dict[Key, MeasureSums] = {}
    wanted = set(keys)
    groups: dict[tuple[Any, ...], None] = dict.fromkeys((cut, grain, start) for cut, grain, start, *_ in keys)
    for cut, grain, start in groups:
        of_group = {key for key in wanted if key[:3] == (cut, grain, start)}
        rows = MeasureSums.objects.filter(project=project, generation=generation, cut=cut, grain=grain, start=start)
        if labelers := {key[3] for key in of_group if key[3] is not None}:
            rows = rows.filter(labeler__in=labelers)
        for row in rows:
            key = (row.cut, row.grain, row.start, row.labeler_id, row.kind, row.use_case, row.language)
            if key in wanted:
                found[key] = row
    return found
