"""Linear layers in int8 for sampling on a CPU: torch's dynamic quantisation.

Weights are rounded once, with a scale for each output channel; inputs are rounded at each call, by their range. Heads
and embeddings stay as they are: an error there goes into every token.
"""

import warnings
from importlib import import_module
from typing import Any

import torch
from torch import nn

from models_core.contract.errors import BadInput
from models_core.modeling.adapters.quantised import UNQUANTISED


def refuse_device(device: torch.device | str) -> None:
    """Raise BadInput where this machine's torch can't multiply in int8."""
    kind = torch.device(device).type
    if kind != "cpu":
        raise BadInput(f"weight_format=int8 runs on the CPU alone, and the device is {kind}: take weight_format=nf4.")
    engines = [engine for engine in torch.backends.quantized.supported_engines if engine != "none"]
    if not engines:
        raise BadInput("weight_format=int8 needs a quantised engine of torch (x86, onednn or qnnpack): it has none.")


def quantise(model: Any) -> Any:
    """The model with its linear layers, but for the heads, in int8; its weights are in fp32. Raises BadInput."""
    try:
        quantization = import_module("torch.ao.quantization")
    except ImportError:
        raise BadInput("weight_format=int8 needs torch.ao.quantization, which this version of torch lacks.") from None
    names = {
        name
        for name, module in model.named_modules()
        if type(module) is nn.Linear and name.rpartition(".")[2] not in UNQUANTISED
    }
    if not names:
        raise BadInput(f"A {type(model).__name__} has no plain linear layers that could be held in int8.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of this interface in a later version
        spec = dict.fromkeys(names, quantization.per_channel_dynamic_qconfig)
        return quantization.quantize_dynamic(model, qconfig_spec=spec, dtype=torch.qint8, inplace=True)


def stored_bytes(model: nn.Module) -> int:
    """Bytes of a model's weights in memory, quantised ones among them; a weight that two layers share counts once."""
    plain = [*model.parameters(), *model.buffers()]
    total = sum({tensor.data_ptr(): tensor.nbytes for tensor in plain}.values())
    for module in model.modules():
        if hasattr(module, "_weight_bias") and hasattr(module, "in_features"):  # a layer in int8, not its packed part
            total += sum(tensor.nbytes for tensor in module._weight_bias() if tensor is not None)
    return total
