"""What a snapshot is made of, counted while its rows are written, for its data card."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

MOST_NAMES = 1_000
SHOWN = 12


@dataclass(kw_only=True)
class Statistics:
    """Counts over records. Of names that are too many the rarest of the moment aren't counted any more."""

    by: dict[str, Counter[str]] = field(
        default_factory=lambda: {
            name: Counter() for name in ("lang", "use_case", "source", "judge", "labeler", "model")
        }
    )
    records: int = 0
    responses: int = 0
    pairs: int = 0
    longer_preferred: int = 0
    equally_long: int = 0
    rubrics: Counter[int] = field(default_factory=Counter)

    def add(self, row: dict[str, Any]) -> None:
        self.records += 1
        for key in ("lang", "use_case", "source", "judge", "labeler"):
            if value := row.get(key):
                self._count(key, str(value))
        if "rubric" in row:
            self.rubrics[row["rubric"]] += 1
        responses = row.get("responses", [])
        self.responses += len(responses)
        for response in responses:
            self._count("model", response.get("model") or response.get("author_kind") or "unknown")
        if "response" in row:
            self._count("model", row.get("author", "") if row.get("author_kind") == "model" else "person or unknown")
        ranked = sorted((item["rank"], len(item["text"])) for item in responses if item["rank"] is not None)
        for (rank, length), (other_rank, other_length) in combinations(ranked, 2):
            if rank < other_rank:
                self.pairs += 1
                self.longer_preferred += length > other_length
                self.equally_long += length == other_length

    def _count(self, key: str, name: str) -> None:
        counts = self.by[key]
        if name in counts or len(counts) < MOST_NAMES:
            counts[name] += 1

    def lines(self) -> list[str]:
        """Markdown items for the card."""
        named = (
            ("Languages", "lang"),
            ("Use cases", "use_case"),
            ("Sources", "source"),
            ("Written by", "model"),
            ("Judged by", "judge"),
        )
        lines = [f"- **{title}**: {_listed(self.by[key])}" for title, key in named if self.by[key]]
        if labelers := self.by["labeler"]:
            most = max(labelers.values()) / labelers.total()
            lines.append(f"- **Labelers**: {len(labelers):,}; the busiest gave {most:.1%} of the records.")
        if self.rubrics:
            versions = ", ".join(f"{version} ({count:,})" for version, count in sorted(self.rubrics.items()))
            lines.append(f"- **Versions of the rubric** (records): {versions}")
        return lines

    def biases(self) -> list[str]:
        """Of the data themselves; whoever trains on them inherits these."""
        if not self.pairs:
            return []
        compared = self.pairs - self.equally_long
        share = self.longer_preferred / compared if compared else 0.5
        return [f"- In {share:.1%} of {compared:,} pairs of unequal length the longer response was preferred."]


def _listed(counts: Counter[str]) -> str:
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    named = ", ".join(f"{name} {count:,}" for name, count in shown)
    return named + (f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else "")
