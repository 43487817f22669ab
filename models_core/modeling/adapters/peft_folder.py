"""What LoRA learned, as peft's own folder beside the model that it was merged into.

RUN/lora/adapter_config.json         the configuration, without the base model's name, which only a push knows
RUN/lora/adapter_model.safetensors   the matrices in fp32, those that were merged

`PeftModel.from_pretrained(base, RUN/lora)` is the model in RUN/model. Nothing here reads it: it is there to be pushed.
"""

import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from models_core.modeling.adapters.layers import trunk

KEPT = "lora_adapter"
"""Attribute of a merged model: what `keep` has taken of it."""
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
"""Before the names of a model's parts in peft's files."""


def folder_of(model_folder: Path) -> Path:
    """RUN/model has its LoRA matrices in RUN/lora; another NAME has them in NAME-lora."""
    return model_folder.with_name("lora" if model_folder.name == "model" else f"{model_folder.name}-lora")


def keep(model: PreTrainedModel, layers: list[tuple[str, Any]]) -> None:
    """Take the matrices of peft's layers, by name, before they are merged; of IA3, which has none, nothing."""
    if tensors := matrices_of(layers):
        (config,) = trunk(model).peft_config.values()
        setattr(model, KEPT, (config, tensors))


def matrices_of(layers: list[tuple[str, Any]]) -> dict[str, Tensor]:
    """LoRA's matrices of peft's layers by their names in peft's files, fp32 on the CPU: (rank, in), (out, rank)."""
    tensors: dict[str, Tensor] = {}
    for name, layer in layers:
        for part in ("lora_A", "lora_B"):
            if matrices := getattr(layer, part, None):
                (matrix,) = matrices.values()
                tensors[f"{PREFIX}{name}.{part}.weight"] = matrix.weight.detach().float().cpu().contiguous()
    return tensors


def save(model: PreTrainedModel, model_folder: Path) -> None:
    """Write the folder of a language model that LoRA was merged into; remove it where there is nothing of the kind."""
    folder = folder_of(model_folder)
    shutil.rmtree(folder, ignore_errors=True)
    kept = getattr(model, KEPT, None)
    if kept is None or not model.can_generate():
        return
    write(folder, *kept)


def write(folder: Path, config: Any, tensors: dict[str, Tensor]) -> None:
    """Write an adapter's folder, whole or not at all; `folder` must not exist."""
    config.task_type, config.inference_mode, config.base_model_name_or_path = "CAUSAL_LM", True, None
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    config.save_pretrained(partial)
    save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
    partial.rename(folder)
