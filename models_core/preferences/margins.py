"""How far apart the scores of a pair are wanted, where a setting asks for it: Touvron et al. 2023, equation 2."""

from statistics import fmean

from models_core.contract.records import RankedResponse, Ranking
from models_core.contract.settings import PreferenceSettings
from models_core.rl.losses import Pair


def with_margins(pairs: list[Pair], *, ranking: Ranking, settings: PreferenceSettings) -> list[Pair]:
    """The pairs of a ranking with their margins; ties have none.

    `row` takes the row's own margin. `ranks` takes the tiers that a pair is apart, in parts of all there are: the best
    and the worst are 1 apart. `ratings` takes the difference of the responses' ratings.
    """
    if settings.margin == "none":
        return pairs
    tiers = sorted({response.rank for response in ranking.responses if response.rank is not None})

    def margin(better: RankedResponse, worse: RankedResponse) -> float:
        if settings.margin == "row":
            return ranking.margin or 0.0
        if settings.margin == "ranks":
            assert better.rank is not None  # pairs are of ranked responses
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
    """The mean difference over the criteria that both are rated by, or else of their scores; 0 where there is neither.

    People who rank one way and rate the other way make it negative.
    """
    common = sorted(better.ratings.keys() & worse.ratings.keys())
    if common:
        return fmean(better.ratings[name] - worse.ratings[name] for name in common)
    if better.score is not None and worse.score is not None:
        return better.score - worse.score
    return 0.0
