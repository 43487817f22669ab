"""Decoding a model: which way its rows in flight are computed.

decoder       the fast way, an operator. By default PyTorch: a Llama-shaped model's weights directly (llama/),
              any other model through its own forward (cached_model.py), keys and values written in place (batch.py),
              each row alone where rows must not depend on their batch (batch_invariant.py). Compiled kernels may
              take its place.
PlainBatch    every model that the fast way does not know, or computes differently: transformers' own forward and cache
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from models_core.generation import batch_invariant as invariant
from models_core.generation.batch import Batch
from models_core.generation.batch_invariant import InvariantBatch
from models_core.generation.cached_model import CachedModel
from models_core.generation.decoding_check import DecodingCheck
from models_core.generation.kv_cache import DECODING, decoding
from models_core.generation.plain_batch import PlainBatch
from models_core.generation.token_history import RowId
from models_core.generation.token_sampling import SamplingOptions
from models_core.modeling import families, forward_check
from models_core.modeling.adapters import soft_prompts
from models_core.modeling.operators import operator
from models_core.modeling.prefix import Prefix


class Rows(Protocol):
    """Rows in flight; row i is the response `row_ids[i]`. Shapes: B rows, T positions in use, D width, V vocabulary."""

    row_ids: list[RowId]

    def __len__(self) -> int: ...

    @property
    def token_ids(self) -> Tensor:
        """Ids of prompt and response so far, repeats included: [B, T]."""

    @property
    def states(self) -> Tensor:
        """The last hidden states, which the head reads: [B, D]."""

    def sample(self, uniforms: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor]:
        """The next token of each row, by its number in [0, 1), and its log-probability: [B] each."""

    def remove_finished(self, finished: Sequence[bool]) -> Tensor:
        """Take finished rows out; returns the rows that go on, in their new order: [B]."""

    def advance(self, tokens: Tensor) -> None:
        """One decode step: compute what follows `tokens` [B]."""


class Beams(Rows, Protocol):
    """Rows whose logits are asked for, and that may become each other."""

    @property
    def logits(self) -> Tensor:
        """Logits of the next token: [B, V]."""

    def reindex(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was."""


BatchFactory = Callable[[Sequence[RowId]], Any]
"""Starts a batch of rows: their prompts are computed. Returns Beams, without `reindex` where it is batch-invariant."""


class DecoderBackend(Protocol):
    """One way to compute a model's rows in flight."""

    is_released: bool
    """Whether making it took the model's weights apart, so that no other way is left."""

    def open(self, prompts: Sequence[Sequence[int]], row_ids: Sequence[RowId], *, max_new_tokens: int) -> Any:
        """A batch of rows (`Beams`), its prompts computed."""

    def release(self) -> None:
        """The model is not needed afterwards: its memory may be used."""


class TorchDecoder:
    """Decoding by PyTorch."""

    is_released = False

    def __init__(
        self, model: Any, *, rows: int, steps: int, batch_invariant: bool, release: bool, prefix: Prefix | None
    ) -> None:
        self.network = CachedModel(model, steps=steps)
        self.kind: Any = partial(InvariantBatch, size=rows) if batch_invariant else Batch
        self.prefix = prefix
        # Virtual tokens that are embeddings go through the model's own forward pass first.
        self.may_release = release and not soft_prompts.count(model)

    def open(self, prompts: Sequence[Sequence[int]], row_ids: Sequence[RowId], *, max_new_tokens: int) -> Any:
        return self.kind(self.network, prompts, row_ids, max_new_tokens=max_new_tokens, prefix=self.prefix)

    def release(self) -> None:
        if self.may_release:
            self.network.release()


@operator
@contextmanager
def decoder(
    model: Any, *, rows: int, steps: int, batch_invariant: bool, release: bool, prefix: Prefix | None
) -> Iterator[DecoderBackend]:
    """The fast way to decode a model, in the context: at most `rows` rows in flight, about `steps` steps in all.

    batch_invariant: a row's bits must not depend on the rows beside it. release: the model is not needed afterwards.
    """
    with decoding(model, attention=invariant.ROW_BY_ROW if batch_invariant else DECODING):
        yield TorchDecoder(
            model, rows=rows, steps=steps, batch_invariant=batch_invariant, release=release, prefix=prefix
        )


@contextmanager
def batch_factory(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    rows: int,
    max_new_tokens: int,
    batches: int,
    batch_invariant: bool = False,
    release: bool = False,
    prefix: Prefix | None = None,
) -> Iterator[BatchFactory]:
    """How to start batches of at most `rows` rows, of which there will be about `batches`.

    `release`: the model is not needed afterwards. Until the end of the context it is in evaluation mode and without
    gradients. Raises BadInput where the model cannot be decoded batch-invariantly.
    """
    if batch_invariant:
        invariant.check(model)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            prefix = prefix or soft_prompts.learned_prefix(model)
            check = DecodingCheck(model, prefix, rows=rows)
            if families.fast_ways(model).decoding:
                steps = batches * max_new_tokens
                options: dict[str, Any] = {"batch_invariant": batch_invariant, "release": release, "prefix": prefix}
                with decoder(model, rows=rows, steps=steps, **options) as backend:
                    check.hold(backend.open, is_released=backend.is_released)
                    if families.fast_ways(model).decoding:
                        backend.release()
                        yield partial(backend.open, prompts, max_new_tokens=max_new_tokens)
                        return
            if batch_invariant:
                invariant.check(model)
            forward_check.log_plain_forward(model)
            yield lambda row_ids: PlainBatch(model, prompts, row_ids, prefix=prefix)
    finally:
        model.train(was_training)


def prepare(model: Any) -> None:
    """Load what decoding this model runs on, so that the first batch need not wait for it.

    Compiled kernels take half a second to load, and on a machine that never had them, twenty to compile.
    """
    if decoder.uses_kernel(model, prefix=None):
        decoder.prepare()
