"""A small block of a matrix product in the processor's vectors: bf16 by bf16, summed in fp32.

The instruction (VDPBF16PS of AVX-512) takes 16 sums, and for each of them a pair of bf16 numbers from either side. So
the right-hand matrix lies in panels of WIDTH columns, and in a panel pair of rows by pair of rows:

    panel[pair][column][0 or 1] = matrix[2 * pair + (0 or 1)][column]

The left-hand matrix lies as it is, row by row; a pair of its numbers is spread over a vector. A block of ROWS x WIDTH
sums stays in registers from the first pair to the last. Each sum is taken over the pairs in their order, whatever
block it is in: a row's result does not depend on the rows beside it.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from models_core.cpu_kernels.compiler.aligned_memory import LINE
from models_core.cpu_kernels.compiler.intrinsics import F32, I8, I32, I64
from models_core.cpu_kernels.compiler.kernel import part

LANES = 16
VECTORS = 2
WIDTH = LANES * VECTORS
"""Columns of a panel."""
ROWS = 12
"""Rows of the largest block: 12 x 2 sums, 2 vectors of the panel and 1 of a row are 27 of 32 registers."""


class _BFloat(ir.types._BaseFloatType):
    """LLVM's type for bf16, which llvmlite does not have."""

    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"


_BFloat._create_instance()
SUMS, PAIRS, BF16 = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES), ir.VectorType(_BFloat(), 2 * LANES)


def _declared(module, name, returned, taken):
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(returned, taken), name)


def _block(rows):
    """The intrinsic for blocks of so many rows: see `tile`."""

    @intrinsic
    def block(typing, left, stride, panel, pairs, sums, ahead):
        def generate(context, builder, signature, arguments):
            left, stride, panel, pairs, sums, ahead = arguments
            dot = _declared(builder.module, "llvm.x86.avx512bf16.dpbf16ps.512", SUMS, [SUMS, BF16, BF16])
            fetch = _declared(builder.module, "llvm.prefetch.p0", ir.VoidType(), [I8.as_pointer(), I32, I32, I32])

            def at(address, offset, kind):
                return builder.inttoptr(builder.add(address, offset), kind.as_pointer())

            def place(row, vector):
                return at(sums, I64(LINE * (row * VECTORS + vector)), SUMS)

            cells = [(row, vector) for row in range(rows) for vector in range(VECTORS)]
            before, loop, after = (
                builder.block,
                builder.append_basic_block("pairs"),
                builder.append_basic_block("done"),
            )
            starts = [builder.load(place(*cell), align=LINE) for cell in cells]
            builder.branch(loop)
            builder.position_at_end(loop)
            pair = builder.phi(I64)
            pair.add_incoming(I64(0), before)
            running = {cell: builder.phi(SUMS) for cell in cells}
            for cell, start in zip(cells, starts, strict=True):
                running[cell].add_incoming(start, before)
            here = builder.mul(pair, I64(LINE * VECTORS))
            columns = [
                builder.bitcast(builder.load(at(panel, builder.add(here, I64(LINE * vector)), PAIRS), align=LINE), BF16)
                for vector in range(VECTORS)
            ]
            # The panel after this one comes from memory meanwhile, a line for each pair of each block of rows.
            builder.call(fetch, [at(ahead, builder.mul(pair, I64(LINE)), I8), I32(0), I32(2), I32(1)])
            numbers = builder.add(left, builder.mul(pair, I64(4)))
            for row in range(rows):
                one = builder.load(at(numbers, builder.mul(stride, I64(row)), I32), align=4)
                vector = builder.insert_element(PAIRS(ir.Undefined), one, I32(0))
                spread = builder.shuffle_vector(vector, PAIRS(ir.Undefined), PAIRS([0] * LANES))
                for vector in range(VECTORS):
                    total = builder.call(dot, [running[row, vector], builder.bitcast(spread, BF16), columns[vector]])
                    running[row, vector].add_incoming(total, loop)
            following = builder.add(pair, I64(1))
            pair.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed("<", following, pairs), loop, after)
            builder.position_at_end(after)
            for cell in cells:
                (total,) = (value for value, block in running[cell].incomings if block is loop)
                builder.store(total, place(*cell), align=LINE)
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 6), generate

    return block


_one, _two, _three, _four, _five, _six, _seven, _eight, _nine, _ten, _eleven, _twelve = (
    _block(rows) for rows in range(1, ROWS + 1)
)


@part
def tile(rows, left, stride, panel, pairs, sums, ahead):
    """Add a block of a product to `sums`.

    left: address of `rows` rows (1 to ROWS) that are `stride` bytes apart; panel: address of a panel's pairs, on a
    line of the cache; pairs: at least 1; sums: address of [rows, WIDTH] fp32, on a line of the cache. `ahead` is the
    address of what will be read next; any number will do.
    """
    if rows == 12:
        _twelve(left, stride, panel, pairs, sums, ahead)
    elif rows == 11:
        _eleven(left, stride, panel, pairs, sums, ahead)
    elif rows == 10:
        _ten(left, stride, panel, pairs, sums, ahead)
    elif rows == 9:
        _nine(left, stride, panel, pairs, sums, ahead)
    elif rows == 8:
        _eight(left, stride, panel, pairs, sums, ahead)
    elif rows == 7:
        _seven(left, stride, panel, pairs, sums, ahead)
    elif rows == 6:
        _six(left, stride, panel, pairs, sums, ahead)
    elif rows == 5:
        _five(left, stride, panel, pairs, sums, ahead)
    elif rows == 4:
        _four(left, stride, panel, pairs, sums, ahead)
    elif rows == 3:
        _three(left, stride, panel, pairs, sums, ahead)
    elif rows == 2:
        _two(left, stride, panel, pairs, sums, ahead)
    elif rows == 1:
        _one(left, stride, panel, pairs, sums, ahead)
