"""Rotary positions of bf16 heads in one visit of memory: products and their sum in fp32, rounded once."""
# mypy: ignore-errors
# These functions are typed by numba, from the calls in which they are compiled.

from typing import Any

import torch
from numba import carray
from numpy import float32
from torch import Tensor

from models_core.cpu_kernels.compiler.intrinsics import floats, halves, narrow, own, share, wide
from models_core.cpu_kernels.compiler.kernel import kernel
from models_core.cpu_kernels.compiler.thread_team import RESERVED, Call

(STATES, STATES_TOKEN, STATES_HEAD, COSINE, COSINE_TOKEN, SINE, SINE_TOKEN, OUT, TOKENS, HEADS, HALF, DIRECTION,
 SCRATCH) = range(RESERVED, RESERVED + 13)  # fmt: skip
SIZE = RESERVED + 13


@kernel
def _apply_rope(arguments):
    """A token's angles are widened once for all of its heads; loops that write one array become vectors."""
    v = carray(arguments, (SIZE,))
    thread, threads = own(v)
    half, heads, direction = v[HALF], v[HEADS], float32(v[DIRECTION])
    cosines, sines = floats(v[SCRATCH] + thread * half * 8), floats(v[SCRATCH] + thread * half * 8 + half * 4)
    first, last = share(v[TOKENS], thread, threads)
    for token in range(first, last):
        cosine, sine = halves(v[COSINE] + token * v[COSINE_TOKEN]), halves(v[SINE] + token * v[SINE_TOKEN])
        for place in range(half):
            cosines[place] = wide(cosine[place])
        for place in range(half):
            sines[place] = wide(sine[place]) * direction
        for head in range(heads):
            begin, target = (
                v[STATES] + token * v[STATES_TOKEN] + head * v[STATES_HEAD],
                (token * heads + head) * half * 4,
            )
            one, other = halves(begin), halves(begin + half * 2)
            to_one, to_other = halves(v[OUT] + target), halves(v[OUT] + target + half * 2)
            for place in range(half):
                to_one[place] = narrow(wide(one[place]) * cosines[place] - wide(other[place]) * sines[place])
            for place in range(half):
                to_other[place] = narrow(wide(other[place]) * cosines[place] + wide(one[place]) * sines[place])


KERNELS = (_apply_rope,)


def _rotate_pairs(states: Tensor, cosine: Tensor, sine: Tensor, *, direction: int) -> Tensor:
    """[1, N, heads, d] by angles [1, N, 1, d / 2], forwards (1) or back (-1); the numbers of a head lie together."""
    _, tokens, heads, size = states.shape
    out = torch.empty(states.shape, dtype=states.dtype)
    scratch = torch.empty(torch.get_num_threads() * size)
    places = [states.data_ptr(), 2 * states.stride(1), 2 * states.stride(2)]
    for angles in (cosine, sine):
        places += [angles.data_ptr(), 2 * angles.stride(1)]
    Call(_apply_rope, [*places, out.data_ptr(), tokens, heads, size // 2, direction, scratch.data_ptr()]).run()
    return out


def apply_rope(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Heads [1, N, heads, d] rotated by angles [1, N, d], with its gradient."""
    half = states.shape[-1] // 2
    return _Rotation.apply(states, cosine[..., None, :half], sine[..., None, :half])


class _Rotation(torch.autograd.Function):
    """The gradient is rotated back by the same angles."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _rotate_pairs(states, cosine, sine, direction=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradient if gradient.stride(-1) == 1 else gradient.contiguous()
        return _rotate_pairs(gradient, *ctx.saved_tensors, direction=-1), None, None
