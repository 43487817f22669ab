"""The rows of the comparison: which are trained on, which are held out, and what being right about them means."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_core.contract.rows import row_parser
from models_core.contract.rows.prompt_identity import hold_out
from models_core.contract.rows.records import Ranking

HELD_OUT = 0.2
"""Part of the prompts that no model learns from."""
VALIDATION = 0.2
"""Part of the prompts that are held out instead while a recipe is being chosen."""

RESAMPLES = 2000


@dataclass(frozen=True)
class Split:
    """Rankings by disjoint prompts, and of each training ranking one pair, for a trainer that knows pairs alone."""

    name: str
    training: list[Ranking]
    pairs: list[dict[str, Any]]  # {prompt, chosen, rejected}
    held_out: list[Ranking]

    @property
    def digest(self) -> str:
        """Changes with any text or rank on either side: a result belongs to one digest."""
        written = json.dumps([[plain(row) for row in self.training], self.pairs, [plain(row) for row in self.held_out]])
        return hashlib.sha256(written.encode()).hexdigest()[:12]


def split(path: Path, *, rows: int, choosing: bool = False) -> Split:
    """A file's rankings that have an order, `rows` of them to train on (0 all); the same ones every time.

    While `choosing` a recipe, other prompts are held out, and what the comparison holds out is not seen at all.
    """
    usable = [ranking for ranking in row_parser.read(path, "rankings") if strict_pairs(ranking)]
    training, held_out = hold_out(usable, fraction=HELD_OUT)
    if not held_out:
        raise SystemExit(f"{path.name} has too few prompts to hold some out.")
    if choosing:
        # A prompt's place is its hash: beyond the part held out lies the next.
        training, held_out = hold_out(training, fraction=HELD_OUT + VALIDATION)
    draw = random.Random(0)
    draw.shuffle(training)
    training = training[: rows or None]
    pairs = []
    for ranking in training:
        better, worse = draw.choice(strict_pairs(ranking))
        texts = [response.text for response in ranking.responses]
        pairs.append({"prompt": list(ranking.messages), "chosen": texts[better], "rejected": texts[worse]})
    return Split(name_of(path, choosing=choosing), training, pairs, held_out)


def name_of(path: Path, *, choosing: bool) -> str:
    return f"{path.stem} (validation)" if choosing else path.stem


def strict_pairs(ranking: Ranking) -> list[tuple[int, int]]:
    """(better, worse), as places among the responses, of every two that are not tied."""
    ranks = [response.rank for response in ranking.responses]
    return [
        (better, worse)
        for better, high in enumerate(ranks)
        for worse, low in enumerate(ranks)
        if high is not None and low is not None and high < low
    ]


def plain(ranking: Ranking) -> dict[str, Any]:
    """A ranking as a line of a file that `models_core reward` and `score` read."""
    return {
        "id": ranking.id,
        "prompt": list(ranking.messages),
        "responses": [{"text": response.text, "rank": response.rank} for response in ranking.responses],
    }


def right(held_out: Sequence[Ranking], scores: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """A row (pairs in the right order, pairs) for each held-out ranking; equal scores are half right. [rankings, 2]"""
    counts = []
    for ranking, own in zip(held_out, scores, strict=True):
        differences = [own[better] - own[worse] for better, worse in strict_pairs(ranking)]
        counts.append((sum((d > 0) + 0.5 * (d == 0) for d in differences), len(differences)))
    return np.array(counts, dtype=np.float64)


def interval(held_out: Sequence[Ranking], counts: NDArray[np.float64]) -> tuple[float, float]:
    """95% percentile interval of sum(right) / sum(pairs) under resampling of prompts, by a fixed seed.

    `counts` are those of `right`, or their mean over seeds, or a difference of two models' right pairs with the same
    pairs. All judgments of a prompt stay together: they share its responses and are not independent.
    """
    prompts = [json.dumps(ranking.messages, sort_keys=True) for ranking in held_out]
    place = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    by_prompt = np.zeros((len(place), 2))
    np.add.at(by_prompt, [place[prompt] for prompt in prompts], counts)
    drawn = np.random.default_rng(0).integers(len(place), size=(RESAMPLES, len(place)))
    sums = by_prompt[drawn].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    return float(low), float(high)
