"""The shape of a run: the settings that the time and the memory of its steps depend on."""

from collections.abc import Mapping
from typing import Any

from models_core.contract.settings import parse, settings_of

SETTINGS = (
    "method", "batch_size", "batch_tokens", "max_length", "max_tokens_per_forward", "gradient_checkpointing",
    "compile_trunk", "precision", "processes", "parallel", "max_new_tokens", "ppo_epochs", "minibatches", "algorithm",
    "samples_per_prompt", "trunk_layers", "ensemble", "weight_format", "num_beams", "best_of", "batch_invariant",
)  # fmt: skip


def of(stage: str, config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Raises BadInput for settings of an earlier version."""
    parsed = parse(settings_of(stage), config)
    return tuple(getattr(parsed, name, None) for name in SETTINGS)
