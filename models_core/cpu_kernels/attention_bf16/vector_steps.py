"""Attention's steps between products, sixteen numbers of fp32 or thirty-two of bf16 at a time.

Compilers make vectors of plain loops too, but of half this width and behind checks whether arrays overlap: with these
a short segment takes half as long.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

import math

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from models_core.cpu_kernels.compiler import intrinsics
from models_core.cpu_kernels.compiler.intrinsics import I16, I32, I64
from models_core.cpu_kernels.compiler.matmul_tile import BF16, PAIRS, SUMS

SIDE = 16
HALVES, LINE = ir.VectorType(I16, SIDE), ir.VectorType(I16, 2 * SIDE)
NARROW = ir.VectorType(BF16.element, SIDE)


def _at(builder, address, offset, kind):
    return builder.inttoptr(builder.add(address, I64(offset)), kind.as_pointer())


def _load(builder, address, offset, kind):
    return builder.load(_at(builder, address, offset, kind), align=2)


def _store(builder, value, address, offset):
    builder.store(value, _at(builder, address, offset, value.type), align=2)


def _spread(builder, number, kind):
    first = builder.insert_element(kind(ir.Undefined), number, I32(0))
    return builder.shuffle_vector(first, kind(ir.Undefined), PAIRS([0] * SIDE))


def _called(builder, name, returned, given):
    """What an instruction of this name returns."""
    kind = ir.FunctionType(returned, [one.type for one in given])
    return builder.call(builder.module.globals.get(name) or ir.Function(builder.module, kind, name), given)


def _fused(builder, one, other, more):
    return _called(builder, "llvm.fma.v16f32", SUMS, [one, other, more])


def _exponential(builder, number):
    """`intrinsics.exponential` of sixteen; NaN stays NaN."""

    def constant(value):
        return SUMS([float(value)] * SIDE)

    within = builder.select(
        builder.fcmp_ordered("<", number, constant(intrinsics.LOWEST)), constant(intrinsics.LOWEST), number
    )
    within = builder.select(
        builder.fcmp_ordered(">", within, constant(intrinsics.HIGHEST)), constant(intrinsics.HIGHEST), within
    )
    shifted = _fused(builder, within, constant(intrinsics.LOG2_E), constant(intrinsics.ROUNDER))
    whole = builder.fsub(shifted, constant(intrinsics.ROUNDER))
    rest = _fused(builder, whole, constant(-intrinsics.LN2_HIGH), within)
    rest = _fused(builder, whole, constant(-intrinsics.LN2_LOW), rest)
    sum_ = constant(intrinsics.SERIES[6])
    for factor in reversed(intrinsics.SERIES[:6]):
        sum_ = _fused(builder, sum_, rest, constant(factor))
    # The whole number stands in the lowest bits of `shifted`; what is above them falls out of the shift.
    exponent = builder.shl(builder.add(builder.bitcast(shifted, PAIRS), PAIRS([127] * SIDE)), PAIRS([23] * SIDE))
    power = builder.fmul(sum_, builder.bitcast(exponent, SUMS))
    return builder.select(builder.fcmp_ordered("<", number, constant(intrinsics.LOWEST)), constant(0.0), power)


def _narrow(builder, numbers):
    """fp32 -> the bits of bf16, to the nearest, ties to even."""
    return builder.bitcast(_called(builder, "llvm.x86.avx512bf16.cvtneps2bf16.512", NARROW, [numbers]), HALVES)


def _added_up(builder, numbers):
    lanes = SIDE
    while lanes > 1:
        lanes //= 2
        low, high = (
            builder.shuffle_vector(
                numbers, numbers, ir.Constant(ir.VectorType(I32, lanes), list(range(first, first + lanes)))
            )
            for first in (0, lanes)
        )
        numbers = builder.fadd(low, high)
    return builder.extract_element(numbers, I32(0))


def _interleaved(builder, low, high):
    """Sixteen numbers of 16 bits beside sixteen others, as words."""
    low, high = builder.zext(low, PAIRS), builder.zext(high, PAIRS)
    return builder.or_(low, builder.shl(high, PAIRS([16] * SIDE)))


class _Loop:
    """A loop of `count` times, at least once; `number` counts, `carried` are vectors that start at zero."""

    def __init__(self, builder, count, carried=0):
        self.builder, self.count = builder, count
        before, self.body = builder.block, builder.append_basic_block("body")
        builder.branch(self.body)
        builder.position_at_end(self.body)
        self.number = builder.phi(I64)
        self.number.add_incoming(I64(0), before)
        self.carried = [builder.phi(SUMS) for _ in range(carried)]
        for one in self.carried:
            one.add_incoming(SUMS([0.0] * SIDE), before)

    def end(self, *results):
        builder = self.builder
        for one, result in zip(self.carried, results, strict=True):
            one.add_incoming(result, builder.block)
        following = builder.add(self.number, I64(1))
        self.number.add_incoming(following, builder.block)
        after = builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", following, self.count), self.body, after)
        builder.position_at_end(after)


@intrinsic
def taken(typing, address):
    """The number of 64 bits at an address, which becomes one more: no two threads get the same."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw("add", builder.inttoptr(arguments[0], I64.as_pointer()), I64(1), "monotonic")

    return types.int64(types.int64), generate


