"""Majority vote: several judgments of the same texts as one, pair by pair."""

from collections.abc import Sequence
from dataclasses import dataclass

from models_core.preferences.ranking_loss import Pair, Ties

Ballot = tuple[Sequence[str], Sequence[Pair], float]
"""(texts, pairs as indices into them, weight) of one judgment."""


@dataclass
class _Votes:
    """Total weight of each outcome of a pair, and for each the weighted sum of margins."""

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


def majority_vote(ballots: Sequence[Ballot], *, ties: Ties) -> list[Pair]:
    """Pairs of the first ballot's texts by weighted majority, with the mean margin of the winning side.

    A tie is a third outcome where ties are used (`ties` = "soft"). Equal weights, or most weight for a tie, make a tie.
    Pairwise majorities need not form an order (Condorcet), and the loss needs none.
    """
    texts = ballots[0][0]
    index_of = {text: index for index, text in reversed(list(enumerate(texts)))}
    votes: dict[tuple[int, int], _Votes] = {}
    for ballot_texts, pairs, weight in ballots:
        for pair in pairs:
            better, worse = index_of[ballot_texts[pair.better]], index_of[ballot_texts[pair.worse]]
            first, second = sorted((better, worse))
            votes.setdefault((first, second), _Votes()).add(pair, is_first=better == first, weight=weight)
    winners = []
    for (first, second), vote in sorted(votes.items()):
        if vote.first > max(vote.second, vote.tied):
            winners.append(Pair(first, second, 1.0, vote.first_margin / vote.first))
        elif vote.second > max(vote.first, vote.tied):
            winners.append(Pair(second, first, 1.0, vote.second_margin / vote.second))
        elif ties == "soft":
            winners.append(Pair(first, second, 0.5))
    return winners
