"""The loss of demonstrations, token by token: what is learned of them, and what an auxiliary language model adds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models_core.demonstrations.examples import Example
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.forward import token_log_probs
from models_core.modeling.packing import hidden_states, pack


@dataclass(frozen=True, kw_only=True)
class Places:
    """M tokens of several examples: where each stands in its own row, whether it is learned, how many each row has."""

    tokens: torch.Tensor  # [M], each predicted at the place before it
    learned: torch.Tensor  # [M], boolean: of a response or an assistant's turn; the others are of prompts
    sizes: list[int]


def places(examples: Sequence[Example], *, whole_rows: bool, device: torch.device) -> Places:
    """The learned tokens of every example, or with `whole_rows` all but each one's first, which nothing predicts."""
    tokens: list[int] = []
    learned: list[bool] = []
    sizes: list[int] = []
    for example in examples:
        of_response = range(len(example.prompt), example.tokens)
        assistant_positions = set(example.assistant_positions)
        chosen = range(1, example.tokens) if whole_rows else [*example.assistant_positions, *of_response]
        tokens += chosen
        learned += [place in of_response or place in assistant_positions for place in chosen]
        sizes.append(len(chosen))
    return Places(
        tokens=torch.tensor(tokens, dtype=torch.long, device=device),
        learned=torch.tensor(learned, dtype=torch.bool, device=device),
        sizes=sizes,
    )


def predicting_states(
    network: Any, examples: Sequence[Example], at: Places, *, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The hidden states that predict the tokens at these places, [M, D], and the tokens themselves, [M]."""
    packed = pack([example.group for example in examples], device=device)
    rows = torch.arange(len(examples)).repeat_interleave(torch.tensor(at.sizes)).to(device)
    states = hidden_states(trunk(network), packed, rows=packed.indices(rows, at.tokens - 1))
    return states, packed.ids[0, packed.indices(rows, at.tokens)]


def token_losses(network: Any, examples: Sequence[Example], at: Places, *, device: torch.device) -> torch.Tensor:
    """-log p of the tokens at these places: [M], in nats. The vocabulary's layer runs on them alone."""
    states, ids = predicting_states(network, examples, at, device=device)
    return -token_log_probs(network, states, ids)
