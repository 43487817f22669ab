"""The decoder operator by compiled kernels: weights in panels, keys and values in pages, all layers in one call."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from models_core.cpu_kernels.decoding import model_weights
from models_core.cpu_kernels.decoding.model_weights import CompiledModel
from models_core.cpu_kernels.decoding.paged_batch import PagedBatch
from models_core.generation.token_history import RowId

KERNELS = model_weights.KERNELS


class CompiledDecoder:
    """As models_core.generation.decoder.DecoderBackend asks for; with `release` the model has lost its weights."""

    def __init__(self, model: Any, *, rows: int, batch_invariant: bool, release: bool) -> None:
        self.network = CompiledModel(model, rows=rows, release=release)
        # What prompts share is computed with another number of tokens, which may change the last bit of a row.
        self.sharing = not batch_invariant
        self.is_released = release

    def open(self, prompts: Sequence[Sequence[int]], row_ids: Sequence[RowId], *, max_new_tokens: int) -> PagedBatch:
        return PagedBatch(self.network, prompts, row_ids, max_new_tokens=max_new_tokens, sharing=self.sharing)

    def release(self) -> None:
        """Done while the weights were read."""


@contextmanager
def decoder(
    model: Any, *, rows: int, steps: int, batch_invariant: bool, release: bool, prefix: None
) -> Iterator[CompiledDecoder]:
    """Decoding by compiled kernels; a row's bits never depend on the rows beside it."""
    yield CompiledDecoder(model, rows=rows, batch_invariant=batch_invariant, release=release)
