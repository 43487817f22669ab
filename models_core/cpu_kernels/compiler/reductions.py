"""Sums and maxima over many numbers, in vectors: always in the same order, which plain loops would not allow.

The numbers lie in blocks of 32 fp32 numbers, from one block's beginning to the next `stride` bytes.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from models_core.cpu_kernels.compiler.intrinsics import F32, I32, I64

LANES = 16
BLOCK = 2 * LANES
VECTOR = ir.VectorType(F32, LANES)


def _reduction(start, step, combine):
    """An intrinsic of (address, blocks, stride), at least one block: two vectors of running results, then halves."""

    @intrinsic
    def reduction(typing, address, blocks, stride):
        def generate(context, builder, signature, arguments):
            address, blocks, stride = arguments
            before, loop, after = builder.block, builder.append_basic_block("block"), builder.append_basic_block("done")
            builder.branch(loop)
            builder.position_at_end(loop)
            number, place = builder.phi(I64), builder.phi(I64)
            running = [builder.phi(VECTOR) for _ in range(2)]
            number.add_incoming(I64(0), before)
            place.add_incoming(address, before)
            results = []
            for half, one in enumerate(running):
                one.add_incoming(VECTOR([start] * LANES), before)
                here = builder.inttoptr(builder.add(place, I64(4 * LANES * half)), VECTOR.as_pointer())
                results.append(step(builder, one, builder.load(here, align=4)))
                one.add_incoming(results[-1], loop)
            number.add_incoming(builder.add(number, I64(1)), loop)
            place.add_incoming(builder.add(place, stride), loop)
            builder.cbranch(builder.icmp_signed("<", number.incomings[1][0], blocks), loop, after)
            builder.position_at_end(after)
            result, lanes = combine(builder, *results), LANES
            while lanes > 1:
                lanes //= 2
                halves = [
                    builder.shuffle_vector(
                        result, result, ir.Constant(ir.VectorType(I32, lanes), list(range(first, first + lanes)))
                    )
                    for first in (0, lanes)
                ]
                result = combine(builder, *halves)
            return builder.extract_element(result, I32(0))

        return types.float32(types.int64, types.int64, types.int64), generate

    return reduction


def _added(builder, one, other):
    return builder.fadd(one, other)


def _square_added(builder, one, other):
    return builder.fadd(one, builder.fmul(other, other))


def _larger(builder, one, other):
    return builder.select(builder.fcmp_ordered(">", one, other), one, other)


total = _reduction(0.0, _added, _added)
squares = _reduction(0.0, _square_added, _added)
largest = _reduction(float("-inf"), _larger, _larger)
