"""Decoding held against the plain way, once for a model in memory: the logits of two short prompts and of a step on."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models_core.contract.errors import BadInput
from models_core.generation.plain_batch import PlainBatch
from models_core.generation.token_history import RowId
from models_core.modeling import families, forward_check
from models_core.modeling.adapters.layers import embedding, trunk
from models_core.modeling.adapters.soft_prompts import count
from models_core.modeling.prefix import Prefix

NAME = "decoding"
SHORTEST = 4
"""Tokens of a prompt of the check; a model that has room for fewer is not checked."""


class DecodingCheck:
    """What the plain way makes of the prompts; `hold` compares a faster way with it.

    It comes before that way is made, which may take the model's weights apart.
    """

    def __init__(self, model: Any, prefix: Prefix | None, *, rows: int) -> None:
        """`rows`: how many the faster way has in flight at the most."""
        self.model = model
        self.body = trunk(model)
        room = (getattr(model.config, "max_position_embeddings", None) or 10**9) - count(model) - 1
        room = min(room - (prefix.shift if prefix else 0), max(forward_check.ROWS))
        is_due = families.fast_ways(model).decoding and NAME not in getattr(self.body, forward_check.FOUND, {})
        self.expected: Tensor | None = None
        if not is_due or room < SHORTEST:
            return
        start = time.perf_counter()
        self.prompts = [ids[:room] for ids in forward_check.rows(model.config.vocab_size)[: min(rows, 2)]]
        self.expected = self._logits(lambda ids, row_ids, **_: PlainBatch(model, ids, row_ids, prefix=prefix))
        self.seconds = time.perf_counter() - start

    def hold(self, begin: Callable[..., Any], *, is_released: bool = False) -> None:
        """Close the model's fast ways where this one differs; `begin` opens a batch of it.

        Raises BadInput where the model has lost its weights to it, so that no other way is left.
        """
        if self.expected is None:
            return
        start = time.perf_counter()
        apart = forward_check.difference(self._logits(begin), self.expected)
        seconds = self.seconds + time.perf_counter() - start
        dtype = embedding(self.model).dtype
        if not forward_check.note(self.body, NAME, apart=apart, dtype=dtype, seconds=seconds) and is_released:
            raise BadInput(
                f"Decoding a {type(self.model).__name__} by compiled kernels differs from transformers' own forward on "
                "this machine: set MODELS_CORE_DISABLE_KERNELS=decoder to decode without them."
            )

    def _logits(self, begin: Callable[..., Any]) -> Tensor:
        """Of the next token, after each prompt but its last token and after that one: [2, B, V], around 0."""
        row_ids = [RowId(prompt=number, number=0) for number in range(len(self.prompts))]
        batch = begin([ids[:-1] for ids in self.prompts], row_ids, max_new_tokens=2)
        first = batch.logits.float().clone()
        batch.advance(torch.tensor([ids[-1] for ids in self.prompts], device=batch.token_ids.device))
        logits = torch.stack([first, batch.logits.float()])
        return logits - logits.mean(-1, keepdim=True)
