"""Memory that kernels read: it begins on a line of the processor's cache, and large parts come in large pages."""

import mmap

import torch
from torch import Tensor

LINE = 64
"""Bytes of a line of the processor's cache."""
LARGE = 2**22
"""From so many bytes on, the system is asked for pages of 2 MB: with those of 4 KB looking up addresses takes longer
than reading what is there."""


def aligned(size: int, *, dtype: torch.dtype) -> Tensor:
    """So many zeros: [size]. The system gives memory only for what is written."""
    needed = size * dtype.itemsize
    if needed < LARGE:
        memory = torch.zeros(needed + LINE, dtype=torch.uint8)
        skipped = -memory.data_ptr() % LINE
        return memory[skipped : skipped + needed].view(dtype)
    pages = mmap.mmap(-1, needed)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype)
