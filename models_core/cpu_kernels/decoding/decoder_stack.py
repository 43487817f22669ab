"""The kernel of a forward pass: all steps of a Llama-shaped decoder for some tokens, threads meeting between them.

Which steps, in which order and over which weights is a table (`layer_steps`): this kernel goes through it.

N tokens, D width, Q query heads and H key heads of size S, G = Q / H, I inner width. The tokens may be one a row, or
all those of some prompts: each has a page and a slot in it to write its keys and values to, and sees the first `seen`
places of a list of pages (see `paged_cache`). Attention goes by items: neighbouring tokens of one list, as fit a tile.

The sum that runs through the layers (`hidden`) and everything inside a part are fp32; what a product reads is rounded
to bf16, and nothing else is.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

from math import sqrt

from numba import carray
from numpy import float32, int64, uint32

from models_core.cpu_kernels.compiler.aligned_memory import LINE
from models_core.cpu_kernels.compiler.intrinsics import (
    exponential,
    fetch,
    floats,
    halves,
    longs,
    narrow,
    own,
    share,
    wait,
    words,
)
from models_core.cpu_kernels.compiler.kernel import kernel, part
from models_core.cpu_kernels.compiler.matmul_tile import ROWS, WIDTH, tile
from models_core.cpu_kernels.compiler.reductions import largest, squares, total
from models_core.cpu_kernels.compiler.thread_team import RESERVED

ARGUMENTS = (
    "steps",        # [step_count, len(FIELDS)]
    "step_count",
    "query_heads", "key_heads", "size",
    "constants",    # fp32: epsilon of the norms, scale of attention's scores
    "cosines",      # [positions, S / 2] fp32
    "sines",        # likewise
    "tokens",       # N
    "cache",        # the first layer's pages
    "layer_bytes",  # from one layer's pages to the next one's
    "states",       # [N, max(D, Q S)] bf16
    "heads",        # [N, (Q + 2 H) S] fp32
    "positions",    # [N]
    "seen",         # [N]
    "pages",        # [N], the page that each token is written to
    "slots",        # [N], the place in it
    "items",        # [item_count, 3]: first token, how many, list of pages
    "item_count",
    "lists",        # [lists, entries] pages
    "counts",       # [lists, entries] places in use of each
    "entries",
    "scratch",      # `scratch_bytes` a thread
    "scratch_bytes",
)  # fmt: skip
"""The kernel's arguments in their order; arrays without a type are of int64."""
FIELDS = ("kind", "source", "inputs", "weight", "bias", "second", "outputs", "target")
"""What a step is made of: its kind, addresses and numbers of what it reads and writes.

RMS_NORM    source [N, inputs] fp32, weight -> target bf16
LINEAR      source [N, inputs] bf16, weight in panels, bias -> target [N, outputs] fp32
ADD_LINEAR  likewise, added to what stands in target
ATTENTION   weight and second: of the norms of queries and keys; inputs: the layer. In place: `heads` -> `states`
SWIGLU      source [N, inputs] bf16, weight in panels of gate and up in turn, bias and second of both -> target bf16
Weights of norms and biases are fp32, 0 where there are none.
"""
RMS_NORM, LINEAR, ADD_LINEAR, ATTENTION, SWIGLU = range(5)

(STEPS, STEP_COUNT, Q, H, S, CONSTANTS, COSINES, SINES, TOKENS, CACHE, LAYER_BYTES, STATES, HEADS, POSITIONS, SEEN,
 PAGES, SLOTS, ITEMS, ITEM_COUNT, LISTS, COUNTS, ENTRIES, SCRATCH, SCRATCH_BYTES) = range(
    RESERVED, RESERVED + len(ARGUMENTS)
)  # fmt: skip
KIND, SOURCE, INPUTS, WEIGHT, BIAS, SECOND, OUTPUTS, TARGET = range(len(FIELDS))
NUMBERS, STEP_BYTES = RESERVED + len(ARGUMENTS), 8 * len(FIELDS)
PIECE = 4 * WIDTH
"""Bytes of a row of a block of sums."""
SUMS = ROWS * PIECE
NOTHING = float32(-float("inf"))


