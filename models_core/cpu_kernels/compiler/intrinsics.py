"""What kernels are written with: memory by address, threads, bf16 by its bits, and exponentials.

Nothing here lets the compiler reorder sums or fuse what was written apart, so that a number does not depend on where it
stands in a row or which thread computes it.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

import math

import numpy
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from models_core.cpu_kernels.compiler.kernel import part

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()


@intrinsic
def floats(typing, address):
    """fp32 numbers that begin at an address."""
    return types.CPointer(types.float32)(types.int64), _pointer_to(F32)


@intrinsic
def doubles(typing, address):
    """fp64 numbers that begin at an address."""
    return types.CPointer(types.float64)(types.int64), _pointer_to(F64)


@intrinsic
def halves(typing, address):
    """bf16 numbers, as their 16 bits, that begin at an address."""
    return types.CPointer(types.uint16)(types.int64), _pointer_to(I16)


@intrinsic
def words(typing, address):
    """Unsigned numbers of 32 bits that begin at an address."""
    return types.CPointer(types.uint32)(types.int64), _pointer_to(I32)


@intrinsic
def longs(typing, address):
    """Signed numbers of 64 bits that begin at an address."""
    return types.CPointer(types.int64)(types.int64), _pointer_to(I64)


def _pointer_to(kind):
    return lambda context, builder, signature, arguments: builder.inttoptr(arguments[0], kind.as_pointer())


@intrinsic
def bits(typing, number):
    """The 32 bits of an fp32 number."""
    return types.uint32(types.float32), lambda context, builder, signature, arguments: builder.bitcast(
        arguments[0], I32
    )


@intrinsic
def number_of(typing, pattern):
    """The fp32 number that has these 32 bits."""
    return types.float32(types.uint32), lambda context, builder, signature, arguments: builder.bitcast(
        arguments[0], F32
    )


@part
def wide(half):
    """bf16 -> fp32, exact: bf16 is the upper half of fp32."""
    return number_of(numpy.uint32(half) << numpy.uint32(16))


@part
def narrow(number):
    """fp32 -> bf16, to the nearest, ties to even; NaN stays NaN."""
    pattern = bits(number)
    rounded = (pattern + numpy.uint32(0x7FFF) + ((pattern >> numpy.uint32(16)) & numpy.uint32(1))) >> numpy.uint32(16)
    return numpy.uint16(numpy.uint32(0x7FC0) if number != number else rounded)


LOG2_E = numpy.float32(math.log2(math.e))
LN2_HIGH, LN2_LOW = numpy.float32(0.693359375), numpy.float32(-2.12194440e-4)
ROUNDER = numpy.float32(1.5 * 2**23)
"""Adding it to a small number and taking it away again rounds to a whole one."""
LOWEST, HIGHEST = numpy.float32(-87.0), numpy.float32(88.0)
SERIES = tuple(numpy.float32(1 / math.factorial(power)) for power in range(7))


@part
def exponential(number):
    """e to the power of an fp32 number, to about 2e-7 of itself; below e^-87 it is 0, above e^88 it stays at that.

    Without a branch, so that loops over it become vector instructions: e^x = 2^n e^r with |r| <= ln(2) / 2.
    """
    within = min(max(number, LOWEST), HIGHEST)
    whole = (within * LOG2_E + ROUNDER) - ROUNDER
    rest = (within - whole * LN2_HIGH) - whole * LN2_LOW
    sum_ = SERIES[6] * rest + SERIES[5]
    sum_ = sum_ * rest + SERIES[4]
    sum_ = sum_ * rest + SERIES[3]
    sum_ = sum_ * rest + SERIES[2]
    sum_ = sum_ * rest + SERIES[1]
    sum_ = sum_ * rest + SERIES[0]
    power = number_of(numpy.uint32(numpy.int32(whole) + numpy.int32(127)) << numpy.uint32(23))
    return numpy.float32(0) if number < LOWEST else sum_ * power


@intrinsic
def _called(typing, address):
    """The number that a C function without arguments returns."""

    def generate(context, builder, signature, arguments):
        return builder.call(builder.inttoptr(arguments[0], ir.FunctionType(I32, []).as_pointer()), [])

    return types.int32(types.int64), generate


@part
def own(arguments):
    """(which thread this is, how many there are), from the beginning of a kernel's arguments."""
    return (numpy.int64(_called(arguments[0])) if arguments[0] else numpy.int64(0)), arguments[1]


@part
def wait(arguments):
    """Wait until all threads are here."""
    if arguments[2]:
        _called(arguments[2])


@intrinsic
def _fetched(typing, address):
    """Asks for the line of memory at an address to come into the processor's second cache."""

    def generate(context, builder, signature, arguments):
        name = "llvm.prefetch.p0"
        kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
        fetch = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(fetch, [builder.inttoptr(arguments[0], I8.as_pointer()), I32(0), I32(2), I32(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@part
def fetch(address, size):
    """Let `size` bytes come from memory while other things are computed."""
    for offset in range(0, size, 64):
        _fetched(address + offset)


@part
def share(count, thread, threads):
    """(first, last) of a thread's even part of `count` things, in one piece."""
    return count * thread // threads, count * (thread + 1) // threads
