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

LossFunction = Callable[[Tensor], Tensor]
"""[responses, heads] -> scalar"""
ScoreFunction = Callable[[Any, Packed], Tensor]
"""A network's outputs for packed responses: [responses, heads]"""


def cut(group: Group, *, budget: int, sharing: str = "auto") -> list[Group]:
    """The group as groups of at most `budget` tokens, each with some of the responses in their order, one at least."""
    chunks: list[Group] = []
    for response in group.responses:
        longer = Group(group.prompt, [*chunks[-1].responses, response]) if chunks else group
        if not chunks or longer.cost(sharing) > budget:
            chunks.append(Group(group.prompt, [response]))
        else:
            chunks[-1] = longer
    return chunks


def backward(
    network: Any,
    groups: Sequence[Group],
    loss_of: LossFunction,
    *,
    budget: int,
    sharing: str,
    device: torch.device | str,
    is_last: bool,
    add_gradient: ddp.Backward = ddp.backward,
    scores_of: ScoreFunction = forward.head_logits,
) -> tuple[Tensor, Tensor]:
    """Add the gradient of a loss of the groups' scores; returns that loss and the scores [responses, heads].

    One group larger than `budget` is computed in chunks. `sharing`: packing.pack; `is_last`: distributed.MicroBatch;
    `add_gradient`: the optimizer's backward.
    """
    is_large = len(groups) == 1 and groups[0].cost(sharing) > budget
    chunks = cut(groups[0], budget=budget, sharing=sharing) if is_large else []

    def compute_scores(parts: Sequence[Group]) -> Tensor:
        return scores_of(network, pack(parts, device=device, sharing=sharing))

    if len(chunks) < 2:
        logits = compute_scores(groups)
        loss = loss_of(logits)
        add_gradient(loss, is_last=is_last)
        return loss.detach(), logits.detach()
    with torch.no_grad():
        logits = torch.cat([compute_scores([chunk]) for chunk in chunks])
    logits.requires_grad_()
    loss = loss_of(logits)
    (weights,) = torch.autograd.grad(loss, [logits])
    for number, weight in enumerate(weights.split([len(chunk.responses) for chunk in chunks])):
        scores = compute_scores([chunks[number]])
        add_gradient((scores * weight).sum(), is_last=is_last and number == len(chunks) - 1)
    return loss.detach(), logits.detach()
