"""How the rows of one call are sampled, and when a row has ended."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from models_core.generation.token_history import RowId
from models_core.generation.token_sampling import SamplingOptions

ValueHead = Callable[[Tensor], Tensor]
"""A value head on the model's trunk: its last hidden states [B, D] -> values [B]."""


@dataclass(frozen=True, kw_only=True)
class SamplingRun:
    """How tokens are sampled and when a row has ended."""

    options: SamplingOptions
    stop_ids: tuple[int, ...]
    max_new_tokens: int
    seed: int
    value_head: ValueHead | None

    def uniforms(self, row_id: RowId) -> Tensor:
        """The numbers in [0, 1) that a row's tokens are drawn with: [max_new_tokens], fp64."""
        generator = numpy.random.default_rng([self.seed, row_id.prompt, row_id.number])
        return torch.from_numpy(generator.random(self.max_new_tokens))
