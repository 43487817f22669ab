"""A prompt whose responses are too many tokens to be computed at once: the same gradient, a few responses at a time.

The loss couples all responses of a prompt, and its backward pass would keep the activations of all of them. But it sees
them through one number each, so it can be cut there: scores are computed first and nothing kept, then the gradient of
the loss by every score, and then each piece once more, with that gradient as its weight: the chain rule, as in Gao et
al. 2021 (2101.06983). It costs one more forward pass, and memory does not grow with the number of responses.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from models_core.modeling import forward
from models_core.modeling.packing import Group, Packed, pack
from models_core.training import ddp

LossOf = Callable[[Tensor], Tensor]
"""[responses, heads] -> scalar"""
ScoresOf = Callable[[Any, Packed], Tensor]
"""What a network says of packed responses: [responses, heads]"""


def cut(group: Group, *, budget: int, sharing: str = "auto") -> list[Group]:
    """The group as groups of at most `budget` tokens, each with some of the responses in their order, one at least."""
    pieces: list[Group] = []
    for response in group.responses:
        longer = Group(group.prompt, [*pieces[-1].responses, response]) if pieces else group
        if not pieces or longer.cost(sharing) > budget:
            pieces.append(Group(group.prompt, [response]))
        else:
            pieces[-1] = longer
    return pieces


def backward(
    network: Any,
    groups: Sequence[Group],
    loss_of: LossOf,
    *,
    budget: int,
    sharing: str,
    device: torch.device | str,
    is_last: bool,
    of: ScoresOf = forward.head_logits,
) -> tuple[Tensor, Tensor]:
    """Add the gradient of a loss of the groups' scores; returns that loss and the scores [responses, heads].

    One group larger than `budget` is computed in pieces. `sharing`: see packing.pack; `is_last`: distributed.Share.
    """
    is_large = len(groups) == 1 and groups[0].cost(sharing) > budget
    pieces = cut(groups[0], budget=budget, sharing=sharing) if is_large else []

    def scores_of(parts: Sequence[Group]) -> Tensor:
        return of(network, pack(parts, device=device, sharing=sharing))

    if len(pieces) < 2:
        logits = scores_of(groups)
        loss = loss_of(logits)
        ddp.backward(loss, is_last=is_last)
        return loss.detach(), logits.detach()
    with torch.no_grad():
        logits = torch.cat([scores_of([piece]) for piece in pieces])
    logits.requires_grad_()
    loss = loss_of(logits)
    (weights,) = torch.autograd.grad(loss, [logits])
    for number, weight in enumerate(weights.split([len(piece.responses) for piece in pieces])):
        scores = scores_of([pieces[number]])
        ddp.backward((scores * weight).sum(), is_last=is_last and number == len(pieces) - 1)
    return loss.detach(), logits.detach()
