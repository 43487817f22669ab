"""Held-out judgments with what a reward model said of their responses, and all the pairs that they put in an order."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models_core.contract.records import Ranking

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One judgment. Of each of its responses, in order: the logit (None: too long to be read), the length in tokens
    (EOS included, 0 where it is too long), and of an ensemble the logits of its heads (empty: one head)."""

    ranking: Ranking
    logits: tuple[float | None, ...]
    lengths: tuple[int, ...]
    heads: tuple[tuple[float, ...], ...] = ()

    @property
    def known(self) -> list[int]:
        """Places of the responses that have both a rank and a logit."""
        ranked = zip(self.ranking.responses, self.logits, strict=True)
        return [
            place for place, (response, logit) in enumerate(ranked) if response.rank is not None and logit is not None
        ]


@dataclass(frozen=True)
class Pairs:
    """Every strictly ordered pair of every judgment, [P] each: which judgment, which responses, which prompt."""

    judgments: Sequence[Judged]
    judgment: Places
    better: Places
    worse: Places
    prompt: Places
    """Number of the pair's prompt: what is resampled, since the pairs of a prompt are not independent."""
    difference: Floats
    """Logit of the better response minus that of the worse."""
    longer: Floats
    """Tokens by which the better response is longer."""

    def __len__(self) -> int:
        return len(self.difference)

    @property
    def right(self) -> Floats:
        """1 where the model orders the pair as the judgment does, a half for equal logits: [P]."""
        return np.heaviside(self.difference, 0.5)

    def of(self, place: int) -> Judged:
        """The judgment of the pair at `place`."""
        return self.judgments[int(self.judgment[place])]


def pairs_of(judgments: Sequence[Judged]) -> Pairs:
    """All strictly ordered pairs. Tied, unranked and unread responses make none; nor do two of the same text."""
    prompts = prompt_numbers([judged.ranking for judged in judgments])
    rows: list[tuple[int, int, int, int, float, float]] = []
    for number, judged in enumerate(judgments):
        responses = judged.ranking.responses
        for better in judged.known:
            for worse in judged.known:
                if not _is_before(responses[better].rank, responses[worse].rank):
                    continue
                if responses[better].text == responses[worse].text:
                    continue
                above, below = judged.logits[better], judged.logits[worse]
                assert above is not None  # `known` has those with a logit
                assert below is not None
                longer = float(judged.lengths[better] - judged.lengths[worse])
                rows.append((number, better, worse, prompts[number], above - below, longer))
    judgment, better_of, worse_of, prompt = (np.array([row[i] for row in rows], dtype=np.int64) for i in range(4))
    difference, longer_by = (np.array([row[i] for row in rows], dtype=np.float64) for i in (4, 5))
    return Pairs(judgments, judgment, better_of, worse_of, prompt, difference, longer_by)


def _is_before(rank: int | None, other: int | None) -> bool:
    return rank is not None and other is not None and rank < other


def prompt_numbers(rankings: Sequence[Ranking]) -> list[int]:
    """A number for each ranking's prompt, the same for equal prompts."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(json.dumps(ranking.messages), len(numbers)) for ranking in rankings]


def comparison(ranking: Ranking) -> tuple[str, tuple[str, ...]]:
    """What was judged, whoever judged it: the prompt and its responses, in whatever order they stand."""
    return json.dumps(ranking.messages), tuple(sorted(response.text for response in ranking.responses))


def distinct(judgments: Sequence[Judged]) -> list[Judged]:
    """One judgment of each comparison: for measures of the responses alone, which several people judged."""
    return list({comparison(judged.ranking): judged for judged in judgments}.values())
