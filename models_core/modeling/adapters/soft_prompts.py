"""Virtual tokens that every row begins with: what the four soft-prompt methods learn.

    prompt        embeddings, one a virtual token                       Lester et al. 2021, arXiv 2104.08691
    p_tuning      the same, made by an LSTM from embeddings of its own  Liu et al. 2021, arXiv 2103.10385
    p_tuning_v2   keys and values in every layer                        Liu et al. 2022, arXiv 2110.07602
    prefix        the same, made by a small network                     Li and Liang 2021, arXiv 2101.00190

All four come to one thing in the end: keys and values in every layer that each row sees to its left, whose own tokens
take their positions after them. Packed training, scoring and sampling read them as that, so no row is padded, and none
depends on its neighbours. All four start as the same function, the model with a real text in front: random virtual
tokens upset a small model, and it takes hundreds of steps to make up for them. The two networks learn what is added to
that start and begin at zero. They are needed for training alone; afterwards their result is kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from models_core.contract.errors import BadInput
from models_core.modeling.adapters.layers import embedding, trunk
from models_core.modeling.prefix import Prefix

EMBEDDINGS, KEYS_VALUES = "embeddings", "keys_values"
KINDS = {"prompt": EMBEDDINGS, "p_tuning": EMBEDDINGS, "p_tuning_v2": KEYS_VALUES, "prefix": KEYS_VALUES}
START = "This is a conversation with an assistant. Its answers are helpful, honest and to the point."
"""The text that virtual tokens start as, cut or repeated to their number."""
FEWEST_REAL = 16
"""Positions that must be left for a row's own tokens."""


class VirtualTokens(nn.Module):
    """The virtual tokens of one trunk, which holds them under the name `virtual_tokens`.

    table: [v, width] embeddings, or [layers, 2, key heads, v, size] keys and values. `encoder`, where there is one,
    learns what is added to the table. `origin` is the table that the model came with, None where it came without.
    """

    table: Tensor
    origin: Tensor | None

    def __init__(self, table: Tensor, *, encoder: nn.Module | None = None, is_new: bool) -> None:
        super().__init__()
        self.table = nn.Parameter(table, requires_grad=False)
        self.encoder = encoder
        self.register_buffer("origin", None if is_new else table.clone(), persistent=False)
        self.off = False

    @property
    def kind(self) -> str:
        return EMBEDDINGS if self.table.dim() == 2 else KEYS_VALUES

    @property
    def count(self) -> int:
        """v, the number of virtual tokens."""
        return self.table.shape[-2]

    def current(self) -> Tensor | None:
        """The table as it is now, differentiable; switched off, the one that the model came with, if any."""
        if self.off:
            return self.origin
        if self.encoder is None:
            return self.table
        made: Tensor = self.encoder(torch.arange(self.count, device=self.table.device))
        if self.kind == KEYS_VALUES:
            layers, _, heads, count, size = self.table.shape
            made = made.view(count, layers, 2, heads, size).permute(1, 2, 3, 0, 4)
        return self.table + made

    @torch.no_grad()
    def merge_encoder(self) -> None:
        """Keep the result, drop the network that made it."""
        table = self.current()
        if table is not None:
            self.table.copy_(table)
        self.encoder = None


def learned_prefix(model: Any) -> Prefix | None:
    """What every row of a model (or trunk) sees to its left, or None; differentiable while its parts learn."""
    body = getattr(model, model.base_model_prefix, model)
    virtual = getattr(body, "virtual_tokens", None)
    table = virtual.current() if isinstance(virtual, VirtualTokens) else None
    if table is None:
        return None
    table = table.to(body.get_input_embeddings().weight.dtype)
    if table.dim() == 2:
        return _computed(body, table)
    keys, values = table[:, 0, None].unbind(), table[:, 1, None].unbind()
    return Prefix(keys=keys, values=values, shift=table.shape[-2])


def count(model: Any) -> int:
    """How many positions a model's virtual tokens take, switched on or off."""
    body = getattr(model, model.base_model_prefix, model)
    virtual = getattr(body, "virtual_tokens", None)
    return virtual.count if isinstance(virtual, VirtualTokens) else 0


