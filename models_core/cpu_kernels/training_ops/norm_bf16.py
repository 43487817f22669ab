"""RMS normalisation of bf16 rows, the sum that comes before it, and the gradients of both, one visit of a row each.

N rows of width D. A row is widened into its thread's scratch; sums over it are taken there, in fp32.
"""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

import math
from typing import Any

import torch
from numba import carray
from numpy import float32
from torch import Tensor

from models_core.cpu_kernels.compiler.intrinsics import floats, halves, narrow, own, share, wide
from models_core.cpu_kernels.compiler.kernel import kernel
from models_core.cpu_kernels.compiler.reductions import BLOCK, squares, total
from models_core.cpu_kernels.compiler.thread_team import RESERVED, Call

(ROWS, WIDTH, PADDED, EPSILON, SCRATCH, WEIGHT, SCALES, STATES, ADDED, SUMS, OUT, GRADIENT, BESIDE, TO_STATES,
 TO_WEIGHT) = range(RESERVED, RESERVED + 15)  # fmt: skip
SIZE = RESERVED + 15


@kernel
def _normalise(arguments):
    v = carray(arguments, (SIZE,))
    thread, threads = own(v)
    width, padded, added, epsilon = v[WIDTH], v[PADDED], v[ADDED], floats(v[EPSILON])[0]
    place = v[SCRATCH] + thread * 2 * padded * 4
    row, weight, scales = floats(place), halves(v[WEIGHT]), floats(v[SCALES])
    for column in range(width, padded):
        row[column] = float32(0)
    first, last = share(v[ROWS], thread, threads)
    for number in range(first, last):
        offset = number * width * 2
        states, out = halves(v[STATES] + offset), halves(v[OUT] + offset)
        if added:
            more, sums = halves(added + offset), halves(v[SUMS] + offset)
            for column in range(width):
                sums[column] = narrow(wide(states[column]) + wide(more[column]))
            states = sums
        for column in range(width):
            row[column] = wide(states[column])
        mean = squares(place, padded // BLOCK, BLOCK * 4) / float32(width)
        scale = float32(1) / float32(math.sqrt(mean + epsilon))
        scales[number] = scale
        for column in range(width):
            out[column] = narrow(wide(narrow(row[column] * scale)) * wide(weight[column]))


@kernel
def _gradients(arguments):
    """With u = x scale: dx = scale (w g - u mean(w g u)), dw = sum over rows of g u, per thread."""
    v = carray(arguments, (SIZE,))
    thread, threads = own(v)
    width, padded, beside = v[WIDTH], v[PADDED], v[BESIDE]
    place = v[SCRATCH] + thread * 2 * padded * 4
    along, unit = floats(place), floats(place + padded * 4)
    weight, scales, to_weight = halves(v[WEIGHT]), floats(v[SCALES]), floats(v[TO_WEIGHT] + thread * width * 4)
    for column in range(width, padded):
        along[column] = float32(0)
    for column in range(width):
        to_weight[column] = float32(0)
    first, last = share(v[ROWS], thread, threads)
    for number in range(first, last):
        offset = number * width * 2
        states, gradient, to_states = (
            halves(v[STATES] + offset),
            halves(v[GRADIENT] + offset),
            halves(v[TO_STATES] + offset),
        )
        scale = scales[number]
        for column in range(width):
            unit[column] = wide(states[column]) * scale
            product = unit[column] * wide(gradient[column])
            to_weight[column] += product
            along[column] = product * wide(weight[column])
        mean = total(place, padded // BLOCK, BLOCK * 4) / float32(width)
        for column in range(width):
            along[column] = (wide(gradient[column]) * wide(weight[column]) - unit[column] * mean) * scale
        if beside:
            straight = halves(beside + offset)
            for column in range(width):
                to_states[column] = narrow(along[column] + wide(straight[column]))
        else:
            for column in range(width):
                to_states[column] = narrow(along[column])
        for column in range(width, padded):
            along[column] = float32(0)


KERNELS = (_normalise, _gradients)


def normalise(
    states: Tensor, weight: Tensor, *, eps: float, added: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(w x / sqrt(mean(x^2) + eps), x, 1 / sqrt(...)) with x = states + added: [N, D] twice, and fp32 [N].

    bf16, contiguous; x is `states` itself where nothing is added.
    """
    width, padded, scratch = _scratch(states)
    sums = states if added is None else torch.empty_like(states)
    out, scales = torch.empty_like(states), torch.empty(states.numel() // width)
    epsilon = torch.tensor([eps])
    more = 0 if added is None else added.data_ptr()
    memory = [tensor.data_ptr() for tensor in (epsilon, scratch, weight, scales, states)]
    numbers = [len(scales), width, padded, *memory, more, sums.data_ptr(), out.data_ptr(), 0, 0, 0, 0]
    Call(_normalise, numbers).run()
    return out, sums, scales


def gradients(
    gradient: Tensor, states: Tensor, weight: Tensor, scales: Tensor, *, beside: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients of the states, plus `beside`, the one that came another way, and of the weight: [N, D], fp32 [D]."""
    width, padded, scratch = _scratch(states)
    to_states, to_weight = torch.empty_like(states), torch.empty(torch.get_num_threads(), width)
    straight = 0 if beside is None else beside.data_ptr()
    memory = [tensor.data_ptr() for tensor in (scratch, weight, scales, states)]
    after = [gradient.data_ptr(), straight, to_states.data_ptr(), to_weight.data_ptr()]
    Call(_gradients, [len(scales), width, padded, 0, *memory, 0, 0, 0, *after]).run()
    return to_states, to_weight.sum(0)


def _scratch(states: Tensor) -> tuple[int, int, Tensor]:
    """Width, width in whole blocks, and two fp32 rows of that for each thread."""
    width = states.shape[-1]
    padded = -(-width // BLOCK) * BLOCK
    return width, padded, torch.empty(torch.get_num_threads(), 2 * padded)


def rms_norm(states: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """weight * x / sqrt(mean(x^2) + eps): [..., D], [D] -> [..., D], with its gradient."""
    return _RMSNorm.apply(states, weight, eps)


def add_rms_norm(states: Tensor, added: Tensor, weight: Tensor, *, eps: float) -> tuple[Tensor, Tensor]:
    """The sum of two states and its `rms_norm`, [..., D] each, with their gradients."""
    return _AddRMSNorm.apply(states, added, weight, eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, eps: float) -> Tensor:
        output, _, scales = normalise(states, weight, eps=eps)
        ctx.save_for_backward(states, weight, scales)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        states, weight, scales = ctx.saved_tensors
        to_states, to_weight = gradients(gradient.contiguous(), states, weight, scales)
        return to_states, to_weight.to(weight.dtype) if ctx.needs_input_grad[1] else None, None


class _AddRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, added: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        output, sums, scales = normalise(states, weight, eps=eps, added=added)
        ctx.save_for_backward(sums, weight, scales)
        return sums, output

    @staticmethod
    def backward(ctx: Any, to_sums: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        sums, weight, scales = ctx.saved_tensors
        to_states, to_weight = gradients(gradient.contiguous(), sums, weight, scales, beside=to_sums.contiguous())
        to_learned = to_weight.to(weight.dtype) if ctx.needs_input_grad[2] else None
        return to_states, to_states, to_learned, None
