"""Functions compiled on the machine they run on, for what plain PyTorch does in too many small steps.

availability.py   whether they can be used here: numba, and the processor's instructions
kernel.py         a Python function made into machine code, kept on disk for the next process
team.py           runs one on PyTorch's own threads
values.py         what kernels are written with: memory by address, bf16, exponentials
tile.py           a small block of a matrix product with the processor's bf16 instructions

Everything here is optional. Who uses a kernel has a plain way beside it, with the same result but for rounding, and
asks `availability` before importing the modules that import numba.
"""
