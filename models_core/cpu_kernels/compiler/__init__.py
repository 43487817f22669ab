"""Functions compiled on the machine they run on, for what plain PyTorch does in too many small steps.

availability.py    what they lack here, if anything: numba, the processor's instructions
kernel.py          a Python function made into machine code, kept on disk for the next process
thread_team.py     runs one on PyTorch's own threads
intrinsics.py      what kernels are written with: memory by address, bf16, exponentials
reductions.py      sums and maxima in vectors, always in the same order
matmul_tile.py     a small block of a matrix product with the processor's bf16 instructions
aligned_memory.py  memory that begins on a cache line, in large pages
"""
