"""The gradients of `forward`: weights are computed again from queries, keys and the logarithms of their sums.

With P = exp(S scale - L), dP = dO V^T and D = the sum over a row of dO O, dS = P (dP - D); then dV = P^T dO,
dK = dS^T Q scale and dQ = dS K scale (Dao et al., 2205.14135, algorithm 4). Here keys are rows and queries are columns:
S^T = K Q^T comes out as the left-hand side of dV and dK, and dQ^T = K^T dS^T is taken from pairs of its rows.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

from numba import carray
from numpy import float32, int64

from models_core.cpu_kernels.attention_bf16 import forward_pass
from models_core.cpu_kernels.attention_bf16.forward_pass import (
    CAPACITY,
    COUNTER,
    FULL,
    GROUP,
    HEADS,
    LOGARITHMS,
    OUT,
    PART_COUNT,
    PARTS,
    PIECES,
    QUERY,
    QUERY_HEAD,
    QUERY_TOKEN,
    SCALE,
    SCRATCH,
    SCRATCH_BYTES,
    SIZE,
    TOKENS,
    lay,
    lay_seen,
)
from models_core.cpu_kernels.attention_bf16.head_rows import (
    PIECE,
    blocks_of,
    copy,
    multiply,
    pair_up,
    transpose_panel,
    write,
)
from models_core.cpu_kernels.attention_bf16.vector_steps import (
    SIDE,
    add,
    clear,
    errors,
    inner,
    move,
    separate,
    taken,
    transpose,
)
from models_core.cpu_kernels.compiler.intrinsics import floats, longs, own, share, wait
from models_core.cpu_kernels.compiler.kernel import kernel, part
from models_core.cpu_kernels.compiler.matmul_tile import ROWS, WIDTH, tile

MORE = (
    "gradient", "gradient_token", "gradient_head",
    "to_query",      # [N, G heads, d] bf16
    "to_key",        # [N, heads, d] bf16
    "to_value",      # likewise
    "sums",          # fp32: of some tokens for each head [2, width / 32, tokens, 32], keys' and values'
    "shared_count",
    "shared",
    "sources",
)  # fmt: skip
(GRADIENT, GRADIENT_TOKEN, GRADIENT_HEAD, TO_QUERY, TO_KEY, TO_VALUE, SUMS, SHARED_COUNT, SHARED, SOURCES) = range(
    forward_pass.NUMBERS, forward_pass.NUMBERS + len(MORE)
)  # fmt: skip
NUMBERS = forward_pass.NUMBERS + len(MORE)
PANELS = 4
"""Panels of queries that go over the keys together: what is added to a block of keys stays in the first cache."""
NEVER = float32(1e30)
"""The logarithm of a column without a query: its weights are nothing."""


@kernel
def propagate(arguments):
    v = carray(arguments, (NUMBERS,))
    thread, threads = own(v)
    scratch = v[SCRATCH] + thread * v[SCRATCH_BYTES]
    heads = v[HEADS]
    number = taken(v[COUNTER])
    while number < v[PART_COUNT] * heads:
        propagate_part(v, longs(v[PARTS] + number // heads * 48), number % heads, scratch)
        number = taken(v[COUNTER])
    wait(v)
    for number in range(v[SHARED_COUNT]):
        of_piece = longs(v[SHARED] + number * 32)
        first, last = share(of_piece[1] - of_piece[0], thread, threads)
        for head in range(heads):
            for token in range(first, last):
                gather(v, of_piece, head, token, scratch)


@part
def propagate_part(v, of_part, head, scratch):
    """One key head of all pieces of a part."""
    size, width, capacity = v[SIZE], v[FULL], v[CAPACITY]
    matrix = capacity * width * 2
    keys, values, transposed, to_keys = scratch, scratch + matrix, scratch + 2 * matrix, scratch + 3 * matrix
    to_values, rest = scratch + 5 * matrix, scratch + 7 * matrix
    ahead = lay_seen(v, of_part, head, keys, values)
    clear_sums(to_keys, capacity, width, int64(0), ahead)
    clear_sums(to_values, capacity, width, int64(0), ahead)
    laid = int64(0)
    for number in range(of_part[2], of_part[3]):
        piece = longs(v[PIECES] + number * 24)
        start, end = piece[0], piece[1]
        used = ahead + end - start
        lay(v, head, start, end, keys + ahead * width * 2, values + ahead * width * 2)
        whole = (used + SIDE - 1) // SIDE * SIDE
        for place in range(used, whole):
            clear(keys + place * width * 2, width // WIDTH)
            clear(values + place * width * 2, width // WIDTH)
        transpose_keys(keys, width, capacity, laid, whole, transposed, rest)
        laid = ahead // SIDE * SIDE  # the next piece's keys go where this one's are
        clear_sums(to_keys, capacity, width, ahead, used + used % 2)
        clear_sums(to_values, capacity, width, ahead, used + used % 2)
        panels = ((end - start) * v[GROUP] + WIDTH - 1) // WIDTH
        for first in range(0, panels, PANELS):
            propagate_panels(
                v, head, start, end, ahead, first, min(first + PANELS, panels), keys, values, transposed, to_keys,
                to_values, rest,
            )  # fmt: skip
        if piece[2] < 0:
            for token in range(start, end):
                place = ahead + token - start
                row = (token * v[HEADS] + head) * size * 2
                write(to_keys + place * PIECE, capacity * PIECE, floats(v[SCALE])[0], size, v[TO_KEY] + row)
                write(to_values + place * PIECE, capacity * PIECE, float32(1), size, v[TO_VALUE] + row)
        else:
            keep(v, piece[2], end - start, head, to_keys, to_values, ahead)
    if ahead:
        keep(v, of_part[4], ahead, head, to_keys, to_values, int64(0))


@part
def clear_sums(sums, capacity, width, first, last):
    for panel in range(width // WIDTH):
        if last > first:
            clear(sums + (panel * capacity + first) * PIECE, (last - first) * 2)


@part
def transpose_keys(keys, width, capacity, first, last, transposed, scratch):
    """Keys become columns: [capacity, width] -> [width, capacity], sixteen keys and as many pairs at a time."""
    for place in range(first, last, SIDE):
        for pair in range(0, width // 2, SIDE):
            transpose(keys + place * width * 2 + pair * 4, width * 2, scratch, SIDE * 4)
            for row in range(SIDE):
                low = transposed + (2 * (pair + row) * capacity + place) * 2
                separate(scratch + row * SIDE * 4, low, low + capacity * 2)


@part
def keep(v, place, tokens, head, to_keys, to_values, first):
    """Write the sums of some tokens, from `first` on, to memory for `gather`."""
    width = v[FULL]
    target = v[SUMS] + (place * v[HEADS] + head * tokens) * 2 * width * 4
    for panel in range(width // WIDTH):
        for kind in range(2):
            sums = to_values if kind else to_keys
            source = sums + (panel * v[CAPACITY] + first) * PIECE
            move(source, target + (kind * width + panel * WIDTH) * tokens * 4, tokens * 2)


@part
def gather(v, of_piece, head, token, scratch):
    """Add up what all parts have for one token of a piece that several see, in the order of its sources."""
    width = v[FULL]
    size = v[SIZE]
    row = ((of_piece[0] + token) * v[HEADS] + head) * size * 2
    for kind in range(2):
        clear(scratch, width // WIDTH * 2)
        for number in range(of_piece[2], of_piece[3]):
            source = longs(v[SOURCES] + number * 24)
            tokens = source[1]
            base = v[SUMS] + (source[0] * v[HEADS] + head * tokens) * 2 * width * 4 + kind * tokens * width * 4
            for panel in range(width // WIDTH):
                add(base + (panel * tokens + source[2] + token) * PIECE, scratch + panel * PIECE)
        if kind:
            write(scratch, PIECE, float32(1), size, v[TO_VALUE] + row)
        else:
            write(scratch, PIECE, floats(v[SCALE])[0], size, v[TO_KEY] + row)


@part
def propagate_panels(v, head, start, end, ahead, first, last, keys, values, transposed, to_keys, to_values, scratch):
    """Panels `first` to `last` of a piece's queries against all keys that they see."""
    size, width, capacity, group = v[SIZE], v[FULL], v[CAPACITY], v[GROUP]
    panel_bytes = WIDTH * width * 2
    queries, gradients = scratch, scratch + panel_bytes
    query_panels = gradients + panel_bytes
    gradient_panels = query_panels + PANELS * panel_bytes
    query_pairs = gradient_panels + PANELS * panel_bytes
    gradient_pairs = query_pairs + PANELS * panel_bytes
    logarithms = gradient_pairs + PANELS * panel_bytes
    along = logarithms + PANELS * PIECE
    changes = along + PANELS * PIECE  # dS, in pairs of keys
    rest = changes + PANELS * capacity * 2 * WIDTH
    rows = (end - start) * group
    for number in range(first, last):
        panel = number - first
        take(v, head, start, number * WIDTH, rows, queries, gradients, logarithms + panel * PIECE,
             along + panel * PIECE, rest)  # fmt: skip
        transpose_panel(queries, width, query_panels + panel * panel_bytes)
        transpose_panel(gradients, width, gradient_panels + panel * panel_bytes)
        pair_up(queries, width, 0, WIDTH // 2, query_pairs + panel * panel_bytes, WIDTH // 2 * PIECE)
        pair_up(gradients, width, 0, WIDTH // 2, gradient_pairs + panel * panel_bytes, WIDTH // 2 * PIECE)
    used = ahead + end - start
    pairs, blocks = (used + 1) // 2, blocks_of(used)
    for block in range(blocks):
        low, high = share(pairs, block, blocks)
        for number in range(first, last):
            if 2 * low < seen_by(number, rows, ahead, group):
                panel = number - first
                propagate_tile(
                    v, 2 * low, 2 * high, ahead, number * WIDTH, keys, values, query_panels + panel * panel_bytes,
                    gradient_panels + panel * panel_bytes, query_pairs + panel * panel_bytes,
                    gradient_pairs + panel * panel_bytes, logarithms + panel * PIECE, along + panel * PIECE,
                    changes + panel * (capacity // 2) * PIECE, to_keys, to_values, rest,
                )  # fmt: skip
    scale = floats(v[SCALE])[0]
    back = rest + width * PIECE
    blocks = blocks_of(width)
    for number in range(first, last):
        pairs = (seen_by(number, rows, ahead, group) + 1) // 2
        for block in range(blocks):
            low, high = share(width, block, blocks)
            multiply(high - low, transposed + low * capacity * 2, capacity * 2,
                     changes + (number - first) * (capacity // 2) * PIECE, pairs, rest + low * PIECE)  # fmt: skip
        for row in range(0, width, SIDE):
            for column in range(0, WIDTH, SIDE):
                transpose(rest + row * PIECE + column * 4, PIECE, back + column * width * 4 + row * 4, width * 4)
        for row in range(number * WIDTH, min(rows, (number + 1) * WIDTH)):
            token, one = start + row // group, head * group + row % group
            source = back + (row - number * WIDTH) * width * 4
            write(source, PIECE, scale, size, v[TO_QUERY] + (token * v[HEADS] * group + one) * size * 2)


@part
def seen_by(panel, rows, ahead, group):
    """How many keys the last query of a panel sees."""
    return ahead + (min(rows, (panel + 1) * WIDTH) - 1) // group + 1


@part
def take(v, head, start, first, rows, queries, gradients, logarithms, along, scratch):
    """A panel's queries and gradients of outputs, L and D of each; nothing where there are no more rows."""
    size, width, group = v[SIZE], v[FULL], v[GROUP]
    last = min(rows, first + WIDTH)
    kept = floats(v[LOGARITHMS] + (head * v[TOKENS] + start) * group * 4)
    of_column = floats(logarithms)
    for row in range(first, last):
        token, one = start + row // group, head * group + row % group
        column = row - first
        copy(v[QUERY] + token * v[QUERY_TOKEN] + one * v[QUERY_HEAD], size, width, queries + column * width * 2)
        place = v[GRADIENT] + token * v[GRADIENT_TOKEN] + one * v[GRADIENT_HEAD]
        copy(place, size, width, gradients + column * width * 2)
        copy(v[OUT] + (token * v[HEADS] * group + one) * size * 2, size, width, scratch)
        of_column[column] = kept[row]
        floats(along)[column] = inner(gradients + column * width * 2, scratch, width // WIDTH)
    for column in range(last - first, WIDTH):
        clear(queries + column * width * 2, width // WIDTH)
        clear(gradients + column * width * 2, width // WIDTH)
        of_column[column] = NEVER
        floats(along)[column] = float32(0)


@part
def propagate_tile(
    v, first, last, ahead, row, keys, values, query_panel, gradient_panel, query_pairs, gradient_pairs, logarithms,
    along, pairs, to_keys, to_values, scratch,
):  # fmt: skip
    """Keys `first` to `last`, both even, against the panel whose first column is the piece's row number `row`."""
    width, capacity, group = v[FULL], v[CAPACITY], v[GROUP]
    weights, changes = scratch, scratch + ROWS * PIECE  # P and dP
    left_weights, left_changes = changes + ROWS * PIECE, changes + ROWS * PIECE + ROWS * WIDTH * 2  # in bf16
    count = last - first
    multiply(count, keys + first * width * 2, width * 2, query_panel, width // 2, weights)
    multiply(count, values + first * width * 2, width * 2, gradient_panel, width // 2, changes)
    scale = floats(v[SCALE])[0]
    for key in range(0, count, 2):
        hidden = (first + key - ahead) * group - row
        errors(
            weights + key * PIECE, changes + key * PIECE, logarithms, along, scale, hidden, group,
            left_weights + key * WIDTH * 2, left_changes + key * WIDTH * 2, pairs + (first + key) // 2 * PIECE,
        )  # fmt: skip
    for panel in range(width // WIDTH):
        place, begin = (panel * capacity + first) * PIECE, panel * (WIDTH // 2) * PIECE
        tile(count, left_weights, WIDTH * 2, gradient_pairs + begin, WIDTH // 2, to_values + place, query_pairs)
        tile(count, left_changes, WIDTH * 2, query_pairs + begin, WIDTH // 2, to_keys + place, query_pairs)


def scratch_bytes(*, width: int, capacity: int) -> int:
    """What a thread needs."""
    matrices = 7 * capacity * width * 2
    panels = (2 + 4 * PANELS) * WIDTH * width * 2 + 2 * PANELS * PIECE
    errors = PANELS * capacity * 2 * WIDTH
    last = max(2 * width * PIECE, 3 * ROWS * PIECE)
    return matrices + panels + errors + last
