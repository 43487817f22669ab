"""Held-out judgments with a reward model's logits, and the pairs that they order strictly."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models_core.contract.rows.records import Ranking

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ScoredJudgment:
    """One judgment with, for each of its responses in order: the logit (None where it is too long for the model), the
    length in tokens (with EOS; 0 where it is too long), and an ensemble's logits by head (empty for one head).
    """

    ranking: Ranking
    logits: tuple[float | None, ...]
    lengths: tuple[int, ...]
    heads: tuple[tuple[float, ...], ...] = ()

    @property
    def scored_indices(self) -> list[int]:
        """Indices of the responses that have both a rank and a logit."""
        ranked = zip(self.ranking.responses, self.logits, strict=True)
        return [
            index for index, (response, logit) in enumerate(ranked) if response.rank is not None and logit is not None
        ]


@dataclass(frozen=True)
class Pairs:
    """Every strictly ordered pair of every judgment: (pairs,) each."""

    judgments: Sequence[ScoredJudgment]
    judgment: Indices  # into `judgments`
    better: Indices  # into the judgment's responses
    worse: Indices
    prompt: Indices  # the unit of resampling, since the pairs of a prompt are not independent
    difference: Floats  # logit of the better response minus that of the worse
    longer: Floats  # tokens by which the better response is longer

    def __len__(self) -> int:
        return len(self.difference)

    @property
    def correct(self) -> Floats:
        """1 where the model orders the pair as the judgment does, 0.5 for equal logits: (pairs,)."""
        return np.heaviside(self.difference, 0.5)

    def judgment_of(self, index: int) -> ScoredJudgment:
        """The judgment of the pair at `index`."""
        return self.judgments[int(self.judgment[index])]


def ordered_pairs(judgments: Sequence[ScoredJudgment]) -> Pairs:
    """All strictly ordered pairs, without tied, unranked and unscored responses, and without pairs of equal texts."""
    prompts = prompt_numbers([judgment.ranking for judgment in judgments])
    rows: list[tuple[int, int, int, int, float, float]] = []
    for number, judgment in enumerate(judgments):
        responses = judgment.ranking.responses
        for better in judgment.scored_indices:
            for worse in judgment.scored_indices:
                if not _is_before(responses[better].rank, responses[worse].rank):
                    continue
                if responses[better].text == responses[worse].text:
                    continue
                better_logit, worse_logit = judgment.logits[better], judgment.logits[worse]
                assert better_logit is not None  # `scored_indices` have logits
                assert worse_logit is not None
                longer = float(judgment.lengths[better] - judgment.lengths[worse])
                rows.append((number, better, worse, prompts[number], better_logit - worse_logit, longer))
    numbers, betters, worses, pair_prompts = (np.array([row[i] for row in rows], dtype=np.int64) for i in range(4))
    differences, longers = (np.array([row[i] for row in rows], dtype=np.float64) for i in (4, 5))
    return Pairs(judgments, numbers, betters, worses, pair_prompts, differences, longers)


def _is_before(rank: int | None, other: int | None) -> bool:
    return rank is not None and other is not None and rank < other


def prompt_numbers(rankings: Sequence[Ranking]) -> list[int]:
    """A number for each ranking's prompt, equal for equal prompts."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(json.dumps(ranking.messages), len(numbers)) for ranking in rankings]


def comparison_key(ranking: Ranking) -> tuple[str, tuple[str, ...]]:
    """What was judged, whoever judged it: the prompt and the set of responses."""
    return json.dumps(ranking.messages), tuple(sorted(response.text for response in ranking.responses))


def distinct_comparisons(judgments: Sequence[ScoredJudgment]) -> list[ScoredJudgment]:
    """One judgment of each comparison: for metrics of the responses alone, which several labelers judged."""
    return list({comparison_key(judgment.ranking): judgment for judgment in judgments}.values())
