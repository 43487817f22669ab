"""Several judgments of the same texts made one: each pair of texts goes the way that most weight went."""

from collections.abc import Sequence
from dataclasses import dataclass

from models_core.rl.losses import Pair, Ties

Ballot = tuple[Sequence[str], Sequence[Pair], float]
"""Texts, pairs as places in them, and what the judgment counts."""


@dataclass
class _Votes:
    """Weight for each way that a pair may go, and for each way the sum of margins times weight."""

    first: float = 0.0
    second: float = 0.0
    tied: float = 0.0
    first_margin: float = 0.0
    second_margin: float = 0.0

    def add(self, pair: Pair, *, is_first: bool, weight: float) -> None:
        if pair.target != 1.0:
            self.tied += weight
        elif is_first:
            self.first += weight
            self.first_margin += weight * pair.margin
        else:
            self.second += weight
            self.second_margin += weight * pair.margin


def majority(ballots: Sequence[Ballot], *, ties: Ties) -> list[Pair]:
    """The pairs of the first ballot's texts by weighted majority, with the mean margin of those who won.

    A tie is a third way to vote, where ties are judgments at all (`ties` = "soft"). Ways with equal weight, or most
    weight for a tie, make a tie. Majorities of pairs need not form an order (Condorcet); the loss takes pairs.
    """
    texts = ballots[0][0]
    place_of = {text: place for place, text in reversed(list(enumerate(texts)))}
    votes: dict[tuple[int, int], _Votes] = {}
    for own_texts, pairs, weight in ballots:
        for pair in pairs:
            better, worse = place_of[own_texts[pair.better]], place_of[own_texts[pair.worse]]
            first, second = sorted((better, worse))
            votes.setdefault((first, second), _Votes()).add(pair, is_first=better == first, weight=weight)
    made = []
    for (first, second), vote in sorted(votes.items()):
        if vote.first > max(vote.second, vote.tied):
            made.append(Pair(first, second, 1.0, vote.first_margin / vote.first))
        elif vote.second > max(vote.first, vote.tied):
            made.append(Pair(second, first, 1.0, vote.second_margin / vote.second))
        elif ties == "soft":
            made.append(Pair(first, second, 0.5))
    return made
