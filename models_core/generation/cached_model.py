"""A causal language model as decoding sees it: prompts through transformers' own forward pass, then step by step."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from transformers.cache_utils import Cache

from models_core.generation.llama.torch_steps import TorchLlama

PACKED_STEPS = 16


class StepOutput(NamedTuple):
    """Where B rows stand. states: what the head reads, [B, D]; logits: what it makes of them, [B, V]."""

    states: Tensor
    logits: Tensor


class CachedModel:
    """`fast` is the shorter way through a Llama-shaped model, or None."""

    def __init__(self, model: Any, *, steps: int, fast: bool = True) -> None:
        """`steps`: about how many decode steps there will be; preparing weights pays from PACKED_STEPS on."""
        self.model = model
        self.head = model.get_output_embeddings()
        self.device = next(model.parameters()).device
        # On a GPU the model keeps its own attention, as `decoding` says.
        self.asks_for_attention = bool(model._supports_attention_backend) and self.device.type == "cpu"
        self.fast = TorchLlama.of(model, pack=steps >= PACKED_STEPS) if fast else None
        # Models with other position schemes take no position_ids, and a few old ones cannot leave logits out.
        accepted = inspect.signature(model.forward).parameters
        self.takes_positions = "position_ids" in accepted
        self.kept = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def release(self) -> None:
        """The model is not needed afterwards: its weights need not stay beside the prepared ones."""
        if self.fast is not None:
            self.fast.release(self.model)

    def read(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> StepOutput:
        """Where the last column leads: ids and positions [B, t], mask [B, slots in the cache + t]."""
        if self.fast is not None:
            return self._output(self.fast, self.fast.read(ids, mask, positions, cache))
        placed = {"position_ids": positions} if self.takes_positions else {}
        states: list[Tensor] = []
        listening = self.head.register_forward_pre_hook(lambda _, given: states.append(given[0][:, -1]))
        try:
            out = self.model(
                input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **placed, **self.kept
            )
        finally:
            listening.remove()
        return StepOutput(states[-1], out.logits[:, -1])

    def step(self, tokens: Tensor, positions: Tensor, mask: Tensor, bias: Tensor, caches: Sequence[Any]) -> StepOutput:
        """Where one more token a row leads: tokens and positions [B], mask and bias [B, T].

        mask is 1 where a row may look; bias says the same as 0 and minus infinity.
        """
        if self.fast is not None:
            return self._output(self.fast, self.fast.step(tokens, positions, bias[:, None, None], caches))
        return self.read(tokens[:, None], mask, positions[:, None], Cache(layers=list(caches)))

    @staticmethod
    def _output(fast: TorchLlama, states: Tensor) -> StepOutput:
        return StepOutput(states, fast.head(states))
