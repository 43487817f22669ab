"""Rankings as verdicts: which text is better than which, by how much, and how much that counts.

What is done with a file of rankings, in this order:

1. The same order of the same texts by the same judge counts once (`deduplicate`). Rows that don't say who judged are
   taken for one judge's.
2. A ranking's weight is its row's, times its labeler's (`labeler_weights`), times `ai_weight` where a machine judged.
3. Its pairs come with targets (`ties`) and margins (`margin`). Equal texts make no pair.
4. Where one judge ordered two texts both ways, those pairs are kept, skipped or refused (`contradictions`).
5. Judgments of the same texts each count, share one judgment's weight, or are voted into one (`duplicate_judgments`).

What cannot teach is left out, counted and named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from models_core.contract.errors import BadInput
from models_core.contract.records import Messages, Ranking
from models_core.contract.settings import PreferenceSettings
from models_core.preferences.contradictions import Contradictions, Ordered, PromptKey, judge_of, prompt_key
from models_core.preferences.judgment_weights import Weights
from models_core.preferences.majority import majority
from models_core.preferences.margins import with_margins
from models_core.preferences.skipped_rows import LeftOut
from models_core.rl.losses import Pair, Ties, ranked_pairs

UNUSABLE = {
    "fewer_than_two_ranked": "ranks fewer than two of its responses",
    "all_tied": "ranks all responses alike",
    "equal_responses": "orders no two responses that differ",
}
"""Why a ranking makes no pair, as a sentence about it goes on."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """An order of some texts. `pairs` are places in `texts`; `rows` are what it was made from."""

    messages: Messages
    texts: tuple[str, ...]
    pairs: tuple[Pair, ...]
    weight: float
    rows: tuple[Ranking, ...]


@dataclass(frozen=True)
class Heard:
    """The verdicts of a file's rankings, and who contradicted whom."""

    verdicts: list[Verdict]
    contradictions: Contradictions


def hear(
    rankings: Sequence[Ranking], *, settings: PreferenceSettings, left_out: LeftOut, combine: bool = True
) -> Heard:
    """All verdicts in the order of their first rows. Without `combine` each ranking stays one of its own.

    Raises BadInput, which names the row, for what the settings refuse.
    """
    weights = Weights(settings)
    ordered: list[Ordered] = []
    seen: set[tuple[object, ...]] = set()
    for ranking in rankings:
        pairs = _pairs(ranking, settings=settings)
        identity = _identity(ranking)
        if weights.of(ranking) == 0:
            left_out.add("weightless", ranking.id)
        elif settings.deduplicate and identity in seen:
            left_out.add("duplicates", ranking.id)
        elif not pairs:
            reason = _why_no_pair(ranking)
            if settings.unusable_rows == "refuse":
                raise BadInput(f"The row {ranking.id!r} {UNUSABLE[reason]}.")
            left_out.add(reason, ranking.id)
        else:
            ordered.append(Ordered(ranking, pairs))
            seen.add(identity)
    contradictions = Contradictions(ordered)
    if settings.contradictions != "keep":
        ordered = _consistent(ordered, contradictions, settings=settings, left_out=left_out)
    verdicts = [
        Verdict(
            messages=ranking.messages,
            texts=tuple(response.text for response in ranking.responses),
            pairs=tuple(pairs),
            weight=weights.of(ranking),
            rows=(ranking,),
        )
        for ranking, pairs in ordered
    ]
    if combine and settings.duplicate_judgments != "each":
        verdicts = _combined(verdicts, settings=settings, left_out=left_out)
    return Heard(verdicts, contradictions)


def _ties(settings: PreferenceSettings) -> Ties:
    return "soft" if settings.ties == "soft" else "skip"


def _pairs(ranking: Ranking, *, settings: PreferenceSettings) -> list[Pair]:
    """The pairs of different texts."""
    responses = ranking.responses
    pairs = ranked_pairs([response.rank for response in responses], ties=_ties(settings))
    different = [pair for pair in pairs if responses[pair.better].text != responses[pair.worse].text]
    return with_margins(different, ranking=ranking, settings=settings)


def _why_no_pair(ranking: Ranking) -> str:
    ranks = [response.rank for response in ranking.responses if response.rank is not None]
    if len(ranks) < 2:
        return "fewer_than_two_ranked"
    return "all_tied" if len(set(ranks)) == 1 else "equal_responses"


def _identity(ranking: Ranking) -> tuple[object, ...]:
    """Equal for rankings that say the same: by whom, on what, in which order."""
    ranks = sorted({response.rank for response in ranking.responses if response.rank is not None})
    tiers = sorted(
        (-1 if response.rank is None else ranks.index(response.rank), response.text) for response in ranking.responses
    )
    return judge_of(ranking), ranking.is_by_machine, prompt_key(ranking.messages), tuple(tiers)


def _consistent(
    ordered: Sequence[Ordered], contradictions: Contradictions, *, settings: PreferenceSettings, left_out: LeftOut
) -> list[Ordered]:
    """The rankings without the pairs that their own judge contradicted. Raises BadInput where those are refused."""
    own = contradictions.own()
    if own and settings.contradictions == "refuse":
        raise BadInput(f"One judge ordered the same two responses both ways ({own[0]}).")
    kept = []
    for ranking, pairs in ordered:
        rest = [pair for pair in pairs if not contradictions.is_own(ranking, pair)]
        left_out.add("contradictory_pairs", ranking.id, times=len(pairs) - len(rest))
        if rest:
            kept.append(Ordered(ranking, rest))
    return kept


def _combined(verdicts: Sequence[Verdict], *, settings: PreferenceSettings, left_out: LeftOut) -> list[Verdict]:
    """Verdicts on the same texts together: each with its share of one judgment's weight, or one that most agree on.

    One judgment's weight is the mean of theirs, so that a text judged by one trusted person counts as much as ever.
    """
    of_texts: dict[tuple[PromptKey, tuple[str, ...]], list[Verdict]] = {}
    for verdict in verdicts:
        key = prompt_key(verdict.messages), tuple(sorted(verdict.texts))
        of_texts.setdefault(key, []).append(verdict)
    made: list[Verdict] = []
    for group in of_texts.values():
        if len(group) == 1:
            made += group
        elif settings.duplicate_judgments == "share":
            made += [replace(verdict, weight=verdict.weight / len(group)) for verdict in group]
        else:
            voted = _voted(group, ties=_ties(settings))
            if voted.pairs:
                made.append(voted)
            else:
                left_out.add("no_majority", group[0].rows[0].id)
    return made


def _voted(group: Sequence[Verdict], *, ties: Ties) -> Verdict:
    first = group[0]
    return Verdict(
        messages=first.messages,
        texts=first.texts,
        pairs=tuple(majority([(verdict.texts, verdict.pairs, verdict.weight) for verdict in group], ties=ties)),
        weight=fmean(verdict.weight for verdict in group),
        rows=tuple(row for verdict in group for row in verdict.rows),
    )
