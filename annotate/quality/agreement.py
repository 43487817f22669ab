"""How far labelers agree, and what else shows in their orderings. Pure; no database.

Two labelers are compared on every two responses that both ranked. They agree when they prefer the same one, or when
both tie them; a tie against a preference is a disagreement. The strict rate looks only at pairs that neither tied,
which is the figure papers quote (InstructGPT: 72.6%).
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from annotate.labeling.ordering import Ordering
from annotate.quality.aggregation.votes import PairVotes

# The orderings of one task by labeler.
JudgedTask = Mapping[int, Ordering]
Coincidences = Mapping[tuple[float, float], float]
"""Krippendorff's coincidence matrix, the half with the lower value first."""


class Comparison(NamedTuple):
    """Two labelers on the pairs that both ranked. strict: pairs that neither tied. tau_b: None where one ties them all.

    Kendall's tau-b (Kendall 1945):
    (concordant - discordant) / sqrt((pairs - ties of one) (pairs - ties of the other))
    """

    hits: int
    pairs: int
    strict_hits: int
    strict_pairs: int
    tau_b: float | None


def compare(one: Mapping[int, int], other: Mapping[int, int]) -> Comparison:
    """Given the ranks of both."""
    hits = pairs = strict_hits = strict_pairs = balance = untied = untied_other = 0
    both = [(one[key], other[key]) for key in one if key in other]
    for (a, c), (b, d) in combinations(both, 2):
        first, second = (a > b) - (a < b), (c > d) - (c < d)
        pairs += 1
        hits += first == second
        if first and second:
            strict_pairs += 1
            strict_hits += first == second
        balance += first * second
        untied += first != 0
        untied_other += second != 0
    tau_b = balance / math.sqrt(untied * untied_other) if untied and untied_other else None
    return Comparison(hits, pairs, strict_hits, strict_pairs, tau_b)


def agreeing(one: Mapping[int, int], other: Mapping[int, int], *, strict: bool = False) -> tuple[int, int]:
    """(pairs on which both agree, pairs that both ranked), given the ranks of both. strict: pairs that neither tied."""
    found = compare(one, other)
    return (found.strict_hits, found.strict_pairs) if strict else (found.hits, found.pairs)


def kendall_tau_b(one: Mapping[int, int], other: Mapping[int, int]) -> float | None:
    return compare(one, other).tau_b


def agreement_with_majority(mine: Mapping[int, int], votes: Mapping[tuple[int, int], PairVotes]) -> tuple[int, int]:
    """(pairs on which these ranks agree with the majority of the others, pairs that two or more others decide).

    `votes` are of all labelers of the task, this one among them; their own vote is left out, or they would be compared
    with themselves. The smaller id is the first of a pair.
    """
    hits = total = 0
    for (a, b), all_votes in votes.items():
        if a not in mine or b not in mine:
            continue
        own = _sign(mine[b] - mine[a])
        others = all_votes._replace(
            first=all_votes.first - (own == 1),
            second=all_votes.second - (own == -1),
            tied=all_votes.tied - (own == 0),
        )
        if sum(others) > 1 and max(others) * 2 > sum(others):
            total += 1
            hits += others.majority == own
    return hits, total


def pairwise_agreement(orderings: Iterable[Ordering]) -> float | None:
    """The share of agreeing pairs over all two labelers of one task; None where no two have ranked the same pair."""
    ranks = [ordering.ranks() for ordering in orderings]
    shares = [agreeing(one, other) for one, other in combinations(ranks, 2)]
    total = sum(of for _, of in shares)
    return sum(hits for hits, _ in shares) / total if total else None


def task_agreement(judged: JudgedTask, *, none_acceptable: Collection[int] = ()) -> float | None:
    """The share of agreeing pairs over all two labelers of one task; None where there is nothing to compare.

    none_acceptable: labelers who found no response acceptable. Two of them agree; one who orders nothing disagrees with
    another labeler on each pair that the other one orders.
    """
    ranks = {labeler: ordering.ranks() for labeler, ordering in judged.items()}
    hits = total = 0
    for one, other in combinations(judged, 2):
        orders = len(ranks[one]), len(ranks[other])
        if one in none_acceptable and other in none_acceptable:
            hits, total = hits + 1, total + 1
        elif {one, other} & set(none_acceptable) and not min(orders):
            total += math.comb(max(orders), 2)
        else:
            some, of = agreeing(ranks[one], ranks[other])
            hits, total = hits + some, total + of
    return hits / total if total else None


