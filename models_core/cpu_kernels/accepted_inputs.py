"""Which arguments of an operator the kernels compute. Imports none of them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def contiguous_bf16(*tensors: Tensor, **_: Any) -> bool:
    """bf16 on the processor, without gaps."""
    return all(_is_bf16(tensor) and tensor.is_contiguous() for tensor in tensors)


def rows_of_bf16(*tensors: Tensor, **_: Any) -> bool:
    """bf16 on the processor; the numbers of a row lie together, rows anywhere."""
    return all(_is_bf16(tensor) and tensor.stride(-1) == 1 for tensor in tensors)


def logits_bf16(logits: Tensor, tokens: Tensor, **_: Any) -> bool:
    """Logits [N, V] of bf16 without gaps, and the ids of tokens [N]."""
    return _is_bf16(logits) and logits.is_contiguous() and tokens.is_contiguous()


def segments_bf16(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float, prefix: Any = None, segments: Any = ()
) -> bool:
    """Queries, keys and values of one head width, without virtual tokens before them."""
    return (
        prefix is None
        and scale > 0
        and rows_of_bf16(query, key, value)
        and key.shape == value.shape
        and query.shape[-1] == key.shape[-1]
    )


def gradients(tensors: Sequence[Tensor]) -> bool:
    """bf16 or fp32 on the processor, without gaps."""
    return all(_is_readable(tensor) for tensor in tensors)


def updates(rows: Sequence[Any], **_: Any) -> bool:
    """Every tensor of every parameter's update."""
    return all(
        _is_readable(row.gradient) and _is_readable(row.master) and (row.weight is None or _is_readable(row.weight))
        for row in rows
    )


def decodable(model: Any, *, prefix: Any, **_: Any) -> bool:
    """Llama-shaped models whose every part the kernels know, without virtual tokens."""
    from models_core.cpu_kernels.decoding import eligibility

    return prefix is None and eligibility.fits(model)


def _is_bf16(tensor: Tensor) -> bool:
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu"


def _is_readable(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.bfloat16) and tensor.is_contiguous()
