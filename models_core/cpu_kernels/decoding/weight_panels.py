"""Weight matrices in the order in which `matmul_tile` reads them."""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

from collections.abc import Sequence

import torch
from numba import carray
from torch import Tensor

from models_core.cpu_kernels.compiler.aligned_memory import aligned
from models_core.cpu_kernels.compiler.intrinsics import own, share, words
from models_core.cpu_kernels.compiler.kernel import kernel
from models_core.cpu_kernels.compiler.matmul_tile import WIDTH
from models_core.cpu_kernels.compiler.thread_team import RESERVED, Call


@kernel
def reorder(arguments):
    """Rows of a matrix become columns of panels, of which only each `step`-th is written."""
    values = carray(arguments, (RESERVED + 6,))
    thread, threads = own(values)
    source, target = words(values[RESERVED]), words(values[RESERVED + 1])
    rows, pairs = values[RESERVED + 2], values[RESERVED + 3]
    offset, step = values[RESERVED + 4], values[RESERVED + 5]
    first, last = share((rows + WIDTH - 1) // WIDTH, thread, threads)
    for panel in range(first, last):
        start = (offset + panel * step) * pairs * WIDTH
        columns = min(WIDTH, rows - panel * WIDTH)
        for near in range(0, pairs, 16):  # a line of each row at a time
            for column in range(columns):
                begin = (panel * WIDTH + column) * pairs
                for pair in range(near, min(near + 16, pairs)):
                    target[start + pair * WIDTH + column] = source[begin + pair]


def panels(weights: Sequence[Tensor], *, alternating: bool = False) -> Tensor:
    """The matrices' outputs side by side, in panels; `alternating`: one panel of each in turn.

    weights: bf16 [outputs, inputs] each, inputs even; each but the last has whole panels of outputs. A last panel that
    is not full is filled with zeros.
    """
    inputs = weights[0].shape[1]
    counts = [-(-weight.shape[0] // WIDTH) for weight in weights]
    memory = aligned(sum(counts) * WIDTH * inputs, dtype=torch.bfloat16)
    offset = 0
    for number, (weight, count) in enumerate(zip(weights, counts, strict=True)):
        weight = weight.detach().contiguous()
        place, step = (number, len(weights)) if alternating else (offset, 1)
        Call(reorder, [weight.data_ptr(), memory.data_ptr(), weight.shape[0], inputs // 2, place, step]).run()
        offset += count
    return memory
