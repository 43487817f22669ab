"""Gold rewards: they stand for the people whose taste a reward model learns, and say what it really came to.

`positivity` is what anybody would guess from a few responses: words that sound positive. `hidden` nobody would: a
reward model trained on real preferences, whose judgments alone the others see (Gao et al. 2022, 2210.10760, section 2).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from benchmarks.gold_reward import stages
from benchmarks.gold_reward.stages import Row

Scores = list[list[float]]
"""One number for each response of each row."""


class Gold(Protocol):
    @property
    def name(self) -> str: ...

    def scores(self, rows: Sequence[Row]) -> Scores:
        """Of the responses of rows that have {"id", "prompt", "responses": [{"text"}]}."""
        ...


class Positivity:
    name = "positivity"

    def scores(self, rows: Sequence[Row]) -> Scores:
        texts = [[response["text"] for response in row["responses"]] for row in rows]
        return [positivity([row] * len(own), own) for row, own in zip(rows, texts, strict=True)]


class Hidden:
    """A reward model that is trained here, on the first rows of a file of pairs or rankings, before it is asked."""

    name = "hidden"

    def __init__(self, pairs: Path, *, rows: int, model: str, folder: Path, settings: Mapping[str, Any]) -> None:
        self.pairs, self.rows, self.model = pairs, rows, model
        self.folder, self.settings = folder, settings

    def scores(self, rows: Sequence[Row]) -> Scores:
        taught = stages.write_rows(self.folder / "pairs.jsonl", stages.read(self.pairs)[: self.rows or None])
        reward = self.folder / "model"
        stages.run("reward", out=reward, settings=self.settings, model=self.model, data=taught)
        # No two sets of responses share a file, and the same responses are never scored twice.
        place = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
        asked = stages.write_rows(self.folder / "asked" / f"{place}.jsonl", rows)
        out = self.folder / "asked" / f"{place}.scores"
        stages.run("score", out=out, settings={}, model=str(reward / "model"), data=asked)
        return [row["scores"] for row in stages.read(out)]


def positivity(rows: Sequence[Row], texts: Sequence[str]) -> list[float]:
    """VADER's compound score of each text, from -1 to 1 (Hutto and Gilbert 2014): a reward that `ppo` takes by name."""
    return [float(_analyser().polarity_scores(text)["compound"]) for text in texts]


@cache
def _analyser() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
