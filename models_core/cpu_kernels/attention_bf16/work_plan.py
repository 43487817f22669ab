"""How attention over segments is cut into parts that threads take by turns, and where what they add up meets.

A piece is a segment, or one of several of a long one; it sees other pieces, then itself. Pieces that see the same are
computed one after the other, in one part: what they see is laid out once, and its gradients from all of them are one
sum. A part goes on until its own tokens are as many as those it sees: then sums are about as many as tokens.

What a part adds to the gradients of others' keys and values it writes to sums of its own, and all such sums are added
in one order. So no bit of a result depends on which thread came first, nor on how many there are.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

Span = tuple[int, int]

PIECE_TOKENS = 512
"""Tokens of the pieces of a long segment: two threads have enough of them in one of a thousand."""
MOST_PIECES = 8
"""A longer segment's pieces grow with it: their sums of gradients are at most 3.5 times its tokens."""


class Plan(NamedTuple):
    """Tables of int64, as the kernels read them; places and sizes of sums are in tokens."""

    parts: Tensor  # [parts, 6]: first and last of seen, first and last of pieces, place of its sums, tokens seen
    seen: Tensor  # [., 2]: start and end
    pieces: Tensor  # [., 3]: start, end, place of the sums of its own gradients or -1
    shared: Tensor  # [., 4]: start and end of a piece that others see, first and last of sources
    sources: Tensor  # [., 3]: place of sums, how many tokens they are of, which of them is the piece's first
    longest: int  # tokens that a piece sees, itself among them
    sums: int  # tokens that all sums are of


class _Part(NamedTuple):
    seen: tuple[Span, ...]
    pieces: list[Span]

    @property
    def ahead(self) -> int:
        return _tokens(self.seen)

    @property
    def cost(self) -> int:
        return sum((end - start) * (2 * self.ahead + end - start) for start, end in self.pieces)


@lru_cache(maxsize=32)
def plan(segments: tuple[tuple[int, int, tuple[Span, ...]], ...]) -> Plan:
    """Of segments that are (start, end, the spans of the segments it continues). Largest parts come first."""
    parts = sorted(_parts(segments), key=lambda part: -part.cost)
    places: dict[Span, int] = {}
    sums = 0
    for piece in (span for part in parts for span in part.seen):
        if piece not in places:
            places[piece] = sums
            sums += _tokens([piece])
    sources = {piece: [(place, _tokens([piece]), 0)] for piece, place in places.items()}
    rows: list[list[int]] = []
    seen: list[Span] = []
    pieces: list[tuple[int, int, int]] = []
    for part in parts:
        first_seen, first_piece = len(seen), len(pieces)
        seen += part.seen
        pieces += [(*span, places.get(span, -1)) for span in part.pieces]
        rows.append([first_seen, len(seen), first_piece, len(pieces), sums, part.ahead])
        offset = 0
        for span in part.seen:
            sources[span].append((sums, part.ahead, offset))
            offset += _tokens([span])
        sums += part.ahead
    shared: list[list[int]] = []
    listed: list[tuple[int, int, int]] = []
    for span, own in sources.items():
        shared.append([*span, len(listed), len(listed) + len(own)])
        listed += own
    longest = max(part.ahead + end - start for part in parts for start, end in part.pieces)
    return Plan(
        _table(rows, 6), _table(seen, 2), _table(pieces, 3), _table(shared, 4), _table(listed, 3), longest, sums
    )  # fmt: skip


def _parts(segments: Sequence[tuple[int, int, tuple[Span, ...]]]) -> list[_Part]:
    cut = {(start, end): _cut(start, end) for start, end, _ in segments}
    families: dict[tuple[Span, ...], list[Span]] = {}
    for start, end, prefixes in segments:
        seen = [piece for prefix in prefixes for piece in cut[prefix]]
        for piece in cut[start, end]:
            families.setdefault(tuple(seen), []).append(piece)
            seen.append(piece)
    parts = []
    for family, pieces in families.items():
        ahead, own = _tokens(family), 0
        for piece in pieces:
            if own == 0 or own >= ahead:
                parts.append(_Part(family, []))
                own = 0
            parts[-1].pieces.append(piece)
            own += _tokens([piece])
    return parts


def _cut(start: int, end: int) -> list[Span]:
    """A segment's pieces, nearly equal; none of an empty one."""
    size = end - start
    count = min(MOST_PIECES, -(-size // PIECE_TOKENS))
    return [(start + size * number // count, start + size * (number + 1) // count) for number in range(count)]


def _tokens(spans: Sequence[Span]) -> int:
    return sum(end - start for start, end in spans)


def _table(rows: Sequence[Sequence[int]], width: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64).view(-1, width)
