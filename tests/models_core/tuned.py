"""Tiny models prepared for a fine-tuning method, as if they had learned something already."""

from pathlib import Path
from typing import Any

import torch

from models_core.contract.settings import METHODS, SFTConfig, parse
from models_core.modeling import adapters, loading

ADDING = tuple(method for method in METHODS if method not in ("full", "last_n"))
"""Methods that leave the model's own weights alone."""
SMALL: dict[str, Any] = {"lora_rank": 2, "last_layers": 1, "virtual_tokens": 5, "adapter_width": 3}


def dtype_for(method: str) -> torch.dtype:
    """fp64 but for 4 bits, which compute in fp32 at most."""
    return torch.float32 if method == "qlora" else torch.float64


def prepared(
    base: Path,
    method: str,
    *,
    dtype: torch.dtype | None = None,
    reward: bool = False,
    shake: float = 0.1,
    **values: Any,
) -> Any:
    """The model under a method; its learning weights are moved by normal noise of size `shake`."""
    given: dict[str, Any] = {"device": "cpu", "dtype": dtype or dtype_for(method), "quantise": method == "qlora"}
    model: Any = loading.new_reward_model(base, seed=0, **given) if reward else loading.load_policy(base, **given)
    settings = parse(SFTConfig, {"method": method, **SMALL, **values})
    torch.manual_seed(1)
    model = adapters.prepare(model, settings, tokenizer=loading.load_tokenizer(base))
    with torch.no_grad():
        for weight in adapters.trainable(model).values():
            weight.add_(torch.randn_like(weight) * shake)
    return model
