"""Kernels for the tests of how kernels are compiled, kept and run: numba reads their source from a file."""
# mypy: ignore-errors

from numba import carray

from models_core.cpu_kernels.compiler.intrinsics import exponential, floats, longs, narrow, own, share, wait, wide
from models_core.cpu_kernels.compiler.kernel import kernel
from models_core.cpu_kernels.compiler.reductions import largest, squares, total
from models_core.cpu_kernels.compiler.thread_team import RESERVED


def convert(arguments):
    """Numbers -> exponentials, numbers rounded to bf16 and back, and which thread did each."""
    values = carray(arguments, (RESERVED + 5,))
    thread, threads = own(values)
    numbers, powers, rounded = floats(values[RESERVED]), floats(values[RESERVED + 1]), floats(values[RESERVED + 2])
    who = longs(values[RESERVED + 3])
    first, last = share(values[RESERVED + 4], thread, threads)
    for place in range(first, last):
        powers[place] = exponential(numbers[place])
        rounded[place] = wide(narrow(numbers[place]))
        who[place] = thread


@kernel
def reduce(arguments):
    """Sum, sum of squares and maximum of blocks of 32, after all threads have doubled their part of them."""
    values = carray(arguments, (RESERVED + 3,))
    thread, threads = own(values)
    numbers, out = floats(values[RESERVED]), floats(values[RESERVED + 1])
    blocks = values[RESERVED + 2]
    first, last = share(blocks * 32, thread, threads)
    for place in range(first, last):
        numbers[place] *= 2
    wait(values)
    if thread == 0:
        out[0] = total(values[RESERVED], blocks, 128)
        out[1] = squares(values[RESERVED], blocks, 128)
        out[2] = largest(values[RESERVED], blocks, 128)
