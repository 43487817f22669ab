"""Accuracy on held-out pairs, over all and by group."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from models_core.contract.rows.records import Ranking
from models_core.reward_report.heldout_judgments import Floats, Pairs, ScoredJudgment
from models_core.reward_report.measures.intervals import Estimate, estimate_mean

MAX_GROUPS = 20
"""Groups of one kind, at most; the pairs of all others are one more row."""
MAX_SUBSETS = 200
"""The same of subsets of a benchmark, which are all looked at."""
MAX_LEVELS = 8
"""A labeled margin with more distinct values than this is binned by quartiles."""
MAX_DISTANCE = 6
"""Pairs whose ranks are at least this far apart are one row."""
CONFIDENCE_PARTS = 5

Names = Callable[[ScoredJudgment, int, int], Sequence[str | None]]
"""The groups that a pair (judgment, better, worse) belongs to."""


def accuracy(pairs: Pairs) -> Estimate:
    return estimate_mean(pairs.correct, pairs.prompt)


def judge_kind(ranking: Ranking) -> str | None:
    """ "human" or "ai"; None where the row has no judge."""
    return "ai" if ranking.is_by_machine else ranking.judge


def _writers(judgment: ScoredJudgment, better: int, worse: int) -> Sequence[str | None]:
    """The models that wrote the two responses; a pair of two models counts for both."""
    responses = judgment.ranking.responses
    return sorted({str(name) for index in (better, worse) if (name := responses[index].model)}) or [None]


NOMINAL: dict[str, Names] = {
    "subset": lambda judgment, *_: [judgment.ranking.subset],
    "language": lambda judgment, *_: [judgment.ranking.lang],
    "source": lambda judgment, *_: [judgment.ranking.source],
    "judge": lambda judgment, *_: [judge_kind(judgment.ranking)],
    "labeler": lambda judgment, *_: [judgment.ranking.labeler],
    "policy": _writers,
}


def by_group(pairs: Pairs) -> dict[str, list[dict[str, Any]]]:
    """{kind of group: rows}, without kinds that no judgment has. A row's name is None where judgments lack the field.

    The largest groups come first, levels in their order.
    """
    found = {
        kind: _nominal(pairs, names, most=MAX_SUBSETS if kind == "subset" else MAX_GROUPS)
        for kind, names in NOMINAL.items()
    }
    found["margin"] = _labeled_margins(pairs)
    found["distance"] = _distances(pairs)
    found["confidence"] = levels(pairs, np.abs(pairs.difference), parts=CONFIDENCE_PARTS)
    found["disagreement"] = _disagreements(pairs)
    return {kind: rows for kind, rows in found.items() if any(row["name"] is not None for row in rows)}


def _nominal(pairs: Pairs, names: Names, *, most: int) -> list[dict[str, Any]]:
    members: dict[str | None, list[int]] = defaultdict(list)
    for index in range(len(pairs)):
        for name in names(pairs.judgment_of(index), int(pairs.better[index]), int(pairs.worse[index])):
            members[name].append(index)
    ordered = sorted(members, key=lambda name: (name is None, -len(members[name]), str(name)))
    shown = ordered if len(ordered) <= most else ordered[: most - 1]
    rows = [_row(pairs, members[name], name=name) for name in shown]
    if others := ordered[len(shown) :]:
        indices = sorted({index for name in others for index in members[name]})
        rows.append(_row(pairs, indices, name=None) | {"others": len(others)})
    return rows


def _labeled_margins(pairs: Pairs) -> list[dict[str, Any]]:
    margins = [pairs.judgment_of(index).ranking.margin for index in range(len(pairs))]
    values = np.array([np.nan if margin is None else margin for margin in margins], dtype=np.float64)
    if len(np.unique(values[~np.isnan(values)])) > MAX_LEVELS:
        return levels(pairs, values, parts=4)
    return _exact_levels(pairs, values)


def _distances(pairs: Pairs) -> list[dict[str, Any]]:
    """By distance of ranks; [] where all pairs have the same distance."""
    apart = []
    for index in range(len(pairs)):
        responses = pairs.judgment_of(index).ranking.responses
        better, worse = responses[int(pairs.better[index])].rank, responses[int(pairs.worse[index])].rank
        apart.append(float((worse or 0) - (better or 0)))
    values = np.minimum(apart, MAX_DISTANCE)
    rows = _exact_levels(pairs, values) if len(np.unique(values)) > 1 else []
    return [row | {"name": f"≥{row['name']}"} if row["name"] == str(MAX_DISTANCE) else row for row in rows]


def _disagreements(pairs: Pairs) -> list[dict[str, Any]]:
    """By disagreement of an ensemble's heads: the standard deviation over heads of a pair's difference of logits."""
    spreads = np.full(len(pairs), np.nan)
    for index in range(len(pairs)):
        heads = pairs.judgment_of(index).heads
        if heads:
            better, worse = heads[int(pairs.better[index])], heads[int(pairs.worse[index])]
            spreads[index] = np.std(np.subtract(better, worse))
    return levels(pairs, spreads, parts=3)


def levels(pairs: Pairs, values: Floats, *, parts: int) -> list[dict[str, Any]]:
    """Accuracy in `parts` quantile bins of the pairs by their `values` (pairs,); NaN is in none."""
    scored_indices = values[~np.isnan(values)]
    if not len(scored_indices):
        return []
    edges = np.unique(np.quantile(scored_indices, np.linspace(0, 1, parts + 1)))
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


def _row(pairs: Pairs, indices: Any, *, name: str | None) -> dict[str, Any]:
    return {"name": name, **estimate_mean(pairs.correct[indices], pairs.prompt[indices]).figures()}
