"""The kernels of the last layer: the final norm, the product with the vocabulary, and drawing a token from it.

A draw never writes the logits down. While a panel's sums are in registers' reach, their maximum and the sum of their
exponentials are kept, two numbers for 32 tokens; the panel in which a row's running sum passes its random number is
found from those, and its 32 logits are computed once more.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

from math import log

from numba import carray
from numpy import float32, int64

from models_core.cpu_kernels.compiler.intrinsics import doubles, exponential, floats, longs, own, share, wait
from models_core.cpu_kernels.compiler.kernel import kernel, part
from models_core.cpu_kernels.compiler.matmul_tile import WIDTH
from models_core.cpu_kernels.compiler.reductions import largest, total
from models_core.cpu_kernels.compiler.thread_team import RESERVED
from models_core.cpu_kernels.decoding.decoder_stack import NOTHING, PIECE, block, blocks_of, multiply, normalise

ARGUMENTS = (
    "tokens",       # N
    "width",        # D
    "vocabulary",   # V
    "hidden",       # [N, D] fp32
    "weight",       # of the norm: [D] fp32
    "epsilon",      # of the norm: fp32
    "states",       # [N, D] bf16
    "panels",
    "bias",         # [V] fp32, or 0
    "logits",       # [N, V] fp32: written by `logits`
    "scratch",      # `scratch_bytes` a thread
    "scratch_bytes",
    "tops",         # [N, panels] fp32: each panel's largest score
    "exp_sums",     # [N, panels] fp32: the sums of exp(score - top)
    "uniforms",     # [N] fp64 in [0, 1)
    "inv_temperature",  # fp32: 1 / temperature, or 0 for the likeliest token
    "sampled",      # [N]: written by `sample`
    "logprobs",     # [N] fp64: written by `sample`
)  # fmt: skip
"""The kernels' arguments in their order; arrays without a type are of int64. A score: logit x inv_temperature."""

(TOKENS, D, V, HIDDEN, WEIGHT, EPSILON, STATES, PANELS, BIAS, LOGITS, SCRATCH, SCRATCH_BYTES, TOPS, EXP_SUMS, UNIFORMS,
 INV_TEMPERATURE, SAMPLED, LOGPROBS) = range(RESERVED, RESERVED + len(ARGUMENTS))  # fmt: skip
NUMBERS = RESERVED + len(ARGUMENTS)


@kernel
def logits(arguments):
    """[N, D] -> [N, V]."""
    values = carray(arguments, (NUMBERS,))
    thread, threads = own(values)
    scratch = values[SCRATCH] + thread * values[SCRATCH_BYTES]
    normalised(values, thread, threads)
    wait(values)
    multiply(
        thread, threads, values[TOKENS], values[STATES], values[D], values[PANELS], values[BIAS], values[V],
        values[LOGITS], False, scratch,
    )  # fmt: skip


@part
def normalised(values, thread, threads):
    """The final norm."""
    epsilon = floats(values[EPSILON])[0]
    normalise(thread, threads, values[TOKENS], values[D], values[HIDDEN], values[WEIGHT], epsilon, values[STATES])


@kernel
def sample(arguments):
    """[N, D] -> a token each and its log-probability, by inverting the cumulative distribution at `uniforms`."""
    values = carray(arguments, (NUMBERS,))
    thread, threads = own(values)
    scratch = values[SCRATCH] + thread * values[SCRATCH_BYTES]
    normalised(values, thread, threads)
    wait(values)
    weigh(values, thread, threads, scratch)
    wait(values)
    first, last = share(values[TOKENS], thread, threads)
    for token in range(first, last):
        choose(values, token, scratch)


@part
def scores(values, start, stop, panel, number, sums):
    """The scores of some tokens in a panel: fp32 [rows, 32], minus infinity beyond the vocabulary."""
    pairs, begin = values[D] // 2, panel * WIDTH
    columns = min(WIDTH, values[V] - begin)
    bias = values[BIAS] + begin * 4 if values[BIAS] != 0 else int64(0)
    left = values[STATES] + start * values[D] * 2
    block(
        stop - start,
        left,
        values[D] * 2,
        values[PANELS] + panel * pairs * WIDTH * 4,
        pairs,
        number,
        bias,
        columns,
        sums,
    )
    inv_temperature, out = floats(values[INV_TEMPERATURE])[0], floats(sums)
    if inv_temperature != float32(1) and inv_temperature != float32(0):
        for place in range((stop - start) * WIDTH):
            out[place] *= inv_temperature
    for row in range(stop - start):
        for column in range(columns, WIDTH):
            out[row * WIDTH + column] = NOTHING


@part
def weigh(values, thread, threads, scratch):
    """Each panel's largest score and mass, for every token."""
    tokens = values[TOKENS]
    panels, blocks = (values[V] + WIDTH - 1) // WIDTH, blocks_of(tokens)
    tops, exp_sums, out = floats(values[TOPS]), floats(values[EXP_SUMS]), floats(scratch)
    first, last = share(panels, thread, threads)
    for panel in range(first, last):
        for number in range(blocks):
            start, stop = share(tokens, number, blocks)
            scores(values, start, stop, panel, number, scratch)
            for row in range(stop - start):
                top = largest(scratch + row * PIECE, 1, PIECE)
                for column in range(WIDTH):
                    out[row * WIDTH + column] = exponential(out[row * WIDTH + column] - top)
                tops[(start + row) * panels + panel] = top
                exp_sums[(start + row) * panels + panel] = total(scratch + row * PIECE, 1, PIECE)


@part
def choose(values, token, scratch):
    """The token at which the running sum of a row's probabilities passes its number; the likeliest at temperature 0."""
    panels, out = (values[V] + WIDTH - 1) // WIDTH, floats(scratch)
    tops, exp_sums = floats(values[TOPS] + token * panels * 4), floats(values[EXP_SUMS] + token * panels * 4)
    is_greedy = floats(values[INV_TEMPERATURE])[0] == float32(0)
    found, exp_sum = int64(0), 0.0
    for panel in range(panels):
        if tops[panel] > tops[found]:
            found = panel
    top = tops[found]
    for panel in range(panels):
        exp_sums[panel] *= exponential(tops[panel] - top)
    for panel in range(panels):
        exp_sum += exp_sums[panel]
    aim = 0.0 if is_greedy else doubles(values[UNIFORMS])[token] * exp_sum
    if not is_greedy:
        running, before = 0.0, 0.0
        for panel in range(panels):
            if exp_sums[panel] > 0.0:
                found, before = panel, running
                running += exp_sums[panel]
                if running > aim:
                    break
        aim -= before
    scores(values, token, token + 1, found, 0, scratch)
    chosen, running = int64(0), 0.0
    for column in range(WIDTH):
        if is_greedy:
            if out[column] > out[chosen]:
                chosen = column
        else:
            weight = exponential(out[column] - top)
            if weight > 0.0:
                chosen = column
                running += weight
                if running > aim:
                    break
    longs(values[SAMPLED])[token] = found * WIDTH + chosen
    doubles(values[LOGPROBS])[token] = float(out[chosen]) - float(top) - log(exp_sum)
