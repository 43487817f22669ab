"""Margins of pairs in the ranking loss (Touvron et al. 2023, Llama 2, equation 2)."""

from statistics import fmean

from models_core.contract.rows.records import RankedResponse, Ranking
from models_core.contract.settings import PreferenceSettings
from models_core.preferences.ranking_loss import Pair


def with_margins(pairs: list[Pair], *, ranking: Ranking, settings: PreferenceSettings) -> list[Pair]:
    """The pairs of a ranking with their margins; ties have none.

    margin=row: the row's own margin. ranks: distance in tiers as a share of all tiers, 1 between the best and the
    worst. ratings: the difference of the responses' ratings.
    """
    if settings.margin == "none":
        return pairs
    tiers = sorted({response.rank for response in ranking.responses if response.rank is not None})

    def margin(better: RankedResponse, worse: RankedResponse) -> float:
        if settings.margin == "row":
            return ranking.margin or 0.0
        if settings.margin == "ranks":
            assert better.rank is not None  # only ranked responses are in pairs
            assert worse.rank is not None
            return (tiers.index(worse.rank) - tiers.index(better.rank)) / (len(tiers) - 1)
        return max(rating_difference(better, worse), 0.0)

    responses = ranking.responses
    return [
        pair
        if pair.target != 1.0
        else pair._replace(margin=settings.margin_scale * margin(responses[pair.better], responses[pair.worse]))
        for pair in pairs
    ]


def rating_difference(better: RankedResponse, worse: RankedResponse) -> float:
    """Mean difference over the criteria that both are rated on, else the difference of their scores, else 0.

    Negative where a labeler's ratings contradict the ranking.
    """
    common = sorted(better.ratings.keys() & worse.ratings.keys())
    if common:
        return fmean(better.ratings[name] - worse.ratings[name] for name in common)
    if better.score is not None and worse.score is not None:
        return better.score - worse.score
    return 0.0
