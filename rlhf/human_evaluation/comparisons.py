"""What judgments say of two versions: a comparison for each two responses of them that were ranked. Pure; no database.

A win counts 1, a tie one half, a loss 0. Where a labeler found all responses unacceptable and ranked none, all are
tied. Responses of the same text were shown as one, and are tied. All comparisons of one prompt and two versions weigh 1
together, so that each prompt counts the same however many responses and judgments it has.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from annotate.labeling.ordering import Ordering

Responses = Mapping[int, Sequence[int]]
"""{version: its response ids}"""
Pair = tuple[int, int]


class Comparison(NamedTuple):
    """Two responses of the same prompt, one of each version. score: of the first one, 1, 0.5 or 0."""

    prompt: int
    first: int
    second: int
    score: float
    weight: float
    first_length: int
    second_length: int


@dataclass(frozen=True, kw_only=True)
class JudgedPrompt:
    """A prompt of an evaluation. orders: the judgments; is_complete: there are as many as it wants.

    lengths: {response id: its characters}. use_case, language: of the prompt.
    """

    prompt: int
    responses: Responses
    orders: Sequence["Order"]
    is_complete: bool
    lengths: Mapping[int, int]
    use_case: str = ""
    language: str = ""


@dataclass(frozen=True)
class Order:
    """A judgment: the ordering of the responses, and whether all were found unacceptable."""

    ordering: Ordering
    all_unacceptable: bool = False

    def score(self, first: int, second: int) -> float | None:
        """Of the first response against the second; None where the judgment doesn't say."""
        if first == second:
            return 0.5
        ranks = self.ordering.ranks()
        if first in ranks and second in ranks:
            return 0.5 + ((ranks[second] > ranks[first]) - (ranks[second] < ranks[first])) / 2
        return 0.5 if self.all_unacceptable and not ranks else None


SAME_TEXT = Order(Ordering(()))
"""Stands for the judgment of a prompt to which all versions gave the same text."""


def of_prompt(judged: JudgedPrompt) -> Iterator[Comparison]:
    """All comparisons of a prompt, versions in the order of their numbers."""
    for first, second in combinations(sorted(judged.responses), 2):
        found = list(_of_pair(judged, first, second))
        # First over the pairs of a judgment, then over judgments.
        judgments = sum(1 for scores in found if scores)
        for scores in found:
            for one, other, score in scores:
                weight = 1 / (judgments * len(scores))
                yield Comparison(
                    judged.prompt, first, second, score, weight, judged.lengths[one], judged.lengths[other]
                )


def _of_pair(judged: JudgedPrompt, first: int, second: int) -> Iterator[list[tuple[int, int, float]]]:
    """For each judgment (response, response, score of the first one)."""
    pairs = [(one, other) for one in judged.responses[first] for other in judged.responses[second]]
    for order in judged.orders:
        yield [(one, other, score) for one, other in pairs if (score := order.score(one, other)) is not None]


def prompt_scores(comparisons: Iterable[Comparison]) -> dict[Pair, dict[int, float]]:
    """{(first, second): {prompt: score of the first version, from 0 to 1}}, the mean of its comparisons."""
    found: dict[Pair, dict[int, float]] = {}
    for comparison in comparisons:
        scores = found.setdefault((comparison.first, comparison.second), {})
        scores[comparison.prompt] = scores.get(comparison.prompt, 0.0) + comparison.weight * comparison.score
    return found