def add(model: PreTrainedModel, *, method: str, tokens: int, tokenizer: Any) -> None:
    """Virtual tokens for one of the four methods; a model's own are trained on.

    Raises BadInput where the model cannot have them.
    """
    body = trunk(model)
    held = getattr(body, "virtual_tokens", None)
    if held is None:
        limit = (getattr(model.config, "max_position_embeddings", None) or 10**9) - FEWEST_REAL
        if tokens > limit:
            raise BadInput(f"virtual_tokens is {tokens}, but the model has room for {max(limit, 0)} beside a text.")
        table = _start(body, tokens=tokens, tokenizer=tokenizer)
    else:
        table = held.table.detach()
    if KINDS[method] == KEYS_VALUES and table.dim() == 2:
        table = _stacked(model, _computed(body, table.to(embedding(model).dtype)), method=method)
    elif KINDS[method] == EMBEDDINGS and table.dim() != 2:
        raise BadInput(
            f"The model has learned keys and values in every layer, which the method {method} cannot go on from; "
            "prefix and p_tuning_v2 can."
        )
    table = table.detach().to(torch.promote_types(table.dtype, torch.float32), copy=True)
    virtual = VirtualTokens(table, encoder=_encoder(method, table), is_new=held is None)
    if held is not None and held.kind != virtual.kind:
        virtual.origin = table.clone()
    body.virtual_tokens = virtual.to(table.device)
    (virtual.table if virtual.encoder is None else virtual.encoder).requires_grad_(True)


@torch.no_grad()
def _start(body: Any, *, tokens: int, tokenizer: Any) -> Tensor:
    """Embeddings of the starting text: [v, width]."""
    ids = tokenizer(START)["input_ids"]
    ids = (ids * -(-tokens // len(ids)))[:tokens]
    embedding = body.get_input_embeddings()
    table: Tensor = embedding(torch.tensor(ids, device=embedding.weight.device))
    return table


def _computed(body: Any, embeddings: Tensor) -> Prefix:
    """Keys and values of virtual tokens given by embeddings [v, width]; differentiable.

    Nothing comes before them, so a pass over them alone gives what a pass over a whole row would.
    """
    cache = Cache(layer_class_to_replicate=DynamicLayer)
    positions = torch.arange(len(embeddings), device=embeddings.device)[None]
    with evaluating(body):
        body(inputs_embeds=embeddings[None], position_ids=positions, past_key_values=cache, use_cache=True)
    return Prefix.of(cache, shift=len(embeddings))


@contextmanager
def evaluating(body: nn.Module) -> Iterator[None]:
    """Out of training mode: layers that are computed twice would leave no cache, and then fill it twice."""
    training = [part for part in body.modules() if part.training]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True


def _stacked(model: PreTrainedModel, prefix: Prefix, *, method: str) -> Tensor:
    """[layers, 2, key heads, v, size]. Raises BadInput where layers have no keys and values, or not all alike."""
    tensors = [*prefix.keys, *prefix.values]
    shapes = {tuple(tensor.shape) if isinstance(tensor, Tensor) else () for tensor in tensors}
    if len(prefix.keys) != model.config.num_hidden_layers or len(shapes) != 1 or len(next(iter(shapes))) != 4:
        raise BadInput(
            f"The method {method} needs keys and values of one shape in every layer, and a {type(model).__name__} "
            "has none such; prompt and p_tuning need no more than embeddings."
        )
    return torch.stack([torch.cat(pair) for pair in zip(prefix.keys, prefix.values, strict=True)])


def _encoder(method: str, table: Tensor) -> nn.Module | None:
    """The network that makes the virtual tokens of p_tuning and prefix; the other two learn them as they are."""
    if method not in ("p_tuning", "prefix"):
        return None
    from models_core.modeling.adapters import prompt_encoders  # peft takes seconds to load

    return prompt_encoders.lstm(table) if method == "p_tuning" else prompt_encoders.projection(table)
