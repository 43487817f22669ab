"""Adding what LoRA and IA3 learned into the weights: for good when training is over, for a while in order to sample."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from models_core.modeling.adapters import peft_folder, quantised
from models_core.modeling.adapters.layers import embedding, trunk
from models_core.modeling.adapters.soft_prompts import VirtualTokens
from models_core.modeling.adapters.storage import stored_variant
from models_core.modeling.devices import is_accelerator

EXACT = "exact_weights"
"""Attribute of a merged model: weights in fp32 that its own are the rounded copies of, by name."""


LEARNED = "learned_weights"
"""Attribute of a trained model: the fp32 masters of its weights that learn, by name, once training is over."""


def merge_adapters(model: PreTrainedModel) -> PreTrainedModel:
    """The model when training is over: LoRA's product and IA3's factors are in the weights, networks are dropped.

    bf16 has eight bits: most of what LoRA learns in a few hundred steps is less than half a step of the weight it is
    added to, and would be lost. So the sum is made in fp32, from the weights as they are on disk, and kept beside the
    model's own, which become its rounded copies. `save` writes the exact ones: what a later training adds comes on top
    of all that was learned before, and whoever loads the file in bf16 computes with the very bits that were measured.
    """
    quantised.forget(model)
    exact = _stored(model) | getattr(model, LEARNED, {})
    layers = merging_layers(model)
    peft_folder.keep(model, layers)
    for name, layer in layers:
        plain = _merged(layer, exact.get(f"{name}.weight"), exact.get(f"{name}.bias"))
        for key, value in plain.named_parameters():
            exact[f"{name}.{key}"] = value.data
            value.data = value.data.to(_dtype(model))
        model.set_submodule(name, plain)
    body = trunk(model)
    if hasattr(body, "peft_config"):
        del body.peft_config
    for part in body.modules():
        if isinstance(part, VirtualTokens):
            part.merge_encoder()
    setattr(model, EXACT, {} if _dtype(model).itemsize >= 4 else exact)
    return model


def merging_layers(model: PreTrainedModel) -> list[tuple[str, Any]]:
    """peft's layers in a model, by name."""
    if not hasattr(trunk(model), "peft_config"):
        return []
    from peft.tuners.tuners_utils import BaseTunerLayer  # peft takes seconds to load

    return [(name, part) for name, part in model.named_modules() if isinstance(part, BaseTunerLayer)]


def _dtype(model: PreTrainedModel) -> torch.dtype:
    return embedding(model).dtype


def _merged(layer: Any, weight: Tensor | None, bias: Tensor | None) -> nn.Module:
    """A plain layer in fp32 with what was learned in it; `weight` and `bias`: the base's, where more exact than its."""
    plain: Any = layer.get_base_layer()
    if quantised.is_quantised(plain):
        for matrices in (layer.lora_A, layer.lora_B):
            matrices.float()
        delta = layer.get_delta_weight(layer.active_adapters[0])
        return quantised.dequantise(plain, weight=quantised.dequantised(plain).float() + delta)
    wide = torch.promote_types(plain.weight.dtype, torch.float32)
    layer.to(wide)
    for parameter, value in ((plain.weight, weight), (plain.bias, bias)):
        if value is not None:
            parameter.data = value.to(parameter.device, wide)
    layer.merge()
    merged: nn.Module = plain
    return merged


def _stored(model: PreTrainedModel) -> dict[str, Tensor]:
    """The frozen weights as they are on disk, where that is in more bits than the model computes in; else nothing."""
    weights = model.state_dict()
    # By place and not by name: tied weights have two names.
    learned = {weight.data_ptr() for weight in model.parameters() if weight.requires_grad}
    frozen = {name for name, weight in weights.items() if weight.data_ptr() not in learned}
    return {name: value for name, value in on_disk(model).items() if name in frozen or name not in weights}


def on_disk(model: PreTrainedModel) -> dict[str, Tensor]:
    """All weights as they were loaded from, where that is in more bits than the model computes in; else nothing."""
    source = Path(model.name_or_path or "/nowhere")  # a model that was made here lies in no file
    if (dtype := _dtype(model)).itemsize >= 4 or not _is_wider(source, dtype):
        return {}
    again = type(model).from_pretrained(
        source,
        config=model.config,
        dtype=torch.float32,
        trust_remote_code=False,
        use_safetensors=True,
        **stored_variant(source),
    )
    return dict(again.state_dict())


def _is_wider(source: Path, dtype: torch.dtype) -> bool:
    for path in source.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (a safetensors handle is not a mapping)
                if file.get_slice(name).get_dtype() in ("F32", "F64") and not name.startswith("score."):
                    return True
    return False


@contextmanager
def merged_for_sampling(model: Any) -> Iterator[None]:
    """Within it what LoRA or IA3 learned is part of the weights, as it will be in the model that is saved.

    Decoding is one small product a layer and token, and LoRA's two more double its time. The weights are put back
    bit for bit afterwards; peft's own unmerging subtracts, which leaves rounding behind at every rollout. A 4-bit base
    stays as it is: merging would quantise it anew.

    On a GPU the sum stands where the weights are, for whose addresses steps are recorded, and a copy keeps them
    meanwhile. On a processor the copy gets the sum: the weights may be pages of a file.
    """
    layers = [layer for _, layer in merging_layers(model) if not quantised.is_quantised(layer.get_base_layer())]
    kept = [(layer, _tensors(layer.get_base_layer())) for layer in layers]
    copies: list[tuple[Tensor, Tensor]] = []
    try:
        for layer, tensors in kept:
            for name, value in tensors.items():
                copy = value.clone()
                if is_accelerator(value.device):
                    copies.append((value, copy))
                else:
                    getattr(layer.get_base_layer(), name).data = copy
            layer.merge()
        yield
    finally:
        for value, copy in copies:
            value.copy_(copy)
        for layer, tensors in kept:
            layer.merged_adapters.clear()
            for name, value in tensors.items():
                getattr(layer.get_base_layer(), name).data = value


def _tensors(layer: nn.Module) -> Mapping[str, Tensor]:
    return {name: weight.data for name, weight in layer.named_parameters()}
