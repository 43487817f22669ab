"""The loss of demonstrations, token by token: the loss of supervised tokens, and of an auxiliary language model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models_core.demonstrations.examples import Example
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.devices import to_device
from models_core.modeling.forward import token_log_probs
from models_core.modeling.packing import hidden_states, pack


@dataclass(frozen=True, kw_only=True)
class LossPositions:
    """M tokens of several examples: their positions in their own rows, the loss mask, and how many each row has."""

    tokens: torch.Tensor  # [M], each predicted at the position before it
    loss_mask: torch.Tensor  # [M], boolean: of a response or an assistant's turn; the others are of prompts
    sizes: list[int]


def loss_positions(examples: Sequence[Example], *, whole_rows: bool, device: torch.device) -> LossPositions:
    """The tokens that the loss is over, or with `whole_rows` all but each row's first, which nothing predicts."""
    tokens: list[int] = []
    loss_mask: list[bool] = []
    sizes: list[int] = []
    for example in examples:
        of_response = range(len(example.prompt), example.tokens)
        assistant_positions = set(example.assistant_positions)
        chosen = range(1, example.tokens) if whole_rows else [*example.assistant_positions, *of_response]
        tokens += chosen
        loss_mask += [position in of_response or position in assistant_positions for position in chosen]
        sizes.append(len(chosen))
    return LossPositions(
        tokens=to_device(tokens, device, dtype=torch.long),
        loss_mask=to_device(loss_mask, device, dtype=torch.bool),
        sizes=sizes,
    )


def predicting_states(
    network: Any, examples: Sequence[Example], at: LossPositions, *, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The hidden states that predict the tokens at these positions, [M, D], and the tokens themselves, [M]."""
    packed = pack([example.group for example in examples], device=device)
    rows = torch.arange(len(examples)).repeat_interleave(torch.tensor(at.sizes), output_size=len(at.tokens))
    rows = to_device(rows, device)
    states = hidden_states(trunk(network), packed, rows=packed.indices(rows, at.tokens - 1))
    return states, packed.ids[0, packed.indices(rows, at.tokens)]


def token_losses(network: Any, examples: Sequence[Example], at: LossPositions, *, device: torch.device) -> torch.Tensor:
    """-log p of the tokens at these positions: [M], in nats. The vocabulary's layer runs on them alone."""
    states, ids = predicting_states(network, examples, at, device=device)
    return -token_log_probs(network, states, ids)
