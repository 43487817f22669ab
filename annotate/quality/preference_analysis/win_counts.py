"""What the judgments of one task say of its responses two by two. Pure; no database.

A pair is two responses that a judgment ranked. The win rate of a group of responses (those of a model, those shown
first) is the share of its pairs with responses outside of the group that it wins, ties counting one half:

    rate = (wins + ties / 2) / pairs = h / n,    h = 2 wins + ties,    n = 2 pairs

All pairs of a task are one cluster: judgments of the same task, and pairs of the same judgment, are not independent.
docs/measures.md names the counts.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from annotate.labeling.ordering import Ordering

SIZES = (100, 200, 400, 800, 1_600, 3_200)
"""Characters from which on a response is in the next group of lengths."""
RATIOS = (1.1, 1.25, 1.5, 2.0, 3.0)
"""How many times as long as the other the longer response of a pair is, from which on it is in the next step."""
GAPS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Differences of two reward scores, from which on a pair is in the next step."""
Judged = tuple[Ordering, Sequence[int]]
"""An order, and the response ids in the order of the page, or none where nobody saw them here."""


def shares(
    judged: Iterable[Judged], *, lengths: Mapping[int, int], scores: Mapping[int, float], authors: Mapping[int, str]
) -> dict[str, tuple[int, int]]:
    """{name: (h, n)} of a task.

    by|author, at|place, size|group: win rates. longer|step, gap|step: of pairs without ties, those that prefer the
    longer response, or that of the higher reward score. tied: pairs that are tied.
    """
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    sizes = {key: bisect_right(SIZES, length) for key, length in lengths.items()}
    for ordering, shown in judged:
        places = {key: place for place, key in enumerate(shown, start=1)}
        ranked = [(rank, key) for rank, tier in enumerate(ordering.tiers) for key in tier]
        for (rank, one), (other_rank, other) in combinations(ranked, 2):
            # The better one comes first; of a tie, either.
            is_tied = rank == other_rank
            _add(found["tied"], int(is_tied), 1)
            for name, groups in (("by", authors), ("at", places), ("size", sizes)):
                first, second = groups.get(one), groups.get(other)
                if first is not None and second is not None and first != second:
                    _add(found[f"{name}|{first}"], 1 if is_tied else 2, 2)
                    _add(found[f"{name}|{second}"], 1 if is_tied else 0, 2)
            if not is_tied:
                _add_strict(found, one, other, lengths, scores)
    return {name: (h, n) for name, (h, n) in found.items()}


def _add_strict(
    found: Mapping[str, list[int]], better: int, worse: int, lengths: Mapping[int, int], scores: Mapping[int, float]
) -> None:
    if better in lengths and worse in lengths and lengths[better] != lengths[worse]:
        short, long = sorted((lengths[better], lengths[worse]))
        _add(found[f"longer|{bisect_right(RATIOS, long / max(short, 1))}"], int(lengths[better] == long), 1)
    if better in scores and worse in scores and scores[better] != scores[worse]:
        gap = scores[better] - scores[worse]
        _add(found[f"gap|{bisect_right(GAPS, abs(gap))}"], int(gap > 0), 1)


def _add(total: list[int], h: int, n: int) -> None:
    total[0] += h
    total[1] += n
