"""A base model in four bits, NF4 with double quantisation (Dettmers et al. 2023, arXiv 2305.14314)."""

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D

from models_core.contract.errors import BadInput

UNQUANTISED = ["lm_head", "embed_out", "score"]
"""Layers that are not quantised: heads of either kind."""


def loading(*, device: torch.device | str, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments of `from_pretrained` for a 4-bit base. Raises BadInput where this machine or dtype can't run it."""
    if find_spec("bitsandbytes") is None:
        raise BadInput("Weights in 4 bits need the package bitsandbytes: pip install 'hone[qlora]'.")
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda", "xpu"):
        raise BadInput(f"Weights in 4 bits cannot be on the device {kind}; bitsandbytes knows cpu, cuda and xpu.")
    if dtype not in (torch.bfloat16, torch.float16, torch.float32):
        raise BadInput(f"Weights in 4 bits compute in bf16, fp16 or fp32, not in {dtype}.")
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=UNQUANTISED,
    )
    return {"quantization_config": config, "device_map": {"": torch.device(device)}}


def freeze(model: nn.Module) -> None:
    """Keep bitsandbytes from repacking weights at the first pass without gradients, as it does under AVX-512.

    That rounds their scales to bf16 in place: from then on the model would compute something else than before.
    """
    part: Any
    for part in model.modules():
        if is_quantised(part):
            part.support_avx512bf16_for_cpu = False


def is_quantised(layer: nn.Module) -> bool:
    """Whether a linear layer holds its weight in 4 bits."""
    return type(getattr(layer, "weight", None)).__name__ == "Params4bit"


def dequantised(layer: Any) -> torch.Tensor:
    """The weight that a 4-bit layer computes with: [out, in]."""
    from bitsandbytes.functional import dequantize_4bit

    weight: torch.Tensor = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return weight


def dequantise(layer: Any, *, weight: torch.Tensor) -> nn.Module:
    """The plain layer that stands for a 4-bit one, of the class that it was made from, with this weight [out, in]."""
    full: Any
    if layer.source_cls is Conv1D:
        full, weight = Conv1D(layer.out_features, layer.in_features), weight.T.contiguous()
    else:
        full = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    full.weight = nn.Parameter(weight)
    if layer.bias is not None:
        full.bias = nn.Parameter(layer.bias.data.to(weight.dtype))
    filled: nn.Module = full
    return filled


def forget(model: Any) -> None:
    """Take from a model whose layers are plain again what says that they are not."""
    for name in ("hf_quantizer", "is_quantized", "is_loaded_in_4bit", "quantization_method"):
        if name in model.__dict__:
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
