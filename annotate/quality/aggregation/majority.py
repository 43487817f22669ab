"""Pairwise majority, and Copeland's order of its outcomes. Pure; no database."""

from annotate.quality.aggregation.votes import Consensus, Judgments, counted_consensus, pair_votes, tiers_by_score


def consensus(judgments: Judgments) -> Consensus:
    """Order by Copeland's score: pairs won by majority minus pairs lost (Copeland 1951).

        score(i) = sum over j of sign of the majority between i and j

    A tie is an outcome of its own; equal votes, or most votes for a tie, count 0. Majorities may go in a circle
    (Condorcet): the responses of a circle have equal scores, and share a tier.
    """
    votes = pair_votes(judgments.values())
    scores: dict[int, float] = {}
    for (first, second), pair in votes.items():
        scores[first] = scores.get(first, 0) + pair.majority
        scores[second] = scores.get(second, 0) - pair.majority
    return counted_consensus(tiers_by_score(scores), votes)