@intrinsic
def transpose(typing, source, source_stride, target, target_stride):
    """Rows of 16 words of 32 bits become columns: 16 of either, strides in bytes. The two must not overlap.

    In four steps: at step s, rows whose numbers differ in bit s exchange the halves that do not belong there.
    """

    def generate(context, builder, signature, arguments):
        source, source_stride, target, target_stride = arguments

        def place(address, stride, number):
            return builder.inttoptr(builder.add(address, builder.mul(stride, I64(number))), PAIRS.as_pointer())

        rows = [builder.load(place(source, source_stride, number), align=4) for number in range(SIDE)]
        for step in (1, 2, 4, 8):
            stay = [lane if not lane & step else SIDE + lane - step for lane in range(SIDE)]
            move = [lane + step if not lane & step else SIDE + lane for lane in range(SIDE)]
            for one in range(SIDE):
                if not one & step:
                    pair = rows[one], rows[one + step]
                    rows[one], rows[one + step] = (builder.shuffle_vector(*pair, PAIRS(mask)) for mask in (stay, move))
        for number, row in enumerate(rows):
            builder.store(row, place(target, target_stride, number), align=4)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 4), generate


@intrinsic
def move(typing, source, target, lines):
    """Copy so many times 64 bytes."""

    def generate(context, builder, signature, arguments):
        source, target, lines = arguments
        loop = _Loop(builder, lines)
        offset = builder.mul(loop.number, I64(4 * SIDE))
        _store(builder, _load(builder, builder.add(source, offset), 0, LINE), builder.add(target, offset), 0)
        loop.end()
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 3), generate


@intrinsic
def clear(typing, target, lines):
    """Zeros over so many times 64 bytes, as wide as they are read next: narrower ones would have to be waited for."""

    def generate(context, builder, signature, arguments):
        target, lines = arguments
        loop = _Loop(builder, lines)
        _store(builder, LINE([0] * (2 * SIDE)), builder.add(target, builder.mul(loop.number, I64(4 * SIDE))), 0)
        loop.end()
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 2), generate


@intrinsic
def add(typing, source, target):
    """Add 32 numbers of fp32 to others."""

    def generate(context, builder, signature, arguments):
        source, target = arguments
        for offset in (0, 4 * SIDE):
            both = (_load(builder, one, offset, SUMS) for one in (target, source))
            _store(builder, builder.fadd(*both), target, offset)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 2), generate


@intrinsic
def inner(typing, left, right, lines):
    """The sum of products of so many times 32 bf16 numbers and as many others."""

    def generate(context, builder, signature, arguments):
        left, right, lines = arguments
        loop = _Loop(builder, lines, carried=1)
        offset = builder.mul(loop.number, I64(4 * SIDE))
        both = [builder.bitcast(_load(builder, builder.add(one, offset), 0, LINE), BF16) for one in (left, right)]
        result = _called(builder, "llvm.x86.avx512bf16.dpbf16ps.512", SUMS, [*loop.carried, *both])
        loop.end(result)
        return _added_up(builder, result)

    return types.float32(*(types.int64,) * 3), generate


@intrinsic
def interleave(typing, low, high, target):
    """32 numbers of 16 bits, each beside its like from another row: 32 words."""

    def generate(context, builder, signature, arguments):
        low, high, target = arguments
        for half in range(2):
            pair = (_load(builder, one, 2 * SIDE * half, HALVES) for one in (low, high))
            _store(builder, _interleaved(builder, *pair), target, 4 * SIDE * half)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 3), generate


@intrinsic
def separate(typing, words, low, high):
    """16 words become 16 lower and 16 upper halves."""

    def generate(context, builder, signature, arguments):
        both, low, high = arguments
        both = _load(builder, both, 0, PAIRS)
        _store(builder, builder.trunc(both, HALVES), low, 0)
        _store(builder, builder.trunc(builder.lshr(both, PAIRS([16] * SIDE)), HALVES), high, 0)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 3), generate


