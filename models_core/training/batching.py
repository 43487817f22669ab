"""Which rows are computed together: the order of an epoch, its minibatches, micro-batches by token budget.

Everything here is a pure function of sizes and seeds. A recipe that resumes recomputes its plan and skips the part it
has done.
"""

import random
from collections.abc import Sequence


def epoch_order(rows: int, *, epoch: int, seed: int) -> list[int]:
    """A shuffle of `range(rows)` that depends on seed and epoch only."""
    order = list(range(rows))
    random.Random(f"{seed}/{epoch}").shuffle(order)  # seeding with a text is stable across Python processes
    return order


def minibatches(
    rows: int, *, size: int, epochs: int, seed: int, counts: Sequence[int] | None = None
) -> list[list[int]]:
    """Row numbers of every update of a whole run, reshuffled each epoch; the last of an epoch may be smaller.

    `counts` says how much each row counts towards `size`, 1 if it isn't given. A minibatch ends once it has `size`.
    """
    plan: list[list[int]] = []
    for epoch in range(epochs):
        filled = size
        for row in epoch_order(rows, epoch=epoch, seed=seed):
            if filled >= size:
                plan.append([])
                filled = 0
            plan[-1].append(row)
            filled += 1 if counts is None else counts[row]
    return plan


def micro_batches(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Cut rows into groups of at most `budget` tokens in sum; a row longer than the budget gets a group of its own.

    Longest rows first: should memory run out, it does so at once. Each row goes to the first group that has room
    (first fit decreasing), so groups are full. The result depends on the lengths alone, ties by position.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    groups: list[list[int]] = []
    room: list[int] = []
    for row in order:
        fit = next((index for index, left in enumerate(room) if lengths[row] <= left), None)
        if fit is None:
            groups.append([row])
            room.append(budget - lengths[row])
        else:
            groups[fit].append(row)
            room[fit] -= lengths[row]
    return groups
