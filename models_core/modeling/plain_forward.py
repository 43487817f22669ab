"""The plain way: transformers' own forward on rows padded to one width, for models that the fast ways don't know.

It takes the same long row that the fast way takes, cut into segments (models_core.modeling.packing), and gives back the
same states: each segment that nobody continues is one row, with all that it continues in front of it.

Shapes: N tokens of the long row, B rows, T tokens of the longest, D hidden width, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from models_core.contract.errors import BadInput
from models_core.modeling import families
from models_core.modeling.devices import to_device
from models_core.training import fsdp

if TYPE_CHECKING:
    from models_core.modeling.manual_autograd.segment_attention import Segment
    from models_core.modeling.prefix import Prefix

MOST_PADDING = 1.25
"""Rows are computed together while padding makes them at most so many times as many tokens."""


def hidden_states(trunk: Any, ids: Tensor, segments: Sequence["Segment"], *, prefix: "Prefix | None" = None) -> Tensor:
    """The trunk's last hidden states of every token of a long row, [N, D]; ids: [1, N]. Raises BadInput.

    `prefix` is what every row sees to its left: virtual tokens.
    """
    rows = _rows(segments)
    lengths = [sum(end - start for start, end in row) for row in rows]
    needs_equal = families.depends_on_length(trunk.config)
    is_split = any(fsdp.is_sharded(weight) for weight in trunk.parameters())
    if is_split and needs_equal:
        raise BadInput("parallel=fsdp cannot train a model whose rotary positions depend on a row's length: take ddp.")
    # Processes that share a model's layers gather them as often as each other, so they compute all rows at once.
    most = float("inf") if is_split else 1.0 if needs_equal else MOST_PADDING
    found: list[Tensor] = []
    positions = torch.empty(ids.shape[1], dtype=torch.long)
    offset = 0
    for chunk in _together(lengths, most=most):
        width = max(lengths[row] for row in chunk)
        for number, row in enumerate(chunk):
            column = offset + number * width
            for start, end in rows[row]:
                positions[start:end] = torch.arange(column, column + end - start)
                column += end - start
        found.append(_states(trunk, [_taken(ids, rows[row]) for row in chunk], width=width, prefix=prefix))
        offset += len(chunk) * width
    return torch.cat(found)[to_device(positions, ids.device)]


def _rows(segments: Sequence["Segment"]) -> list[list[tuple[int, int]]]:
    """Where the tokens of each row lie: the segments that a last one continues, and itself."""
    continued = {span for segment in segments for span in segment.prefixes}
    return [
        [*segment.prefixes, (segment.start, segment.end)]
        for segment in segments
        if (segment.start, segment.end) not in continued
    ]


def _together(lengths: Sequence[int], *, most: float) -> Iterator[list[int]]:
    """Rows that are computed together, longest first, with at most `most` times as many tokens as are real."""
    chunk: list[int] = []
    real = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if chunk and (len(chunk) + 1) * lengths[chunk[0]] > most * (real + lengths[row]):
            yield chunk
            chunk, real = [], 0
        chunk.append(row)
        real += lengths[row]
    yield chunk


def _taken(ids: Tensor, spans: Sequence[tuple[int, int]]) -> Tensor:
    return torch.cat([ids[0, start:end] for start, end in spans])


def _states(trunk: Any, rows: Sequence[Tensor], *, width: int, prefix: "Prefix | None") -> Tensor:
    """Rows padded on the right, as a trunk of transformers takes them: [B x T, D]."""
    ids = torch.stack([torch.nn.functional.pad(row, (0, width - len(row))) for row in rows])
    lengths = to_device([len(row) for row in rows], ids.device)
    mask = (torch.arange(width, device=ids.device) < lengths[:, None]).long()
    given: dict[str, Any] = {"use_cache": False}
    if prefix is not None:
        given = {"use_cache": True, "past_key_values": prefix.cache(rows=len(rows))}
        mask = torch.nn.functional.pad(mask, (prefix.length, 0), value=1)
    states: Tensor = trunk(input_ids=ids, attention_mask=mask, **given).last_hidden_state
    return states.flatten(0, 1)


class OwnHead:
    """A model's way from hidden states to logits as it is in its own forward: caps, scales and all."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, states: Tensor) -> Tensor:
        """[N, D] -> [N, V]"""
        ids = torch.zeros(1, 1, dtype=torch.long, device=states.device)
        with _instead_of(self.model, states[None]) as called:
            logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
        if not called:
            raise BadInput(f"A {type(self.model).__name__} computes its logits in a way that Hone cannot follow.")
        return logits[0]


@dataclass
class _Given(ModelOutput):
    """What the trunk is made to return; whatever else a model reads of it is None."""

    last_hidden_state: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def asked_by_head(model: Any) -> list[nn.Module]:
    """The modules of which one hands its states to the head: the trunk, or, as OPT has it, the decoder inside."""
    body = getattr(model, model.base_model_prefix)
    return [body, *(part for name, part in body.named_children() if name == "decoder")]


@contextmanager
def _instead_of(model: Any, states: Tensor) -> Iterator[list[bool]]:
    """Within it the trunk returns these states of whatever it is given; what is yielded is empty until it was asked."""
    bodies = asked_by_head(model)
    called: list[bool] = []

    def forward(*_: Any, **__: Any) -> _Given:
        called.append(True)
        return _Given(last_hidden_state=states)

    usual = [vars(part).get("forward") for part in bodies]
    for part in bodies:
        part.forward = forward
    try:
        yield called
    finally:
        for part, before in zip(bodies, usual, strict=True):
            if before is None:
                del part.forward
            else:
                part.forward = before
