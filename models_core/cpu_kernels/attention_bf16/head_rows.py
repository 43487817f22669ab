"""Rows of heads laid out for `tile`: copied without gaps, transposed into columns of a panel, or paired.

A row is one head's numbers of one token: d of them in the tensor, `width` in scratch, which is d rounded up to whole
panels; what is added is zero and stays so.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

from numpy import int64, uint16

from models_core.cpu_kernels.attention_bf16.vector_steps import (
    SIDE,
    clear,
    interleave,
    move,
    scaled,
    transpose,
)
from models_core.cpu_kernels.compiler.intrinsics import floats, halves, narrow
from models_core.cpu_kernels.compiler.kernel import part
from models_core.cpu_kernels.compiler.matmul_tile import ROWS, WIDTH, tile

PIECE = 4 * WIDTH
"""Bytes of a row of a block of sums, and of a pair of a panel."""


@part
def copy(source, size, width, target):
    """One row."""
    if size == width:
        move(source, target, width // WIDTH)
        return
    numbers, out = halves(source), halves(target)
    for place in range(size):
        out[place] = numbers[place]
    for place in range(size, width):
        out[place] = uint16(0)


@part
def write(sums, step, factor, size, target):
    """One row from its sums times a factor: 32 fp32 numbers every `step` bytes -> [size] bf16."""
    for panel in range((size + WIDTH - 1) // WIDTH):
        source, begin = sums + panel * step, panel * WIDTH
        if begin + WIDTH <= size:
            scaled(source, factor, target + begin * 2)
        else:
            numbers, out = floats(source), halves(target + begin * 2)
            for place in range(size - begin):
                out[place] = narrow(numbers[place] * factor)


@part
def copy_tokens(base, stride, start, end, size, width, target):
    """The rows of one head's tokens, `stride` bytes apart in the tensor."""
    for token in range(start, end):
        copy(base + token * stride, size, width, target + (token - start) * width * 2)


@part
def transpose_panel(rows, width, panel):
    """32 rows become the columns of a panel: [32, width] -> [width / 2, 32, 2]."""
    for pair in range(0, width // 2, SIDE):
        for row in range(0, WIDTH, SIDE):
            transpose(rows + row * width * 2 + pair * 4, width * 2, panel + pair * PIECE + row * 4, int64(PIECE))


@part
def pair_up(rows, width, first, last, target, stride):
    """Pairs of rows, from `first` to `last`, become those of panels: [2 n, width] -> [width / 32][n, 32, 2].

    A panel begins `stride` bytes behind the one before.
    """
    for pair in range(first, last):
        for panel in range(width // WIDTH):
            low = rows + (2 * pair * width + panel * WIDTH) * 2
            interleave(low, low + width * 2, target + panel * stride + pair * PIECE)


@part
def multiply(rows, left, stride, panel, pairs, sums):
    """One tile from nothing: `tile` with sums that begin at zero."""
    clear(sums, rows * 2)
    tile(rows, left, stride, panel, pairs, sums, panel)


@part
def blocks_of(rows):
    """In how many blocks of nearly equal size so many rows go through a product."""
    return (rows + ROWS - 1) // ROWS
