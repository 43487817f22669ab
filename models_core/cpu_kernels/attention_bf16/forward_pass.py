"""softmax(Q K^T scale) V within segments, piece by piece; of its weights only the logarithms of their sums are kept.

The rows of a piece are the queries that share a key head, token by token: row r is head r mod G of token r div G.
Twelve rows see much the same keys. Their scores lie in scratch, in fp32, until the weights made of them have been
multiplied by the values (for backwards by parts without kept weights see Dao et al., 2205.14135).
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

from math import log

from numba import carray
from numpy import float32, int64

from models_core.cpu_kernels.attention_bf16.head_rows import (
    PIECE,
    blocks_of,
    copy,
    copy_tokens,
    multiply,
    pair_up,
    transpose_panel,
    write,
)
from models_core.cpu_kernels.attention_bf16.vector_steps import clear, hide, taken, weigh
from models_core.cpu_kernels.compiler.intrinsics import floats, longs, own, share
from models_core.cpu_kernels.compiler.kernel import kernel, part
from models_core.cpu_kernels.compiler.matmul_tile import ROWS, WIDTH
from models_core.cpu_kernels.compiler.reductions import largest
from models_core.cpu_kernels.compiler.thread_team import RESERVED

ARGUMENTS = (
    "counter",
    "part_count",
    "parts",
    "seen",
    "pieces",
    "tokens",
    "group",        # G, query heads of a key head
    "heads",        # key heads
    "size",         # d
    "width",        # d in whole panels
    "capacity",     # most keys that a piece sees, in whole panels
    "scale",        # address of an fp32 number
    "query", "query_token", "query_head",  # address, and bytes from a token or a head to the next
    "key", "key_token", "key_head",
    "value", "value_token", "value_head",
    "out",          # [N, G heads, d] bf16
    "logarithms",   # [heads, N, G] fp32: of the sums of exponentials
    "scratch",
    "scratch_bytes",
)  # fmt: skip
(COUNTER, PART_COUNT, PARTS, SEEN, PIECES, TOKENS, GROUP, HEADS, SIZE, FULL, CAPACITY, SCALE, QUERY, QUERY_TOKEN,
 QUERY_HEAD, KEY, KEY_TOKEN, KEY_HEAD, VALUE, VALUE_TOKEN, VALUE_HEAD, OUT, LOGARITHMS, SCRATCH, SCRATCH_BYTES) = range(
    RESERVED, RESERVED + len(ARGUMENTS)
)  # fmt: skip
NUMBERS = RESERVED + len(ARGUMENTS)


@kernel
def attend(arguments):
    v = carray(arguments, (NUMBERS,))
    scratch = v[SCRATCH] + own(v)[0] * v[SCRATCH_BYTES]
    heads = v[HEADS]
    number = taken(v[COUNTER])
    while number < v[PART_COUNT] * heads:
        attend_part(v, longs(v[PARTS] + number // heads * 48), number % heads, scratch)
        number = taken(v[COUNTER])


@part
def attend_part(v, of_part, head, scratch):
    """One key head of all pieces of a part."""
    width, capacity = v[FULL], v[CAPACITY]
    matrix = capacity * width * 2
    keys, values, key_panels, value_panels, rest = (
        scratch, scratch + matrix, scratch + 2 * matrix, scratch + 3 * matrix, scratch + 4 * matrix
    )  # fmt: skip
    ahead = lay_seen(v, of_part, head, keys, values)
    laid = int64(0)
    for number in range(of_part[2], of_part[3]):
        piece = longs(v[PIECES] + number * 24)
        start, end = piece[0], piece[1]
        used = ahead + end - start
        lay(v, head, start, end, keys + ahead * width * 2, values + ahead * width * 2)
        panels = (used + WIDTH - 1) // WIDTH
        for place in range(used, panels * WIDTH):
            clear(keys + place * width * 2, width // WIDTH)
            clear(values + place * width * 2, width // WIDTH)
        for panel in range(laid, panels):
            transpose_panel(keys + panel * WIDTH * width * 2, width, key_panels + panel * WIDTH * width * 2)
        pair_up(values, width, laid * WIDTH // 2, panels * WIDTH // 2, value_panels, capacity // 2 * PIECE)
        laid = ahead // WIDTH  # the next piece's keys go where this one's are
        rows = (end - start) * v[GROUP]
        blocks = blocks_of(rows)
        for block in range(blocks):
            first, last = share(rows, block, blocks)
            attend_rows(v, head, start, ahead, first, last, key_panels, value_panels, rest)


@part
def lay_seen(v, of_part, head, keys, values):
    """Copy the keys and values that all pieces of a part see, end to end; returns of how many tokens they are."""
    ahead = int64(0)
    for number in range(of_part[0], of_part[1]):
        span = longs(v[SEEN] + number * 16)
        lay(v, head, span[0], span[1], keys + ahead * v[FULL] * 2, values + ahead * v[FULL] * 2)
        ahead += span[1] - span[0]
    return ahead


@part
def lay(v, head, start, end, keys, values):
    """Copy the keys and values of some tokens."""
    key, value = v[KEY] + head * v[KEY_HEAD], v[VALUE] + head * v[VALUE_HEAD]
    copy_tokens(key, v[KEY_TOKEN], start, end, v[SIZE], v[FULL], keys)
    copy_tokens(value, v[VALUE_TOKEN], start, end, v[SIZE], v[FULL], values)


@part
def attend_rows(v, head, start, ahead, first, last, key_panels, value_panels, scratch):
    """Rows `first` to `last`, at most 12, of the piece that begins at `start` and sees `ahead` tokens before itself."""
    size, width, capacity, group = v[SIZE], v[FULL], v[CAPACITY], v[GROUP]
    queries = scratch
    scores = queries + ROWS * width * 2
    weights = scores + capacity * ROWS * 4
    sums = weights + capacity * ROWS * 2
    rows = last - first
    for row in range(rows):
        token, one = start + (first + row) // group, head * group + (first + row) % group
        copy(v[QUERY] + token * v[QUERY_TOKEN] + one * v[QUERY_HEAD], size, width, queries + row * width * 2)
    visible = ahead + (last - 1) // group + 1
    panels = (visible + WIDTH - 1) // WIDTH
    for panel in range(panels):
        multiply(rows, queries, width * 2, key_panels + panel * WIDTH * width * 2, width // 2,
                 scores + panel * ROWS * PIECE)  # fmt: skip
    scale = floats(v[SCALE])[0]
    logarithms = floats(v[LOGARITHMS] + ((head * v[TOKENS] + start) * group + first) * 4)
    for row in range(rows):
        own_visible = ahead + (first + row) // group + 1
        for panel in range(own_visible // WIDTH, panels):
            hide(scores + (panel * ROWS + row) * PIECE, own_visible - panel * WIDTH)
        top = largest(scores + row * PIECE, panels, ROWS * PIECE) * scale
        sum_ = weigh(scores + row * PIECE, panels, ROWS * PIECE, scale, top, weights + row * capacity * 2)
        logarithms[row] = top + float32(log(sum_))
        floats(queries)[row] = float32(1) / sum_  # the queries have done their part
    factors = floats(queries)
    for panel in range(width // WIDTH):
        multiply(rows, weights, capacity * 2, value_panels + panel * (capacity // 2) * PIECE, (visible + 1) // 2,
                 sums + panel * ROWS * PIECE)  # fmt: skip
    for row in range(rows):
        token, one = start + (first + row) // group, head * group + (first + row) % group
        target = v[OUT] + (token * v[HEADS] * group + one) * size * 2
        write(sums + row * PIECE, ROWS * PIECE, factors[row], size, target)


def scratch_bytes(*, width: int, capacity: int) -> int:
    """What a thread needs."""
    return 4 * capacity * width * 2 + ROWS * (width * 6 + capacity * 6)
