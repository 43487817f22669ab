"""What counting alone can do: a unigram model, and the interpolated Kneser-Ney model that is the strongest of its kind.

A language model that predicts worse than these has learned nothing that a table does not know. Both are exact: every
probability is positive, and those of all tokens after one history sum to 1.

Texts are rows of token ids. The first token of a text follows `order - 1` marks of a beginning, which are never
predicted; what ends a text is a token like the others, and the caller's to append.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

Tokens = tuple[int, ...]
START = -1
"""Stands before every text; no token has this number."""
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where a corpus is too small or too regular to estimate them."""


class Unigram:
    """How often each token came, plus one."""

    def __init__(self, texts: Iterable[Sequence[int]], *, vocabulary: int) -> None:
        self.counts = Counter(token for text in texts for token in text)
        self.total = sum(self.counts.values()) + vocabulary

    def nats(self, text: Sequence[int]) -> float:
        """-log p of a whole text."""
        return -sum(math.log((self.counts[token] + 1) / self.total) for token in text)


class KneserNey:
    """Interpolated modified Kneser-Ney smoothing (Chen and Goodman 1999, equations 24 to 27).

    Every order takes a discount off its counts and gives what it saved to the order below; the lowest gives to the
    uniform distribution over `vocabulary` tokens. The highest order counts occurrences, the others in how many
    different contexts an n-gram was seen, except that one at a text's beginning, which nothing precedes, is counted.
    """

    def __init__(self, texts: Iterable[Sequence[int]], *, vocabulary: int, order: int = 5) -> None:
        self.order = order
        self.vocabulary = vocabulary
        self.counts = _adjusted(_occurrences(texts, order=order))
        self.discounts = [_discounts(counts.values()) for counts in self.counts]
        self.contexts = [
            _contexts(counts, discounts) for counts, discounts in zip(self.counts, self.discounts, strict=True)
        ]

    def probability(self, token: int, history: Tokens) -> float:
        """p(token | history); `history` has the `order - 1` tokens before it, START where there are none."""
        probability = 1 / self.vocabulary
        for size in range(self.order):
            context = history[len(history) - size :]
            found = self.contexts[size].get(context)
            if found is None:
                break  # a longer context was not seen either
            total, saved = found
            count = self.counts[size].get((*context, token), 0)
            kept = count - self.discounts[size][min(count, 3) - 1] if count else 0.0
            probability = (kept + saved * probability) / total
        return probability

    def nats(self, text: Sequence[int]) -> float:
        """-log p of a whole text."""
        padded = (*[START] * (self.order - 1), *text)
        first = self.order - 1
        return -sum(
            math.log(self.probability(padded[place], padded[place - first : place]))
            for place in range(first, len(padded))
        )


def _occurrences(texts: Iterable[Sequence[int]], *, order: int) -> Counter[Tokens]:
    """How often each n-gram of the highest order came."""
    counts: Counter[Tokens] = Counter()
    for text in texts:
        padded = (*[START] * (order - 1), *text)
        counts.update(zip(*(padded[shift:] for shift in range(order)), strict=False))
    return counts


def _adjusted(highest: Counter[Tokens]) -> list[Counter[Tokens]]:
    """The counts of every order, lowest first.

    Below the highest order an n-gram counts the different tokens seen before it; where START comes before it, that is
    no context among others but the only possible one, and the n-gram counts its occurrences.
    """
    orders = [highest]
    while len(next(iter(orders[0]), (0,))) > 1:
        lower: Counter[Tokens] = Counter()
        for ngram, count in orders[0].items():
            at_beginning = ngram[1] == START
            lower[ngram[1:]] += count if at_beginning else 1
        orders.insert(0, lower)
    return orders


def _discounts(counts: Iterable[int]) -> tuple[float, float, float]:
    """D1, D2 and D3+ of Chen and Goodman's equation 26, from how many n-grams were counted one to four times."""
    seen = Counter(count for count in counts if count <= 4)
    n1, n2, n3, n4 = (seen[count] for count in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return FALLBACK
    ratio = n1 / (n1 + 2 * n2)
    found = (1 - 2 * ratio * n2 / n1, 2 - 3 * ratio * n3 / n2, 3 - 4 * ratio * n4 / n3)
    in_range = all(0 < discount <= size for size, discount in enumerate(found, start=1))
    return found if in_range else FALLBACK


def _contexts(counts: Counter[Tokens], discounts: tuple[float, float, float]) -> dict[Tokens, tuple[float, float]]:
    """For every context: the sum of its counts, and of the discounts taken off them."""
    found: dict[Tokens, tuple[float, float]] = {}
    for ngram, count in counts.items():
        total, saved = found.get(ngram[:-1], (0.0, 0.0))
        found[ngram[:-1]] = (total + count, saved + discounts[min(count, 3) - 1])
    return found