def coincidence_counts(units: Iterable[Sequence[float]]) -> Counter[tuple[int, float, float]]:
    """What a coincidence matrix is made of: {(values of a unit, value, value not lower): ordered pairs, or pairs}.

    Whole numbers, so that they can be added up exactly; a unit's pairs of two unequal values are counted once.
    """
    counts: Counter[tuple[int, float, float]] = Counter()
    for unit in units:
        if len(unit) < 2:
            continue
        given = sorted(Counter(unit).items())
        for place, (value, count) in enumerate(given):
            if count > 1:
                counts[len(unit), value, value] += count * (count - 1)
            for larger, larger_count in given[place + 1 :]:
                counts[len(unit), value, larger] += count * larger_count
    return counts


def coincidences(counts: Mapping[tuple[int, float, float], int]) -> dict[tuple[float, float], float]:
    """The coincidence matrix: each unit of m values adds its ordered pairs divided by m - 1 (Krippendorff 2004)."""
    matrix: dict[tuple[float, float], float] = {}
    for (size, low, high), count in sorted(counts.items()):
        matrix[low, high] = matrix.get((low, high), 0.0) + count / (size - 1)
    return matrix


def ordinal_alpha(matrix: Coincidences) -> float | None:
    """Krippendorff's alpha with ordinal distances. None where fewer than two values were given.

    alpha = 1 - (n - 1) sum o_ck d_ck / sum n_c n_k d_ck,   d_ck = (sum of n_g for g from c to k - (n_c + n_k) / 2)^2
    """
    frequency: dict[float, float] = {}
    for (low, high), count in matrix.items():
        frequency[low] = frequency.get(low, 0.0) + count
        if low != high:
            frequency[high] = frequency.get(high, 0.0) + count
    values = sorted(value for value, count in frequency.items() if count > 0)
    if len(values) < 2:
        return None
    observed = expected = 0.0
    for place, low in enumerate(values):
        between = frequency[low]
        for high in values[place + 1 :]:
            between += frequency[high]
            distance = (between - (frequency[low] + frequency[high]) / 2) ** 2
            observed += matrix.get((low, high), 0.0) * distance
            expected += frequency[low] * frequency[high] * distance
    return 1 - (sum(frequency.values()) - 1) * observed / expected


def rank_units(ranks: Iterable[Mapping[int, int]]) -> list[list[float]]:
    """The units of alpha over ranks: for each response the ranks that the labelers of its task gave it."""
    units: dict[int, list[float]] = {}
    for given in ranks:
        for response_id, rank in given.items():
            units.setdefault(response_id, []).append(rank)
    return list(units.values())


def first_shown_wins(ordering: Ordering, shown: Sequence[int]) -> tuple[int, int]:
    """(pairs of which the better one stood first on the page, pairs); without a bias half of them."""
    place = {response_id: number for number, response_id in enumerate(shown)}
    pairs = [(better, worse) for better, worse in ordering.pairs() if better in place and worse in place]
    return sum(place[better] < place[worse] for better, worse in pairs), len(pairs)


def larger_wins(ordering: Ordering, sizes: Mapping[int, float]) -> tuple[int, int]:
    """(pairs of which the better one has the larger number, pairs of unequal numbers): of lengths, or of scores."""
    pairs = [
        (better, worse)
        for better, worse in ordering.pairs()
        if better in sizes and worse in sizes and sizes[better] != sizes[worse]
    ]
    return sum(sizes[better] > sizes[worse] for better, worse in pairs), len(pairs)


def against_gold(ordering: Ordering, gold: Ordering) -> tuple[int, int]:
    """(pairs ordered as known, pairs that the known ordering decides). A tie, or a response not ranked, is a miss."""
    ranks, known = ordering.ranks(), gold.pairs()
    hits = sum(better in ranks and worse in ranks and ranks[better] < ranks[worse] for better, worse in known)
    return hits, len(known)


def _sign(difference: int) -> int:
    return (difference > 0) - (difference < 0)
