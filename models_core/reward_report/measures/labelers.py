"""How far labelers agree with each other, beside how far the model agrees with each of them.

No model can be right about people more often than they are about each other by much, so their agreement is the ceiling
that an accuracy is read against. It is counted as in InstructGPT: of the pairs that both of two labelers of the same
responses put in a strict order, the part which they order alike. Machines that judge are no labelers here.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from models_core.contract.records import Ranking
from models_core.reward_report.heldout_judgments import Pairs, comparison
from models_core.reward_report.measures.intervals import Share, share

Order = frozenset[tuple[str, str]]
"""The (better, worse) texts of every pair that a judgment orders strictly."""


def labelers(pairs: Pairs, judgments: Iterable[Ranking]) -> dict[str, Any]:
    """`pairs` are held out; the agreement is of all `judgments`, trained on or not. A person's last judgment counts."""
    orders = _orders(judgments)
    outcomes: dict[str, list[tuple[float, int]]] = defaultdict(list)
    everyone: list[tuple[float, int]] = []
    for cluster, given in enumerate(orders):
        for one, other in combinations(sorted(given), 2):
            alike = [(outcome, cluster) for outcome in agreeing(given[one], given[other])]
            everyone += alike
            outcomes[one] += alike
            outcomes[other] += alike
    names = sorted({name for given in orders for name in given})
    return {
        "number": len(names),
        "agreement": _share(everyone).figures(name="share"),
        "each": [
            {
                "name": name,
                "judgments": sum(name in given for given in orders),
                "model": _with_model(pairs, name).figures(),
                "others": _share(outcomes[name]).figures(name="share"),
            }
            for name in names
        ],
    }


def agreeing(one: Order, other: Order) -> list[float]:
    """1 for every pair that both order alike, 0 for every one that they order oppositely."""
    return [1.0] * len(one & other) + [0.0] * sum((worse, better) in other for better, worse in one)


def votes(judgments: Iterable[Ranking]) -> dict[tuple[Any, str, str], list[Ranking]]:
    """Who preferred what: {(comparison, better text, worse text): the judgments that say so}, machines' too."""
    found: dict[tuple[Any, str, str], list[Ranking]] = defaultdict(list)
    for ranking in judgments:
        compared = comparison(ranking)
        for better, worse in order_of(ranking):
            found[compared, better, worse].append(ranking)
    return found


def order_of(ranking: Ranking) -> Order:
    """A text that stands twice, at two ranks, is in no order with anything."""
    ranked = [(response.rank, response.text) for response in ranking.responses if response.rank is not None]
    texts = [text for _, text in ranked]
    once = [(rank, text) for rank, text in ranked if texts.count(text) == 1]
    return frozenset((better, worse) for rank, better in once for other, worse in once if rank < other)


def _orders(judgments: Iterable[Ranking]) -> Sequence[Mapping[str, Order]]:
    """What each person said, one mapping a comparison. Judgments that name nobody can't be told apart."""
    found: dict[Any, dict[str, Order]] = defaultdict(dict)
    for ranking in judgments:
        if ranking.labeler and not ranking.is_by_machine:
            found[comparison(ranking)][ranking.labeler] = order_of(ranking)
    return list(found.values())


def _with_model(pairs: Pairs, name: str) -> Share:
    own = [place for place in range(len(pairs)) if pairs.of(place).ranking.labeler == name]
    return share(pairs.right[own], pairs.prompt[own])


def _share(outcomes: Sequence[tuple[float, int]]) -> Share:
    return share(
        np.array([outcome for outcome, _ in outcomes]), np.array([cluster for _, cluster in outcomes], dtype=int)
    )
