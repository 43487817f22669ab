"""Rows, pairs and responses that are not trained on: counted by reason and named, so that they can be looked up."""

from collections import Counter

MAX_NAMED = 20
"""Rows named for one reason; all are counted."""


class SkippedRows:
    """Counts by reason, with the ids of the first rows of each reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows: dict[str, list[str]] = {}

    def add(self, reason: str, row: str, *, times: int = 1) -> None:
        if not times:
            return
        self.counts[reason] += times
        named = self.rows.setdefault(reason, [])
        if len(named) < MAX_NAMED and row not in named:
            named.append(row)

    def report(self) -> dict[str, dict[str, object]]:
        """{"reason": {"count": 3, "rows": ["id", ...]}}, the most frequent reason first."""
        return {reason: {"count": count, "rows": self.rows[reason]} for reason, count in self.counts.most_common()}

    def sentence(self) -> str:
        """Counts with their reasons: "3 all tied, 1 equal responses"."""
        return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in self.counts.most_common())
