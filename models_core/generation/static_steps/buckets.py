"""How many rows and slots of the cache a step computes: few different numbers, for each has a graph of its own."""

DOUBLING = 256
"""Up to so many rows a bucket is twice the one before; further on each has so many more."""
SLOTS = 128
"""Slots of the cache that are attended over are a multiple of this: empty ones cost bandwidth, each number a graph."""


def row_bucket(rows: int) -> int:
    """The least bucket that holds `rows` rows: 1, 2, 4, ... 256, 512, 768, ..."""
    return 1 << (rows - 1).bit_length() if rows <= DOUBLING else -(-rows // DOUBLING) * DOUBLING


def slot_bucket(slots: int) -> int:
    """The least bucket that holds `slots` slots of the cache."""
    return -(-slots // SLOTS) * SLOTS