@kernel
def stack(arguments):
    """Every step of the table, one after the other."""
    values = carray(arguments, (NUMBERS,))
    thread, threads = own(values)
    tokens, epsilon = values[TOKENS], floats(values[CONSTANTS])[0]
    scratch = values[SCRATCH] + thread * values[SCRATCH_BYTES]
    for number in range(values[STEP_COUNT]):
        step = longs(values[STEPS] + number * STEP_BYTES)
        kind, source, inputs, weight, bias = step[KIND], step[SOURCE], step[INPUTS], step[WEIGHT], step[BIAS]
        outputs, target = step[OUTPUTS], step[TARGET]
        if kind == RMS_NORM:
            normalise(thread, threads, tokens, inputs, source, weight, epsilon, target)
        elif kind == LINEAR:
            multiply(thread, threads, tokens, source, inputs, weight, bias, outputs, target, False, scratch)
        elif kind == ADD_LINEAR:
            multiply(thread, threads, tokens, source, inputs, weight, bias, outputs, target, True, scratch)
        elif kind == ATTENTION:
            cache = values[CACHE] + inputs * values[LAYER_BYTES]
            apply_rope(values, thread, threads, weight, step[SECOND], cache, epsilon)
            wait(values)
            attend(values, thread, threads, cache, scratch)
        elif kind == SWIGLU:
            gate(thread, threads, tokens, source, inputs, weight, bias, step[SECOND], outputs, target, scratch)
        wait(values)


@part
def normalise(thread, threads, tokens, width, hidden, weight, epsilon, states):
    """RMS norm (Zhang and Sennrich, 1910.07467): [N, D] fp32 -> [N, D] bf16."""
    first, last = share(tokens, thread, threads)
    scales = floats(weight)
    for token in range(first, last):
        row, out = floats(hidden + token * width * 4), halves(states + token * width * 2)
        factor = root(hidden + token * width * 4, width, epsilon)
        for place in range(width):
            out[place] = narrow(row[place] * factor * scales[place])


