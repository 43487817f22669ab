"""Rows of sums: what folding adds to them and takes out of them, and how they are written."""

from collections.abc import Callable, Mapping
from typing import Any

from annotate.data.pacing import Pace
from annotate.models import MeasureSums, Project
from annotate.quality.measures.contributions import Contribution, Key, sums_of
from annotate.quality.measures.row_writes import RowWrite

MOST_KEPT = 4_000
"""Rows that are kept in memory from one batch to the next."""
_COLUMNS = ("cut", "grain", "start", "labeler_id", "kind", "use_case", "language")
_VALUES = ("judgments", "milliseconds", "sums")
_WRITES = {
    of_labeler: RowWrite(
        MeasureSums,
        key=("project_id", "generation", *(name for name in _COLUMNS if of_labeler or name != "labeler_id")),
        values=_VALUES if of_labeler else (*_VALUES, "labeler_id"),
        condition=f"labeler_id IS {'NOT ' if of_labeler else ''}NULL",
    )
    for of_labeler in (True, False)
}
"""The conditions are those of the table's two unique constraints."""


class Change:
    """What is to be added to rows of sums; numbers may be negative."""

    def __init__(self) -> None:
        self.added: dict[Key, dict[str, int]] = {}

    def add(self, contribution: Contribution) -> None:
        for key, counters in sums_of(contribution):
            if (row := self.added.get(key)) is None:
                self.added[key] = dict(counters)
                continue
            for name, count in counters.items():
                row[name] = row.get(name, 0) + count

    def subtract(self, contribution: Contribution) -> None:
        for key, counters in sums_of(contribution):
            row = self.added.setdefault(key, {})
            for name, count in counters.items():
                row[name] = row.get(name, 0) - count


class SumRows:
    """The rows of one generation, as the holder of the project's lease changes them: nobody else does.

    Rows of the last batches are kept in memory, because the next one changes most of them again.
    """

    def __init__(self, project: Project, *, generation: int) -> None:
        self.project, self.generation = project, generation
        self._kept: dict[Key, dict[str, int]] = {}

    def prepare(self, change: Change) -> Callable[[], None]:
        """Read the rows that change, and say how to write them. Whoever calls must write them, or forget this object.

        What is returned inserts or overwrites them, and deletes those that have become empty.
        """
        added = {key: counters for key, counters in change.added.items() if any(counters.values())}
        if len(self._kept) > MOST_KEPT:
            self._kept = {key: sums for key, sums in self._kept.items() if key in added}
        self._read([key for key in added if key not in self._kept])
        filled: dict[bool, list[Any]] = {True: [], False: []}
        empty: dict[bool, list[Any]] = {True: [], False: []}
        for key, counters in added.items():
            total = self._kept.setdefault(key, {})
            for name, count in counters.items():
                if now := total.get(name, 0) + count:
                    total[name] = now
                else:
                    total.pop(name, None)
            (filled if total else empty)[key[3] is not None].append(self._row(key, total))
        writes = [write.upserts(filled[of_labeler]) for of_labeler, write in _WRITES.items()]
        writes += [write.deletes(empty[of_labeler]) for of_labeler, write in _WRITES.items()]

        def write() -> None:
            for one in writes:
                one()

        return write

    def _row(self, key: Key, sums: Mapping[str, int]) -> dict[str, Any]:
        return {
            "project_id": self.project.pk,
            "generation": self.generation,
            **dict(zip(_COLUMNS, key, strict=True)),
            "judgments": sums.get("judgments", 0),
            "milliseconds": sums.get("milliseconds", 0),
            "sums": sums,
        }

    def _read(self, keys: list[Key]) -> None:
        """Keep the rows of these keys that are there."""
        groups: dict[tuple[Any, ...], list[Key]] = {}
        for key in keys:
            groups.setdefault(key[:3], []).append(key)
        for (cut, grain, start), of_group in groups.items():
            rows = MeasureSums.objects.filter(project=self.project, generation=self.generation)
            rows = rows.filter(cut=cut, grain=grain, start=start)
            # Whether there are labelers leads to the constraint's index; none has them with others that have not.
            labelers = {key[3] for key in of_group}
            rows = rows.filter(labeler=None) if None in labelers else rows.filter(labeler__in=labelers)
            wanted = set(of_group)
            for *found, sums in rows.order_by().values_list(*_COLUMNS, "sums"):
                if (key := tuple(found)) in wanted:
                    self._kept[key] = sums


def remove_but(project: Project, *, generation: int, renew: Callable[[], Any]) -> None:
    """Delete the rows of every other generation, in short transactions."""
    keys = MeasureSums.objects.filter(project=project).exclude(generation=generation).values_list("pk", flat=True)
    pace = Pace(largest=500)
    for batch in pace.batches(list(keys)):
        with pace.transaction():
            renew()
            MeasureSums.objects.filter(pk__in=batch).delete()
