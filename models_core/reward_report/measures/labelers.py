"""Agreement of labelers with each other, and of the model with each of them.

A model can hardly predict labelers better than they predict each other, so their agreement is the upper bound that an
accuracy is compared with. It is counted as in InstructGPT: of the pairs that two labelers of the same responses both
order strictly, the proportion that they order alike. AI judges do not count as labelers.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from models_core.contract.rows.records import Ranking
from models_core.reward_report.heldout_judgments import Pairs, comparison_key
from models_core.reward_report.measures.intervals import Estimate, estimate_mean

Order = frozenset[tuple[str, str]]
"""The (better, worse) texts of every pair that a judgment orders strictly."""


def labeler_agreement(pairs: Pairs, judgments: Iterable[Ranking]) -> dict[str, Any]:
    """`pairs` are held out; agreement is over all `judgments`, training ones too. A labeler's last judgment counts."""
    orders = _orders(judgments)
    outcomes: dict[str, list[tuple[float, int]]] = defaultdict(list)
    all_rankings: list[tuple[float, int]] = []
    for cluster, given in enumerate(orders):
        for one, other in combinations(sorted(given), 2):
            alike = [(outcome, cluster) for outcome in agreement_outcomes(given[one], given[other])]
            all_rankings += alike
            outcomes[one] += alike
            outcomes[other] += alike
    names = sorted({name for given in orders for name in given})
    return {
        "number": len(names),
        "agreement": _agreement(all_rankings).figures(name="share"),
        "each": [
            {
                "name": name,
                "judgments": sum(name in given for given in orders),
                "model": _with_model(pairs, name).figures(),
                "others": _agreement(outcomes[name]).figures(name="share"),
            }
            for name in names
        ],
    }


def agreement_outcomes(one: Order, other: Order) -> list[float]:
    """1 for each pair that both order alike, 0 for each that they order oppositely."""
    return [1.0] * len(one & other) + [0.0] * sum((worse, better) in other for better, worse in one)


def votes(judgments: Iterable[Ranking]) -> dict[tuple[Any, str, str], list[Ranking]]:
    """{(comparison, better text, worse text): judgments with this order}, AI judges' too."""
    found: dict[tuple[Any, str, str], list[Ranking]] = defaultdict(list)
    for ranking in judgments:
        compared = comparison_key(ranking)
        for better, worse in strict_order(ranking):
            found[compared, better, worse].append(ranking)
    return found


def strict_order(ranking: Ranking) -> Order:
    """A text that occurs twice, at two ranks, is in no pair."""
    ranked = [(response.rank, response.text) for response in ranking.responses if response.rank is not None]
    texts = [text for _, text in ranked]
    once = [(rank, text) for rank, text in ranked if texts.count(text) == 1]
    return frozenset((better, worse) for rank, better in once for other, worse in once if rank < other)


def _orders(judgments: Iterable[Ranking]) -> Sequence[Mapping[str, Order]]:
    """The order of each labeler, one mapping a comparison. Judgments without a labeler are omitted."""
    found: dict[Any, dict[str, Order]] = defaultdict(dict)
    for ranking in judgments:
        if ranking.labeler and not ranking.is_by_machine:
            found[comparison_key(ranking)][ranking.labeler] = strict_order(ranking)
    return list(found.values())


def _with_model(pairs: Pairs, name: str) -> Estimate:
    own = [index for index in range(len(pairs)) if pairs.judgment_of(index).ranking.labeler == name]
    return estimate_mean(pairs.correct[own], pairs.prompt[own])


def _agreement(outcomes: Sequence[tuple[float, int]]) -> Estimate:
    return estimate_mean(
        np.array([outcome for outcome, _ in outcomes]), np.array([cluster for _, cluster in outcomes], dtype=int)
    )
