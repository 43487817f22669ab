"""What of the data could not teach: counted by reason, and named, so that it can be looked at and mended."""

from collections import Counter

NAMED = 20
"""Rows that are named for a reason; the count goes on."""


class LeftOut:
    """A tally of rows, pairs and responses by reason, with the ids of the first rows each reason was met in."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows: dict[str, list[str]] = {}

    def add(self, reason: str, row: str, *, times: int = 1) -> None:
        if not times:
            return
        self.counts[reason] += times
        named = self.rows.setdefault(reason, [])
        if len(named) < NAMED and row not in named:
            named.append(row)

    def report(self) -> dict[str, dict[str, object]]:
        """{"reason": {"count": 3, "rows": ["id", ...]}}, the most frequent first."""
        return {reason: {"count": count, "rows": self.rows[reason]} for reason, count in self.counts.most_common()}

    def sentence(self) -> str:
        """Counts with their reasons, to be read: "3 all tied, 1 equal responses"."""
        return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in self.counts.most_common())
