"""Rows in flight, of whichever kind a model is decoded by, and the choice between the kinds.

native.batch.NativeBatch   compiled kernels, where model and machine are right for them
batch.Batch                PyTorch: over a Llama-shaped model's weights directly, or through the model's own forward
plain.PlainBatch           every model that no fast way knows: transformers' own forward and cache
exact.ExactBatch           PyTorch, the same bits in every batch; compiled kernels do that anyway
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from models_core.cpu_kernels.decoding import eligibility as native
from models_core.generation import batch_invariant as exactly
from models_core.generation.batch import Batch
from models_core.generation.batch_invariant import ExactBatch
from models_core.generation.cached_model import Network
from models_core.generation.decoding_check import DecodingCheck
from models_core.generation.kv_cache import DECODING, decoding
from models_core.generation.plain_batch import PlainBatch
from models_core.generation.prefix import Beginning
from models_core.generation.token_history import Place
from models_core.generation.token_sampling import Choice
from models_core.modeling import families, forward_check
from models_core.modeling.adapters import soft_prompts


class Rows(Protocol):
    """Row i belongs to `places[i]`. Shapes: B rows, T places in use, D width, V vocabulary."""

    places: list[Place]

    def __len__(self) -> int: ...

    @property
    def seen(self) -> Tensor:
        """Ids of prompt and answer so far, repeats included: [B, T]."""

    @property
    def states(self) -> Tensor:
        """What the head reads to say what comes next: the last hidden states, [B, D]."""

    def draw(self, uniforms: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
        """The next token of each row, by its number in [0, 1), and its log-probability: [B] each."""

    def drop(self, over: Sequence[bool]) -> Tensor:
        """Take out the rows that are over; returns the rows that go on, in their new order: [B]."""

    def advance(self, tokens: Tensor) -> None:
        """Compute what follows `tokens` [B]."""


class Beams(Rows, Protocol):
    """Rows whose logits are asked for, and that may become each other."""

    @property
    def logits(self) -> Tensor:
        """Those of the next token: [B, V]."""

    def take(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was."""


Open = Callable[[Sequence[Place]], Any]
"""Begins a batch of rows: their prompts are computed."""


@contextmanager
def opening(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    rows: int,
    max_new_tokens: int,
    batches: int,
    exact: bool = False,
    release: bool = False,
    beginning: Beginning | None = None,
) -> Iterator[Open]:
    """How to open batches of at most `rows` rows, of which there will be about `batches`.

    `release`: the model is not needed afterwards. Until the end of the context it is in evaluation mode and without
    gradients. Raises BadInput where the model cannot be taken exactly.
    """
    if exact:
        exactly.check(model)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            left = beginning or soft_prompts.beginning(model)
            check = DecodingCheck(model, left, rows=rows)
            if native.fits(model) and beginning is None:
                begin = _native(model, rows=rows, exact=exact, release=release)
                check.hold(begin, is_released=release)
                if families.fast_ways(model).decoding:
                    yield partial(begin, prompts, max_new_tokens=max_new_tokens)
                    return
            if families.fast_ways(model).decoding:
                with decoding(model, attention=exactly.ROW_BY_ROW if exact else DECODING):
                    network = Network(model, steps=batches * max_new_tokens)
                    kind: Any = partial(ExactBatch, size=rows) if exact else Batch
                    begin = partial(kind, network, beginning=left)
                    check.hold(begin)
                    if families.fast_ways(model).decoding:
                        # Virtual tokens that are embeddings go through the model's own forward pass first.
                        if release and not soft_prompts.count(model):
                            network.release()
                        yield partial(begin, prompts, max_new_tokens=max_new_tokens)
                        return
            if exact:
                exactly.check(model)
            forward_check.say_plain(model)
            yield lambda places: PlainBatch(model, prompts, places, beginning=left)
    finally:
        model.train(was_training)


def prepare(model: Any) -> None:
    """Load what decoding this model runs on, so that the first batch need not wait for it.

    Compiled kernels take half a second to load, and on a machine that never had them, twenty to compile.
    """
    if native.fits(model):
        from models_core.cpu_kernels.decoding.model_weights import KERNELS

        for kernel in KERNELS:
            kernel.load()


def _native(model: Any, *, rows: int, exact: bool, release: bool) -> Any:
    from models_core.cpu_kernels.decoding.model_weights import NativeNetwork
    from models_core.cpu_kernels.decoding.paged_batch import NativeBatch

    return partial(NativeBatch, NativeNetwork(model, rows=rows, release=release), sharing=not exact)
