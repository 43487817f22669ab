"""Which of a model's weights learn: all of them, those of the last layers, or LoRA's small matrices beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel

from models_core.config import BadInput, TrainingSettings


def prepare(model: PreTrainedModel, settings: TrainingSettings) -> Any:
    """The model with `requires_grad` set for the chosen method; under LoRA wrapped by peft.

    A scalar head always learns. Raises BadInput where the model has no list of layers to choose from.
    """
    model.requires_grad_(settings.method == "full")
    if settings.method == "last_n":
        for part in [*_layers(model)[-settings.last_layers :], _final_norm(model), getattr(model, "score", None)]:
            if part is not None:
                part.requires_grad_(True)
    if settings.method == "lora":
        return _with_lora(model, rank=settings.lora_rank)
    return model


def _with_lora(model: PreTrainedModel, *, rank: int) -> PeftModel:
    """LoRA on every linear layer of the trunk (Hu et al., 2106.09685), alpha = 2 rank, no dropout.

    The matrices take the model's dtype: peft's default of fp32 beside bf16 weights converts every activation. Their
    fp32 masters live in the optimizer. peft saves and trains the scalar head along with them.
    """
    is_scalar = hasattr(model, "score")
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type=TaskType.SEQ_CLS if is_scalar else TaskType.CAUSAL_LM,
    )
    return get_peft_model(model, config, autocast_adapter_dtype=False)


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    stacks = [list(part) for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) > 0]
    if not stacks:
        raise BadInput(f"The method last_n needs a stack of layers, and a {type(model).__name__} has none.")
    return max(stacks, key=len)


def _final_norm(model: PreTrainedModel) -> nn.Module | None:
    """The normalisation between the last layer and the head, under the names that transformers uses."""
    body = getattr(model, model.base_model_prefix)
    return next((getattr(body, name) for name in ("norm", "ln_f", "final_layer_norm") if hasattr(body, name)), None)


def merged(model: Any) -> PreTrainedModel:
    """A plain model with LoRA's product added into its weights; any other model as it is."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def unwrapped(model: Any) -> PreTrainedModel:
    """The transformers model inside peft's wrapper, with LoRA's layers in place; any other model as it is."""
    inner: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    return inner


@contextmanager
def adapter_off(model: Any) -> Iterator[None]:
    """Within it a LoRA model computes as the base it started from: PPO's reference without a second copy."""
    if not isinstance(model, PeftModel):
        raise TypeError("only a LoRA model can switch its adapter off")
    with model.disable_adapter():
        yield


@contextmanager
def merged_for_sampling(model: Any) -> Iterator[None]:
    """Within it LoRA's product is part of the weights, as it will be in the model that is saved.

    Decoding is one small product a layer and token, and LoRA's two more double its time. The weights are put back
    bit for bit afterwards; peft's own unmerging subtracts, which leaves rounding behind at every rollout.
    """
    layers: list[Any] = [part for part in model.modules() if isinstance(part, LoraLayer)]
    kept = [(layer, layer.get_base_layer().weight.data) for layer in layers]
    try:
        for layer, weight in kept:
            layer.get_base_layer().weight.data = weight.clone()
            layer.merge()
        yield
    finally:
        for layer, weight in kept:
            layer.merged_adapters.clear()
            layer.get_base_layer().weight.data = weight


def trainable(model: Any) -> dict[str, nn.Parameter]:
    """The parameters that learn by name; tied ones once."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def trainable_parameters(model: Any) -> int:
    """How many numbers learn."""
    return sum(weight.numel() for weight in trainable(model).values())