@intrinsic
def scaled(typing, source, factor, target):
    """32 numbers of fp32 times a factor, as bf16."""

    def generate(context, builder, signature, arguments):
        source, factor, target = arguments
        factor = _spread(builder, factor, SUMS)
        for half in range(2):
            product = builder.fmul(_load(builder, source, 4 * SIDE * half, SUMS), factor)
            _store(builder, _narrow(builder, product), target, 2 * SIDE * half)
        return context.get_dummy_value()

    return types.void(types.int64, types.float32, types.int64), generate


@intrinsic
def hide(typing, scores, first):
    """Of 32 scores those from number `first` on become nothing: minus infinity."""

    def generate(context, builder, signature, arguments):
        scores, first = arguments
        limit = _spread(builder, builder.trunc(first, I32), PAIRS)
        for half in range(2):
            columns = PAIRS(list(range(SIDE * half, SIDE * (half + 1))))
            score = _load(builder, scores, 4 * SIDE * half, SUMS)
            is_seen = builder.icmp_signed("<", columns, limit)
            _store(builder, builder.select(is_seen, score, SUMS([-math.inf] * SIDE)), scores, 4 * SIDE * half)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 2), generate


@intrinsic
def weigh(typing, scores, panels, stride, scale, top, weights):
    """The sum of exp(score scale - top) over panels of 32, `stride` bytes apart; as bf16 to `weights`, end to end."""

    def generate(context, builder, signature, arguments):
        scores, panels, stride, scale, top, weights = arguments
        scale, top = _spread(builder, scale, SUMS), _spread(builder, builder.fneg(top), SUMS)
        loop = _Loop(builder, panels, carried=2)
        source = builder.add(scores, builder.mul(loop.number, stride))
        target = builder.add(weights, builder.mul(loop.number, I64(4 * SIDE)))
        results = []
        for half, sum_ in enumerate(loop.carried):
            score = _load(builder, source, 4 * SIDE * half, SUMS)
            weight = _exponential(builder, _fused(builder, score, scale, top))
            _store(builder, _narrow(builder, weight), target, 2 * SIDE * half)
            results.append(builder.fadd(sum_, weight))
        loop.end(*results)
        return _added_up(builder, builder.fadd(*results))

    i64, f32 = types.int64, types.float32
    return f32(i64, i64, i64, f32, f32, i64), generate


@intrinsic
def errors(typing, scores, changes, logarithms, along, scale, hidden, more, left_weights, left_errors, pairs):
    """P = exp(score scale - L) and dS = P (dP - D) of two keys and 32 queries, as bf16.

    scores, changes (dP): [2, 32] fp32; logarithms (L), along (D): [32] fp32. The first `hidden` queries don't see the
    first key, the first `hidden + more` not the second. P and dS go to two rows of [32] each, dS also to pairs [32, 2].
    """

    def generate(context, builder, signature, arguments):
        scores, changes, logarithms, along, scale, hidden, more, left_weights, left_errors, pairs = arguments
        scale = _spread(builder, scale, SUMS)
        hidden = [builder.trunc(number, I32) for number in (hidden, builder.add(hidden, more))]
        limits = [_spread(builder, number, PAIRS) for number in hidden]
        for half in range(2):
            top, mean = (_load(builder, one, 4 * SIDE * half, SUMS) for one in (logarithms, along))
            columns = PAIRS(list(range(SIDE * half, SIDE * (half + 1))))
            rows = []
            for row, limit in enumerate(limits):
                offset = 4 * SIDE * (2 * row + half)
                score, change = (_load(builder, one, offset, SUMS) for one in (scores, changes))
                weight = _exponential(builder, _fused(builder, score, scale, builder.fneg(top)))
                is_hidden = builder.icmp_signed("<", columns, limit)
                weight = builder.select(is_hidden, SUMS([0.0] * SIDE), weight)
                error = _narrow(builder, builder.fmul(weight, builder.fsub(change, mean)))
                place = 2 * SIDE * (2 * row + half)
                _store(builder, _narrow(builder, weight), left_weights, place)
                _store(builder, error, left_errors, place)
                rows.append(error)
            _store(builder, _interleaved(builder, *rows), pairs, 4 * SIDE * half)
        return context.get_dummy_value()

    i64, f32 = types.int64, types.float32
    return types.void(i64, i64, i64, i64, f32, i64, i64, i64, i64, i64), generate
