"""Runs a kernel on the threads that PyTorch computes with: a second pool would fight them for the same processors.

PyTorch's wheels for Linux bring GNU's OpenMP library, whose entry `GOMP_parallel` any function may go through (LLVM's
and Intel's libraries offer it too). Where it is not found, one thread does it all.

A kernel gets the address of 64-bit numbers. The first RESERVED are for `intrinsics.own`: how to ask which thread this
is, how many there are, and how to wait for the others; the rest are the caller's.
"""

import ctypes
from collections.abc import Sequence
from functools import cache

import numpy
import torch

from models_core.cpu_kernels.compiler.kernel import Kernel

RESERVED = 3


@cache
def _library() -> ctypes.CDLL | None:
    """The OpenMP library of this process, which PyTorch has loaded for everyone to see."""
    library = ctypes.CDLL(None)
    if not all(hasattr(library, name) for name in ("GOMP_parallel", "GOMP_barrier", "omp_get_thread_num")):
        return None
    library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    library.GOMP_parallel.restype = None
    return library


def _address(name: str) -> int:
    return ctypes.cast(getattr(_library(), name), ctypes.c_void_p).value or 0


class Call:
    """A kernel with its arguments: numbers, and addresses of memory that the caller keeps alive.

    `arguments` may be changed between two runs.
    """

    def __init__(self, kernel: Kernel, arguments: Sequence[int]) -> None:
        self.address = kernel.address
        self.numbers = numpy.zeros(RESERVED + len(arguments), dtype=numpy.int64)
        self.arguments = self.numbers[RESERVED:]
        self.arguments[:] = arguments
        self.alone = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)

    def run(self) -> None:
        """Returns when all threads are through."""
        library, threads = _library(), torch.get_num_threads()
        if library is None or threads == 1:
            self.numbers[:RESERVED] = 0, 1, 0
            self.alone(self.numbers.ctypes.data)
        else:
            self.numbers[:RESERVED] = _address("omp_get_thread_num"), threads, _address("GOMP_barrier")
            library.GOMP_parallel(self.address, self.numbers.ctypes.data, threads, 0)
