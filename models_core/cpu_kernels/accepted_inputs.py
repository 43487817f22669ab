"""Which arguments of an operator the kernels compute. Imports none of them."""

from typing import Any

import torch
from torch import Tensor


def segments_bf16(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float, prefix: Any = None, segments: Any = ()
) -> bool:
    """Queries, keys and values of one head width, without virtual tokens before them."""
    return (
        prefix is None
        and scale > 0
        # The numbers of a row lie together, rows anywhere.
        and all(_is_bf16(tensor) and tensor.stride(-1) == 1 for tensor in (query, key, value))
        and key.shape == value.shape
        and query.shape[-1] == key.shape[-1]
    )


def decodable(model: Any, *, prefix: Any, **_: Any) -> bool:
    """Llama-shaped models whose every part the kernels know, without virtual tokens."""
    from models_core.cpu_kernels.decoding import eligibility

    return prefix is None and eligibility.fits(model)


def _is_bf16(tensor: Tensor) -> bool:
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu"
