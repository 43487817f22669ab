"""AdamW in one visit of memory: the scaled gradient, both moments, the fp32 master and the bf16 weight rounded from it.

Loshchilov and Hutter, 1711.05101, as torch.optim.AdamW computes it. A parameter is cut into blocks that stay in the
processor's first cache while several plain loops go over them; compilers make vectors of loops that write one array.
The norm of all gradients is added up block by block, in an order that does not depend on the number of threads.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

import math
from collections.abc import Sequence

import numpy
import torch
from numba import carray
from numpy import float32
from torch import Tensor

from models_core.cpu_kernels.compiler.intrinsics import doubles, floats, halves, longs, narrow, own, share, wide
from models_core.cpu_kernels.compiler.kernel import kernel, part
from models_core.cpu_kernels.compiler.reductions import BLOCK, squares
from models_core.cpu_kernels.compiler.thread_team import RESERVED, Call
from models_core.training.optimizer import AdamWUpdate

SIZE = 2048
"""Numbers of a block: three arrays of them and the scratch fill two thirds of a first cache."""

ROWS, TABLE, SCRATCH, SUMS, CONSTANTS = range(RESERVED, RESERVED + 5)
GRADIENT, IS_HALF, COUNT, FIRST_SUM, MASTER, FIRST, SECOND, WEIGHT = range(8)
"""Columns of a parameter's row in the table: addresses, and how many numbers there are."""
FACTOR, TO_FIRST, KEEP_SECOND, TO_SECOND, EPSILON, SHRINK, OWN = range(7)
"""Constants; from OWN on two of each parameter: its learning rate and the root that its second moment is divided by."""


@part
def _take(row, start, size, factor, into):
    """Put `size` numbers of a gradient from `start` on, bf16 or fp32, into an array, times a factor."""
    if row[IS_HALF]:
        half = halves(row[GRADIENT] + start * 2)
        for index in range(size):
            into[index] = wide(half[index]) * factor
    else:
        full = floats(row[GRADIENT] + start * 4)
        for index in range(size):
            into[index] = full[index] * factor


@kernel
def _squares(arguments):
    """The sum of a gradient's squares, block by block, into places that begin at the parameter's FIRST_SUM."""
    v = carray(arguments, (RESERVED + 5,))
    thread, threads = own(v)
    place = v[SCRATCH] + thread * SIZE * 4
    scratch, sums = floats(place), doubles(v[SUMS])
    for number in range(v[ROWS]):
        row = longs(v[TABLE] + number * 8 * 8)
        count = row[COUNT]
        first, last = share((count + SIZE - 1) // SIZE, thread, threads)
        for block in range(first, last):
            start = block * SIZE
            size = min(SIZE, count - start)
            _take(row, start, size, float32(1), scratch)
            padded = (size + BLOCK - 1) // BLOCK
            for index in range(size, padded * BLOCK):
                scratch[index] = float32(0)
            sums[row[FIRST_SUM] + block] = squares(place, padded, BLOCK * 4)


@kernel
def _step(arguments):
    v = carray(arguments, (RESERVED + 5,))
    thread, threads = own(v)
    gradient, constants = floats(v[SCRATCH] + thread * SIZE * 4), floats(v[CONSTANTS])
    factor, epsilon, shrink = constants[FACTOR], constants[EPSILON], constants[SHRINK]
    to_first, keep_second, to_second = constants[TO_FIRST], constants[KEEP_SECOND], constants[TO_SECOND]
    for number in range(v[ROWS]):
        row = longs(v[TABLE] + number * 8 * 8)
        rate, root = constants[OWN + number * 2], constants[OWN + number * 2 + 1]
        count = row[COUNT]
        begin, end = share((count + SIZE - 1) // SIZE, thread, threads)
        for block in range(begin, end):
            start = block * SIZE
            size = min(SIZE, count - start)
            _take(row, start, size, factor, gradient)
            first, second = floats(row[FIRST] + start * 4), floats(row[SECOND] + start * 4)
            for index in range(size):
                first[index] += to_first * (gradient[index] - first[index])
            for index in range(size):
                second[index] = keep_second * second[index] + to_second * gradient[index] * gradient[index]
            master = floats(row[MASTER] + start * 4)
            for index in range(size):
                spread = float32(math.sqrt(second[index])) / root + epsilon
                master[index] = master[index] * shrink - rate * (first[index] / spread)
            if row[WEIGHT]:
                weight = halves(row[WEIGHT] + start * 2)
                for index in range(size):
                    weight[index] = narrow(master[index])


KERNELS = (_squares, _step)


def gradient_norm(gradients: Sequence[Tensor]) -> float:
    """The norm of all gradients together, which are bf16 or fp32 and contiguous."""
    blocks = [-(-gradient.numel() // SIZE) for gradient in gradients]
    places = numpy.concatenate([[0], numpy.cumsum(blocks)]).tolist()
    sums = torch.zeros(places[-1], dtype=torch.float64)
    rows = [[*_gradient(one), place, 0, 0, 0, 0] for one, place in zip(gradients, places, strict=False)]
    _run(_squares, rows, sums=sums)
    return math.sqrt(math.fsum(sums.tolist()))


def adamw_step(
    updates: Sequence[AdamWUpdate],
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
    factor: float,
) -> None:
    """One step of AdamW with gradients scaled by `factor`. Overwrites masters, moments and weights."""
    constants = [factor, 1 - betas[0], betas[1], 1 - betas[1], eps, 1 - lr * weight_decay]
    rows = []
    for one in updates:
        one.step.add_(1)
        count = int(one.step)
        constants += [lr / (1 - betas[0] ** count), math.sqrt(1 - betas[1] ** count)]
        state = [part.data_ptr() for part in (one.master, one.exp_avg, one.exp_avg_sq)]
        rows.append([*_gradient(one.gradient), 0, *state, 0 if one.weight is None else one.weight.data_ptr()])
    _run(_step, rows, constants=torch.tensor(constants, dtype=torch.float32))


def _gradient(gradient: Tensor) -> tuple[int, bool, int]:
    return gradient.data_ptr(), gradient.dtype == torch.bfloat16, gradient.numel()


def _run(kernel_, rows: list[list[int]], *, sums: Tensor | None = None, constants: Tensor | None = None) -> None:
    table, scratch = torch.tensor(rows, dtype=torch.int64), torch.empty(torch.get_num_threads(), SIZE)
    given = [0 if tensor is None else tensor.data_ptr() for tensor in (sums, constants)]
    Call(kernel_, [len(rows), table.data_ptr(), scratch.data_ptr(), *given]).run()
