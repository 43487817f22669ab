"""Borda's count, with ties and partial rankings. Pure; no database."""

from annotate.quality.aggregation.votes import Consensus, Judgments, counted_consensus, pair_votes, tiers_by_score


def consensus(judgments: Judgments) -> Consensus:
    """Order by the mean of Borda's points over the labelers who ranked a response (Borda 1781).

        points(i) = (responses below i + half of those tied with i) / (ranked responses - 1)

    Points lie between 0 and 1, so that a ranking of few responses counts as much as one of many.
    """
    points: dict[int, list[float]] = {}
    for ordering in judgments.values():
        below = len(ordering)
        if below < 2:
            continue
        for tier in ordering.tiers:
            below -= len(tier)
            for response_id in tier:
                points.setdefault(response_id, []).append((below + (len(tier) - 1) / 2) / (len(ordering) - 1))
    means = {response_id: sum(given) / len(given) for response_id, given in points.items()}
    return counted_consensus(tiers_by_score(means), pair_votes(judgments.values()))
