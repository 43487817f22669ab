"""Rankings as comparisons: which response is better than which, by what margin, and with what weight.

The steps for a file of rankings:

1. The same order of the same texts by the same judge counts once (`deduplicate`). Rows without a judge count as one
   judge's.
2. A ranking's weight is its row's times its labeler's (`labeler_weights`) times `ai_weight` for an AI judge.
3. Its pairs have targets (`ties`) and margins (`margin`). Equal texts form no pair.
4. Pairs that one judge ordered both ways are kept, skipped or refused (`contradictions`).
5. Judgments of the same texts each count, share the weight of one, or are reduced to a majority vote
   (`duplicate_judgments`).

Rows that form no pair are skipped, counted and named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from models_core.contract.errors import BadInput
from models_core.contract.rows.prompt_identity import digest
from models_core.contract.rows.records import Messages, Ranking
from models_core.contract.settings import PreferenceSettings
from models_core.preferences.contradictions import Contradictions, RankingPairs, judge_name
from models_core.preferences.judgment_weights import JudgmentWeights
from models_core.preferences.majority import majority_vote
from models_core.preferences.margins import with_margins
from models_core.preferences.ranking_loss import Pair, Ties, ranked_pairs
from models_core.preferences.skipped_rows import SkippedRows

UNUSABLE = {
    "fewer_than_two_ranked": "ranks fewer than two of its responses",
    "all_tied": "ranks all responses alike",
    "equal_responses": "orders no two responses that differ",
}
"""Why a ranking has no pair, as the predicate of a sentence about it."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An order of several texts: `pairs` are indices of `texts`, `rows` the rankings it comes from."""

    messages: Messages
    texts: tuple[str, ...]
    pairs: tuple[Pair, ...]
    weight: float
    rows: tuple[Ranking, ...]


@dataclass(frozen=True)
class ParsedComparisons:
    """The comparisons of a file's rankings, and the contradictions among the rankings."""

    comparisons: list[Comparison]
    contradictions: Contradictions


def build_comparisons(
    rankings: Sequence[Ranking], *, settings: PreferenceSettings, skipped: SkippedRows, combine: bool = True
) -> ParsedComparisons:
    """Comparisons in the order of their first rows. Without `combine` each ranking stays separate.

    Raises BadInput, which names the row, for what the settings refuse.
    """
    weights = JudgmentWeights(settings)
    usable: list[RankingPairs] = []
    seen: set[tuple[object, ...]] = set()
    for ranking in rankings:
        pairs = _pairs(ranking, settings=settings)
        identity = _identity(ranking)
        if weights.weight(ranking) == 0:
            skipped.add("weightless", ranking.id)
        elif settings.deduplicate and identity in seen:
            skipped.add("duplicates", ranking.id)
        elif not pairs:
            reason = _reason_without_pair(ranking)
            if settings.unusable_rows == "refuse":
                raise BadInput(f"The row {ranking.id!r} {UNUSABLE[reason]}.")
            skipped.add(reason, ranking.id)
        else:
            usable.append(RankingPairs(ranking, pairs))
            seen.add(identity)
    contradictions = Contradictions(usable)
    if settings.contradictions != "keep":
        usable = _without_contradictions(usable, contradictions, settings=settings, skipped=skipped)
    comparisons = [
        Comparison(
            messages=ranking.messages,
            texts=tuple(response.text for response in ranking.responses),
            pairs=tuple(pairs),
            weight=weights.weight(ranking),
            rows=(ranking,),
        )
        for ranking, pairs in usable
    ]
    if combine and settings.duplicate_judgments != "each":
        comparisons = _combined(comparisons, settings=settings, skipped=skipped)
    return ParsedComparisons(comparisons, contradictions)


def _ties(settings: PreferenceSettings) -> Ties:
    return "soft" if settings.ties == "soft" else "skip"


def _pairs(ranking: Ranking, *, settings: PreferenceSettings) -> list[Pair]:
    """The pairs of different texts."""
    responses = ranking.responses
    pairs = ranked_pairs([response.rank for response in responses], ties=_ties(settings))
    different = [pair for pair in pairs if responses[pair.better].text != responses[pair.worse].text]
    return with_margins(different, ranking=ranking, settings=settings)


def _reason_without_pair(ranking: Ranking) -> str:
    ranks = [response.rank for response in ranking.responses if response.rank is not None]
    if len(ranks) < 2:
        return "fewer_than_two_ranked"
    return "all_tied" if len(set(ranks)) == 1 else "equal_responses"


def _identity(ranking: Ranking) -> tuple[object, ...]:
    """Equal for rankings with the same judge, prompt, texts and order."""
    ranks = sorted({response.rank for response in ranking.responses if response.rank is not None})
    tiers = sorted(
        (-1 if response.rank is None else ranks.index(response.rank), response.text) for response in ranking.responses
    )
    return judge_name(ranking), ranking.is_by_machine, digest(ranking.messages), tuple(tiers)


def _without_contradictions(
    rankings: Sequence[RankingPairs],
    contradictions: Contradictions,
    *,
    settings: PreferenceSettings,
    skipped: SkippedRows,
) -> list[RankingPairs]:
    """The rankings without pairs that their own judge ordered both ways. Raises BadInput where those are refused."""
    own = contradictions.own()
    if own and settings.contradictions == "refuse":
        raise BadInput(f"One judge ordered the same two responses both ways ({own[0]}).")
    kept = []
    for ranking, pairs in rankings:
        consistent = [pair for pair in pairs if not contradictions.is_own(ranking, pair)]
        skipped.add("contradictory_pairs", ranking.id, times=len(pairs) - len(consistent))
        if consistent:
            kept.append(RankingPairs(ranking, consistent))
    return kept


def _combined(
    comparisons: Sequence[Comparison], *, settings: PreferenceSettings, skipped: SkippedRows
) -> list[Comparison]:
    """Comparisons of the same texts, together with the weight of one: each with its share, or as a majority vote.

    The weight of one is the mean of theirs, so a task judged by one labeler counts as much as one judged by several.
    """
    by_texts: dict[tuple[str, tuple[str, ...]], list[Comparison]] = {}
    for comparison in comparisons:
        key = digest(comparison.messages), tuple(sorted(comparison.texts))
        by_texts.setdefault(key, []).append(comparison)
    combined: list[Comparison] = []
    for group in by_texts.values():
        if len(group) == 1:
            combined += group
        elif settings.duplicate_judgments == "share":
            combined += [replace(comparison, weight=comparison.weight / len(group)) for comparison in group]
        else:
            vote = _vote(group, ties=_ties(settings))
            if vote.pairs:
                combined.append(vote)
            else:
                skipped.add("no_majority", group[0].rows[0].id)
    return combined


def _vote(group: Sequence[Comparison], *, ties: Ties) -> Comparison:
    first = group[0]
    ballots = [(comparison.texts, comparison.pairs, comparison.weight) for comparison in group]
    return Comparison(
        messages=first.messages,
        texts=first.texts,
        pairs=tuple(majority_vote(ballots, ties=ties)),
        weight=fmean(comparison.weight for comparison in group),
        rows=tuple(row for comparison in group for row in comparison.rows),
    )
