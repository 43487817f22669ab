"""Choosing the weights that learn, and switching off what they learned."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from models_core.contract.errors import BadInput
from models_core.contract.settings import TrainingSettings
from models_core.modeling.adapters import bottleneck, layers, merging, soft_prompts
from models_core.modeling.adapters.layers import trunk


@dataclass
class Tuning:
    """How a model is being trained: kept on the model itself, under the name `tuning`."""

    method: str
    keeps_base: bool
    learning: int = 0
    total: int = 0
    """How many numbers learn, of how many."""
    switches: list[Any] = field(default_factory=list)
    """Modules whose `off` takes away what the method added."""
    start: dict[nn.Parameter, torch.Tensor] = field(default_factory=dict)
    """Weights that learn and were there before, as they were."""


def keeps_base(method: str) -> bool:
    """Whether a method leaves the model's weights alone, so that what it learned can be switched off."""
    return method not in ("full", "last_n")


def prepare(model: PreTrainedModel, settings: TrainingSettings, *, tokenizer: Any) -> PreTrainedModel:
    """The model itself, with `requires_grad` set for the chosen method and its parts added.

    A scalar head always learns. Raises BadInput where the method cannot run on this model.
    """
    model.requires_grad_(False)
    tuning = Tuning(method=settings.method, keeps_base=keeps_base(settings.method))
    ADD[settings.method](model, settings, tokenizer, tuning)
    head = getattr(model, "score", None)
    if head is not None:
        head.requires_grad_(True)
    if tuning.keeps_base:
        tuning.start |= {weight: weight.detach().clone() for weight in _parameters(head)}
        _smoke_test(model, method=settings.method)
    tuning.learning = sum(weight.numel() for weight in trainable(model).values())
    tuning.total = sum(weight.numel() for weight in model.parameters())
    marked: Any = model
    marked.tuning = tuning
    return model


def _full(model: PreTrainedModel, settings: TrainingSettings, tokenizer: Any, tuning: Tuning) -> None:
    model.requires_grad_(True)


def _last_n(model: PreTrainedModel, settings: TrainingSettings, tokenizer: Any, tuning: Tuning) -> None:
    layers.choose_last(model, count=settings.last_layers)


def _low_rank(model: PreTrainedModel, settings: TrainingSettings, tokenizer: Any, tuning: Tuning) -> None:
    from models_core.modeling.adapters import lora  # peft takes seconds to load

    lora.add(model, rank=settings.lora_rank)


def _scaling(model: PreTrainedModel, settings: TrainingSettings, tokenizer: Any, tuning: Tuning) -> None:
    from models_core.modeling.adapters import ia3

    ia3.add(model)


def _bottleneck(model: PreTrainedModel, settings: TrainingSettings, tokenizer: Any, tuning: Tuning) -> None:
    tuning.switches += bottleneck.add(model, inner=settings.adapter_width)
    adapters = bottleneck.held(model)
    for adapter in adapters:
        adapter.requires_grad_(True)
    if not tuning.switches:
        tuning.start |= {weight: weight.detach().clone() for each in adapters for weight in each.parameters()}


def _soft_prompt(model: PreTrainedModel, settings: TrainingSettings, tokenizer: Any, tuning: Tuning) -> None:
    soft_prompts.add(model, method=settings.method, tokens=settings.virtual_tokens, tokenizer=tokenizer)
    tuning.switches.append(trunk(model).virtual_tokens)


ADD: dict[str, Callable[[PreTrainedModel, TrainingSettings, Any, Tuning], None]] = {
    "full": _full,
    "last_n": _last_n,
    "lora": _low_rank,
    "qlora": _low_rank,
    "adapter": _bottleneck,
    "ia3": _scaling,
} | dict.fromkeys(soft_prompts.KINDS, _soft_prompt)


def _smoke_test(model: PreTrainedModel, *, method: str) -> None:
    """One tiny step forward and back: a model that the method cannot train says so now. Raises BadInput."""
    # Packing reads what this package adds to a model, so it is imported late.
    from models_core.modeling.packing import Group, hidden_states, pack

    batch = pack([Group([0, 1], [[1, 0], [0]])], device=model.device, sharing="always")
    body = trunk(model)
    trainable = {name: weight for name, weight in body.named_parameters() if weight.requires_grad}
    try:
        with torch.enable_grad():
            hidden_states(body, batch).float().sum().backward()
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if "memory" in str(error):
            raise
        reason = str(error).strip().split("\n")[0]
        raise BadInput(f"The method {method} cannot run on a {type(model).__name__}: {reason}.") from error
    untouched = [name for name, weight in trainable.items() if weight.grad is None]
    for weight in trainable.values():
        weight.grad = None
    if untouched:
        raise BadInput(f"The method {method} cannot run on a {type(model).__name__}: it never uses {untouched[0]}.")


def _parameters(part: nn.Module | None) -> list[nn.Parameter]:
    return list(part.parameters()) if part is not None else []


@contextmanager
def adapter_off(model: Any) -> Iterator[None]:
    """Within it a model computes as it did before its training began: PPO's reference without a second copy.

    A reward model's head is the one it came with, too. Not between a forward pass and its backward pass.
    """
    tuning = getattr(model, "tuning", None)
    if not isinstance(tuning, Tuning) or not tuning.keeps_base:
        raise TypeError("this model's own weights have been trained: there is nothing to switch off")
    peft_layers = [layer for _, layer in merging.merging_layers(model)]
    trained = {weight: weight.data for weight in tuning.start}
    try:
        _switch(peft_layers, tuning.switches, off=True)
        for weight, value in tuning.start.items():
            weight.data = value
        yield
    finally:
        _switch(peft_layers, tuning.switches, off=False)
        for weight, value in trained.items():
            weight.data = value


def _switch(peft_layers: list[Any], switches: list[Any], *, off: bool) -> None:
    for layer in peft_layers:
        layer.enable_adapters(not off)
    for part in switches:
        part.off = off


def trainable(model: Any) -> dict[str, nn.Parameter]:
    """The parameters that learn by name; tied ones once."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def trainable_parameters(model: Any) -> int:
    """How many numbers learn in a prepared model, or learned, where they are merged since."""
    tuning: Tuning = model.tuning
    return tuning.learning


def parameter_summary(model: Any) -> str:
    """The sentence on how many numbers learn in a prepared model."""
    tuning: Tuning = model.tuning
    share = f"{tuning.learning:,} of {tuning.total:,} parameters ({tuning.learning / tuning.total:.2%})"
    return f"{type(model).__name__}: the method {tuning.method} trains {share}."
