"""Rows of logits turned into probabilities minus one at the chosen token, in one visit of each row.

N rows of V logits in bf16. A row is widened into its thread's scratch, so that its maximum, its sum and its errors are
computed in fp32 from the processor's own cache.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

import math

import torch
from numba import carray
from numpy import float32
from torch import Tensor

from models_core.cpu_kernels.compiler.intrinsics import exponential, floats, halves, longs, narrow, own, share, wide
from models_core.cpu_kernels.compiler.kernel import kernel
from models_core.cpu_kernels.compiler.reductions import BLOCK, largest, total
from models_core.cpu_kernels.compiler.thread_team import RESERVED, Call

LOGITS, TOKENS, CHOSEN, SCRATCH, ROWS, WIDTH, PADDED, INVERSE, WRITES = range(RESERVED, RESERVED + 9)
SIZE = RESERVED + 9


@kernel
def _softmax(arguments):
    v = carray(arguments, (SIZE,))
    thread, threads = own(v)
    width, padded, writes = v[WIDTH], v[PADDED], v[WRITES]
    tokens, chosen = longs(v[TOKENS]), floats(v[CHOSEN])
    inverse = floats(v[INVERSE])[0]
    place = v[SCRATCH] + thread * padded * 4
    row = floats(place)
    first, last = share(v[ROWS], thread, threads)
    for number in range(first, last):
        logits = halves(v[LOGITS] + number * width * 2)
        for column in range(width):
            row[column] = wide(logits[column]) * inverse
        for column in range(width, padded):
            row[column] = float32(-math.inf)
        most = largest(place, padded // BLOCK, BLOCK * 4)
        of_token = row[tokens[number]] - most
        for column in range(padded):
            row[column] = exponential(row[column] - most)
        sum_ = total(place, padded // BLOCK, BLOCK * 4)
        chosen[number] = of_token - float32(math.log(sum_))
        if writes:
            part_of_sum = float32(1) / sum_
            row[tokens[number]] -= sum_  # before the rounding: at the token a probability may be nearly 1
            for column in range(width):
                logits[column] = narrow(row[column] * part_of_sum)


KERNELS = (_softmax,)


def softmax_errors(
    logits: Tensor, tokens: Tensor, *, temperature: float, wants_error: bool
) -> tuple[Tensor, Tensor | None]:
    """log softmax(logits / T) at the tokens, and softmax minus one at the token: bf16 [N, V], [N] -> fp32 [N], [N, V].

    The errors take the place of the logits. Both tensors are contiguous.
    """
    rows, width = logits.shape
    padded = -(-width // BLOCK) * BLOCK
    scratch = torch.empty(torch.get_num_threads(), padded)
    chosen = torch.empty(rows)
    inverse = torch.tensor([1 / temperature])
    memory = (tensor.data_ptr() for tensor in (logits, tokens, chosen, scratch))
    Call(_softmax, [*memory, rows, width, padded, inverse.data_ptr(), wants_error]).run()
    return chosen, logits if wants_error else None
