"""The part of held-out pairs that a reward model orders as people did: of all, and of every group there is."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from models_core.contract.records import Ranking
from models_core.reward_report.heldout_judgments import Floats, Judged, Pairs
from models_core.reward_report.measures.intervals import Share, share

MOST_GROUPS = 20
"""Groups of one kind that are shown; the pairs of all others are one more line."""
MOST_LEVELS = 8
"""A labeled margin with more distinct values than this is cut at its quartiles."""
FURTHEST_APART = 6
"""Pairs whose ranks are as far apart as this, or further, are one line."""
CONFIDENCE_PARTS = 5

Names = Callable[[Judged, int, int], Sequence[str | None]]
"""The groups that a pair (judgment, better, worse) belongs to."""


def overall(pairs: Pairs) -> Share:
    return share(pairs.right, pairs.prompt)


def judge_kind(ranking: Ranking) -> str | None:
    """ "human" or "ai", whatever the machine is called; None where the row does not say."""
    return "ai" if ranking.is_by_machine else ranking.judge


def _writers(judged: Judged, better: int, worse: int) -> Sequence[str | None]:
    """The models that wrote the two: a pair of two models counts for both."""
    responses = judged.ranking.responses
    return sorted({str(name) for place in (better, worse) if (name := responses[place].model)}) or [None]


NOMINAL: dict[str, Names] = {
    "language": lambda judged, *_: [judged.ranking.lang],
    "source": lambda judged, *_: [judged.ranking.source],
    "judge": lambda judged, *_: [judge_kind(judged.ranking)],
    "labeler": lambda judged, *_: [judged.ranking.labeler],
    "policy": _writers,
}


def by_group(pairs: Pairs) -> dict[str, list[dict[str, Any]]]:
    """{kind of group: rows}, without kinds of which the judgments say nothing. A row's name is None for "not said".

    The largest groups come first, levels in their order.
    """
    found = {kind: _nominal(pairs, names) for kind, names in NOMINAL.items()}
    found["margin"] = _labeled_margins(pairs)
    found["distance"] = _distances(pairs)
    found["confidence"] = levels(pairs, np.abs(pairs.difference), parts=CONFIDENCE_PARTS)
    found["disagreement"] = _disagreements(pairs)
    return {kind: rows for kind, rows in found.items() if any(row["name"] is not None for row in rows)}


def _nominal(pairs: Pairs, names: Names) -> list[dict[str, Any]]:
    members: dict[str | None, list[int]] = defaultdict(list)
    for place in range(len(pairs)):
        for name in names(pairs.of(place), int(pairs.better[place]), int(pairs.worse[place])):
            members[name].append(place)
    ordered = sorted(members, key=lambda name: (name is None, -len(members[name]), str(name)))
    shown = ordered if len(ordered) <= MOST_GROUPS else ordered[: MOST_GROUPS - 1]
    rows = [_row(pairs, members[name], name=name) for name in shown]
    if others := ordered[len(shown) :]:
        places = sorted({place for name in others for place in members[name]})
        rows.append(_row(pairs, places, name=None) | {"others": len(others)})
    return rows


def _labeled_margins(pairs: Pairs) -> list[dict[str, Any]]:
    margins = [pairs.of(place).ranking.margin for place in range(len(pairs))]
    values = np.array([np.nan if margin is None else margin for margin in margins], dtype=np.float64)
    if len(np.unique(values[~np.isnan(values)])) > MOST_LEVELS:
        return levels(pairs, values, parts=4)
    return _exact_levels(pairs, values)


def _distances(pairs: Pairs) -> list[dict[str, Any]]:
    """By how many places the ranks are apart; of pairs alone there is nothing to tell apart."""
    apart = []
    for place in range(len(pairs)):
        responses = pairs.of(place).ranking.responses
        better, worse = responses[int(pairs.better[place])].rank, responses[int(pairs.worse[place])].rank
        apart.append(float((worse or 0) - (better or 0)))
    values = np.minimum(apart, FURTHEST_APART)
    rows = _exact_levels(pairs, values) if len(np.unique(values)) > 1 else []
    return [row | {"name": f"≥{row['name']}"} if row["name"] == str(FURTHEST_APART) else row for row in rows]


def _disagreements(pairs: Pairs) -> list[dict[str, Any]]:
    """By how far the heads of an ensemble are apart about a pair: the deviation of their differences of logits."""
    spreads = np.full(len(pairs), np.nan)
    for place in range(len(pairs)):
        heads = pairs.of(place).heads
        if heads:
            better, worse = heads[int(pairs.better[place])], heads[int(pairs.worse[place])]
            spreads[place] = np.std(np.subtract(better, worse))
    return levels(pairs, spreads, parts=3)


def levels(pairs: Pairs, values: Floats, *, parts: int) -> list[dict[str, Any]]:
    """Accuracy in `parts` equally large parts of the pairs by their `values` [P], from the smallest; NaN is in none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return []
    edges = np.unique(np.quantile(known, np.linspace(0, 1, parts + 1)))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    rows = []
    for number, (low, high) in enumerate(pairwise(edges)):
        is_last = number == len(edges) - 2
        inside = (values >= low) & ((values <= high) if is_last else (values < high))
        rows.append(_row(pairs, np.flatnonzero(inside), name=f"{low:.2f}–{high:.2f}"))
    return rows


def _exact_levels(pairs: Pairs, values: Floats) -> list[dict[str, Any]]:
    return [
        _row(pairs, np.flatnonzero(values == value), name=f"{value:g}")
        for value in np.unique(values[~np.isnan(values)])
    ]


def _row(pairs: Pairs, places: Any, *, name: str | None) -> dict[str, Any]:
    return {"name": name, **share(pairs.right[places], pairs.prompt[places]).figures()}