@part
def root(row, width, epsilon):
    """1 / sqrt(mean(x^2) + epsilon) of `width` numbers, a multiple of 32."""
    return float32(1) / float32(sqrt(squares(row, width // 32, 128) / float32(width) + epsilon))


@part
def blocks_of(tokens):
    """In how many blocks of nearly equal size the tokens go through a product."""
    return (tokens + ROWS - 1) // ROWS


@part
def block(rows, left, stride, panel, pairs, number, bias, columns, sums):
    """The sums of a block of rows and a panel, from the bias on, while the next panel is fetched."""
    start = floats(sums)
    for row in range(rows):
        for column in range(WIDTH):
            start[row * WIDTH + column] = float32(0)
    if bias != 0:
        begin = floats(bias)
        for row in range(rows):
            for column in range(columns):
                start[row * WIDTH + column] = begin[column]
    ahead = panel + pairs * WIDTH * 4 + (number & 1) * pairs * LINE
    tile(rows, left, stride, panel, pairs, sums, ahead)


@part
def multiply(thread, threads, tokens, states, inputs, panels, bias, outputs, out, adds, scratch):
    """[N, inputs] bf16 by panels -> [N, outputs] fp32, put or added to what is there."""
    pairs, blocks = inputs // 2, blocks_of(tokens)
    first, last = share((outputs + WIDTH - 1) // WIDTH, thread, threads)
    sums = floats(scratch)
    for panel in range(first, last):
        begin = panel * WIDTH
        columns = min(WIDTH, outputs - begin)
        biases = bias + begin * 4 if bias != 0 else int64(0)
        for number in range(blocks):
            start, stop = share(tokens, number, blocks)
            block(
                stop - start, states + start * inputs * 2, inputs * 2, panels + panel * pairs * WIDTH * 4, pairs,
                number, biases, columns, scratch,
            )  # fmt: skip
            for row in range(stop - start):
                target = floats(out + ((start + row) * outputs + begin) * 4)
                if adds:
                    for column in range(columns):
                        target[column] += sums[row * WIDTH + column]
                else:
                    for column in range(columns):
                        target[column] = sums[row * WIDTH + column]


@part
def gate(thread, threads, tokens, states, inputs, panels, gate_bias, up_bias, outputs, out, scratch):
    """silu(gate(x)) * up(x) (Shazeer 2020, 2002.05202), panels of both in turn: [N, inputs] bf16 -> [N, I] bf16."""
    pairs, blocks = inputs // 2, blocks_of(tokens)
    panel_bytes = pairs * WIDTH * 4
    first, last = share(outputs // WIDTH, thread, threads)
    gates, ups = floats(scratch), floats(scratch + SUMS)
    for panel in range(first, last):
        begin = panel * WIDTH
        gate_biases = gate_bias + begin * 4 if gate_bias != 0 else int64(0)
        up_biases = up_bias + begin * 4 if up_bias != 0 else int64(0)
        here = panels + 2 * panel * panel_bytes
        for number in range(blocks):
            start, stop = share(tokens, number, blocks)
            left = states + start * inputs * 2
            block(stop - start, left, inputs * 2, here, pairs, number, gate_biases, WIDTH, scratch)
            block(stop - start, left, inputs * 2, here + panel_bytes, pairs, number, up_biases, WIDTH, scratch + SUMS)
            for row in range(stop - start):
                target = halves(out + ((start + row) * outputs + begin) * 2)
                for column in range(WIDTH):
                    one = gates[row * WIDTH + column]
                    target[column] = narrow(one / (float32(1) + exponential(-one)) * ups[row * WIDTH + column])


@part
def apply_rope(values, thread, threads, query_norm, key_norm, cache, epsilon):
    """Apply RoPE to queries and keys (Su et al., 2104.09864), and write keys and values to their pages.

    The rotated queries become `states`: [N, Q S] bf16. A page of a key head has S x 32 numbers of keys, pairs of
    dimensions in a panel of places, and as many of values, panels of dimensions by pairs of places.
    """
    queries, keys, size = values[Q], values[H], values[S]
    half, heads = size // 2, queries + 2 * keys
    positions, pages, slots = longs(values[POSITIONS]), longs(values[PAGES]), longs(values[SLOTS])
    first, last = share(values[TOKENS], thread, threads)
    for token in range(first, last):
        cosines = floats(values[COSINES] + positions[token] * half * 4)
        sines = floats(values[SINES] + positions[token] * half * 4)
        slot = slots[token]
        for head in range(heads):
            place = values[HEADS] + (token * heads + head) * size * 4
            one, other = floats(place), floats(place + half * 4)
            if head < queries + keys:
                weight = query_norm if head < queries else key_norm
                if weight != 0:
                    factor, scales = root(place, size, epsilon), floats(weight)
                    for dimension in range(size):
                        one[dimension] = one[dimension] * factor * scales[dimension]
                for dimension in range(half):
                    left, right = one[dimension], other[dimension]
                    one[dimension] = left * cosines[dimension] - right * sines[dimension]
                    other[dimension] = right * cosines[dimension] + left * sines[dimension]
            if head < queries:
                out = halves(values[STATES] + (token * queries + head) * size * 2)
                for dimension in range(size):
                    out[dimension] = narrow(one[dimension])
            elif head < queries + keys:
                page = words(cache + page_start(pages[token], head - queries, keys, size))
                for pair in range(half):
                    low, high = narrow(one[2 * pair]), narrow(one[2 * pair + 1])
                    page[pair * WIDTH + slot] = uint32(low) | (uint32(high) << uint32(16))
            else:
                page = halves(cache + page_start(pages[token], head - queries - keys, keys, size) + WIDTH * size * 2)
                for panel in range(size // WIDTH):
                    begin = (panel * (WIDTH // 2) + slot // 2) * WIDTH * 2 + slot % 2
                    for column in range(WIDTH):
                        page[begin + 2 * column] = narrow(one[panel * WIDTH + column])


@part
def page_start(page, head, heads, size):
    """Where a key head's part of a page begins in a layer's pages, in bytes."""
    return (page * heads + head) * 2 * WIDTH * size * 2


@part
def attend(values, thread, threads, cache, scratch):
    """softmax(q k) v over what each token sees, in place of the queries: `states`, [N, Q S] bf16.

    Threads take items by turns: neighbouring items are about as long as each other.
    """
    heads = values[H]
    count = values[ITEM_COUNT] * heads
    for number in range(thread, count, threads):
        following = number + threads
        if following < count:
            fetch_item(values, following // heads, following % heads, cache)
        attend_item(values, number // heads, number % heads, cache, scratch)


@part
def fetch_item(values, item, head, cache):
    """Let what an item sees come from memory while the one before it is computed."""
    size, heads = values[S], values[H]
    of_item = longs(values[ITEMS] + item * 24)
    begin = of_item[2] * values[ENTRIES] * 8
    pages, counts = longs(values[LISTS] + begin), longs(values[COUNTS] + begin)
    left = longs(values[SEEN])[of_item[0] + of_item[1] - 1]
    used = 0
    while left > 0:
        fetch(cache + page_start(pages[used], head, heads, size), 2 * WIDTH * size * 2)
        left -= counts[used]
        used += 1


@part
def attend_item(values, item, head, cache, scratch):
    """A key head's queries of an item's tokens: their scores page by page, weights, and sums of values.

    In scratch, for R rows (tokens x G): queries [R, S] bf16, out [S / 32, R, 32] fp32, scores [pages, R, 32] fp32,
    whose place the weights take as bf16: [pages, R, 32] behind them.
    """
    size, heads = values[S], values[H]
    group = values[Q] // heads
    of_item = longs(values[ITEMS] + item * 24)
    first, rows = of_item[0], of_item[1] * group
    pages, counts = (
        longs(values[LISTS] + of_item[2] * values[ENTRIES] * 8),
        longs(values[COUNTS] + of_item[2] * values[ENTRIES] * 8),
    )
    seen = longs(values[SEEN] + first * 8)
    queries = scratch
    sums = queries + rows * size * 2
    sums += -sums & (LINE - 1)
    scores = sums + rows * size * 4
    for row in range(rows):
        place = first * values[Q] + head * group + (row // group) * values[Q] + row % group
        source, target = words(values[STATES] + place * size * 2), words(queries + row * size * 2)
        for pair in range(size // 2):
            target[pair] = source[pair]
    visible = seen[of_item[1] - 1]
    used, covered = int64(0), int64(0)
    while covered < visible:
        panel = cache + page_start(pages[used], head, heads, size)
        out = floats(scores + used * rows * PIECE)
        for place in range(rows * WIDTH):
            out[place] = float32(0)
        tiles(rows, queries, size * 2, panel, size // 2, scores + used * rows * PIECE)
        for row in range(rows):
            for place in range(max(int64(0), min(counts[used], seen[row // group] - covered)), WIDTH):
                out[row * WIDTH + place] = NOTHING
        covered += counts[used]
        used += 1
    weights = scores + used * rows * PIECE
    scale = floats(values[CONSTANTS])[1]
    factors = floats(queries)  # the queries have done their part
    for row in range(rows):
        top = largest(scores + row * PIECE, used, rows * PIECE) * scale
        for page in range(used):
            one, out = floats(scores + (page * rows + row) * PIECE), halves(weights + (page * rows + row) * WIDTH * 2)
            for place in range(WIDTH):
                one[place] = exponential(one[place] * scale - top)
                out[place] = narrow(one[place])
        factors[row] = float32(1) / total(scores + row * PIECE, used, rows * PIECE)
    out = floats(sums)
    for place in range(rows * size):
        out[place] = float32(0)
    covered = 0
    for page in range(used):
        begin = cache + page_start(pages[page], head, heads, size) + WIDTH * size * 2
        pairs = (min(counts[page], visible - covered) + 1) // 2
        for panel in range(size // WIDTH):
            tiles(
                rows, weights + page * rows * WIDTH * 2, WIDTH * 2, begin + panel * WIDTH * WIDTH * 2, pairs,
                sums + panel * rows * PIECE,
            )  # fmt: skip
        covered += counts[page]
    for row in range(rows):
        place = first * values[Q] + head * group + (row // group) * values[Q] + row % group
        target = halves(values[STATES] + place * size * 2)
        for panel in range(size // WIDTH):
            for column in range(WIDTH):
                target[panel * WIDTH + column] = narrow(out[(panel * rows + row) * WIDTH + column] * factors[row])


@part
def tiles(rows, left, stride, panel, pairs, sums):
    """`tile` for any number of rows."""
    for start in range(0, rows, ROWS):
        tile(min(ROWS, rows - start), left + start * stride, stride, panel, pairs, sums + start * PIECE, panel)


def scratch_bytes(*, rows: int, size: int, pages: int) -> int:
    """What a thread needs: for a block of two products, or for an item of `rows` query rows over so many pages."""
    attention = rows * size * 2 + LINE + rows * size * 4 + pages * rows * WIDTH * 6
    return -(-max(2 * SUMS, attention) // LINE) * LINE
