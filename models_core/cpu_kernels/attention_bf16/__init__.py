"""Attention within segments of a long row in bf16, forwards and backwards, without a matrix of weights in memory.

work_plan.py        how segments are cut into parts of work
head_rows.py        rows of heads laid out for products
forward_pass.py     the kernel of the forward pass
backward_pass.py    that of the gradients
vector_steps.py     steps between products, sixteen numbers at a time

Queries, keys and values are read where the projections wrote them. A thread takes one key head of one part at a time,
largest parts first; what it needs beside is a few matrices of the keys that a part sees.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models_core.cpu_kernels.attention_bf16 import backward_pass, forward_pass
from models_core.cpu_kernels.attention_bf16.work_plan import Plan, Span, plan
from models_core.cpu_kernels.compiler.aligned_memory import LINE
from models_core.cpu_kernels.compiler.kernel import Kernel
from models_core.cpu_kernels.compiler.matmul_tile import WIDTH
from models_core.cpu_kernels.compiler.thread_team import Call

KERNELS = (forward_pass.attend, backward_pass.propagate)


def segment_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    segments: Sequence[tuple[int, int, tuple[Span, ...]]],
    scale: float,
    prefix: None = None,
) -> Tensor:
    """[1, heads, N, d] over [1, key heads, N, d] -> [1, N, heads, d], with its gradients; segments of any length."""
    output: Tensor = _SegmentAttention.apply(query, key, value, tuple(segments), scale)
    return output


class _SegmentAttention(torch.autograd.Function):
    """Weights are computed again in the backward pass; one number a row and head is kept of them."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        segments: tuple[tuple[int, int, tuple[Span, ...]], ...],
        scale: float,
    ) -> Tensor:
        output, logarithms = attend(query, key, value, segments=segments, scale=scale)
        ctx.save_for_backward(query, key, value, output, logarithms)
        ctx.segments, ctx.scale = segments, scale
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        grads = gradients(gradient, *ctx.saved_tensors, segments=ctx.segments, scale=ctx.scale)
        return *grads, None, None


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, segments: Sequence[tuple[int, int, tuple[Span, ...]]], scale: float
) -> tuple[Tensor, Tensor]:
    """[1, heads, N, d] over [1, key heads, N, d], bf16 -> [1, N, heads, d], and what `gradients` needs beside.

    Any strides will do as long as the numbers of a head lie together.
    """
    work = plan(tuple(segments))
    _, heads, tokens, size = query.shape
    out = query.new_empty(1, tokens, heads, size)
    logarithms = torch.empty(heads * tokens)
    _run(forward_pass, forward_pass.attend, work, query, key, value, out, logarithms, scale, ())
    return out, logarithms


def gradients(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, logarithms: Tensor,
    *, segments: Sequence[tuple[int, int, tuple[Span, ...]]], scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of queries, keys and values, in their shapes; `gradient` is that of the output: [1, N, heads, d]."""
    work = plan(tuple(segments))
    tokens, size = query.shape[2:]
    gradient = gradient if gradient.stride(-1) == 1 else gradient.contiguous()
    to_query = torch.empty_like(out)
    to_key, to_value = (key.new_empty(1, tokens, key.shape[1], size) for _ in range(2))
    sums = torch.empty(work.sums * key.shape[1] * 2 * _whole(size))
    made = [tensor.data_ptr() for tensor in (to_query, to_key, to_value, sums)]
    shared = [len(work.shared), work.shared.data_ptr(), work.sources.data_ptr()]
    more = [*_place(gradient.transpose(1, 2)), *made, *shared]
    _run(backward_pass, backward_pass.propagate, work, query, key, value, out, logarithms, scale, more)
    return to_query.transpose(1, 2), to_key.transpose(1, 2), to_value.transpose(1, 2)


def _run(
    module: Any, kernel: Kernel, work: Plan, query: Tensor, key: Tensor, value: Tensor, out: Tensor,
    logarithms: Tensor, scale: float, more: Sequence[int],
) -> None:  # fmt: skip
    _, heads, tokens, size = query.shape
    width, capacity = _whole(size), _whole(work.longest)
    each = module.scratch_bytes(width=width, capacity=capacity)
    scratch = torch.empty(torch.get_num_threads() * each + LINE, dtype=torch.uint8)
    counter, factor = torch.zeros(1, dtype=torch.int64), torch.tensor([scale])
    numbers = [
        counter.data_ptr(), len(work.parts), *(table.data_ptr() for table in (work.parts, work.seen, work.pieces)),
        tokens, heads // key.shape[1], key.shape[1], size, width, capacity, factor.data_ptr(),
        *_place(query), *_place(key), *_place(value), out.data_ptr(), logarithms.data_ptr(),
        scratch.data_ptr() + -scratch.data_ptr() % LINE, each,
    ]  # fmt: skip
    Call(kernel, [*numbers, *more]).run()


def _place(tensor: Tensor) -> tuple[int, int, int]:
    """Where [1, heads, N, d] begins, and the bytes from a token and from a head to the next."""
    return tensor.data_ptr(), tensor.stride(2) * tensor.itemsize, tensor.stride(1) * tensor.itemsize


def _whole(count: int) -> int:
    """A count in whole panels."""
    return -(-count // WIDTH) * WIDTH
