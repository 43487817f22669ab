"""Log-probabilities and values of given responses: as token groups, a prompt computed once for all of its own.

A reward model has one logit for each, at its EOS; a language model the log-probability of each of their tokens.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from models_core.contract.rows.records import Message
from models_core.modeling import chat, families, forward_check, heads
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.loading import head
from models_core.modeling.manual_autograd.lm_head import chunk_of
from models_core.modeling.ops import head_log_probs
from models_core.modeling.packing import Group, Packed, hidden_states, pack, sharing_for
from models_core.modeling.plain_forward import OwnHead
from models_core.training import fsdp
from models_core.training.batching import micro_batches

SHORTEST_PROMPT = 8
"""Tokens that a prompt keeps in a row, or all of it where it is shorter; a response that leaves less is too long."""

FEWEST = Group([0], [[0]])
"""The tokens of a forward pass that a process computes only because the others compute one."""


class Encoded(NamedTuple):
    """A prompt with those of its responses that fit, which of all they are, and whether the prompt was cut."""

    group: Group
    fits: list[bool]
    is_cut: bool


def encode_group(tokenizer: Any, messages: Sequence[Message], texts: Sequence[str], *, max_length: int) -> Encoded:
    """A prompt and its responses as tokens, at most `max_length` for each pair of them.

    The prompt is cut from the left so that the longest response fits beside it: all of them are compared on the same
    prompt. A response is never cut. One that has no room beside `SHORTEST_PROMPT` tokens is left out.
    """
    responses = [chat.encode_response(tokenizer, text) for text in texts]
    fits = [len(response) + SHORTEST_PROMPT <= max_length for response in responses]
    kept = [response for response, fit in zip(responses, fits, strict=True) if fit]
    longest = max(map(len, kept), default=0)
    prompt = chat.fit_prompt(tokenizer, messages, max_tokens=max_length - longest)
    return Encoded(Group(prompt.ids, kept), fits, prompt.is_cut)


def end_states(model: Any, packed: Packed) -> torch.Tensor:
    """What a reward model's head reads: the trunk's last hidden state at every response's EOS, [responses, width]."""
    return hidden_states(trunk(model), packed, rows=packed.ends)


def reward_logits(model: Any, packed: Packed) -> torch.Tensor:
    """The head's logit at every response's last token, in the head's precision: [responses].

    Of several heads that are being trained it is the mean, as it will be of the model that is saved.
    """
    score = head(model)
    return score(end_states(model, packed).to(score.weight.dtype)).mean(-1)


def head_logits(model: Any, packed: Packed) -> torch.Tensor:
    """Each head's logit at every response's last token: [responses, heads]; one column where there is one head."""
    states = end_states(model, packed)
    ensemble = getattr(model, "ensemble", None)
    score = head(model) if ensemble is None else partial(functional.linear, weight=ensemble.weight)
    logits: torch.Tensor = score(states.to(head(model).weight.dtype))
    return logits


def response_log_probs(model: Any, packed: Packed, *, temperature: float = 1.0) -> torch.Tensor:
    """A language model's log-probability of every response token, end to end: [M]."""
    states = hidden_states(trunk(model), packed, rows=packed.predictors)
    return token_log_probs(model, states, packed.response_ids, temperature=temperature)


def response_scores(model: Any, packed: Packed) -> tuple[torch.Tensor, torch.Tensor]:
    """(log-probabilities, whether it is the likeliest token) of every response token, end to end: [M], [M]."""
    states = hidden_states(trunk(model), packed, rows=packed.predictors)
    head, tokens = _head_of(model, states), packed.response_ids
    log_probs = head_log_probs(states, head, tokens)
    chunk = chunk_of(head, states.device)
    pieces = zip(states.split(chunk), tokens.split(chunk), strict=True)
    return log_probs, torch.cat([head(part).argmax(-1) == wanted for part, wanted in pieces])


def token_log_probs(
    model: Any, states: torch.Tensor, tokens: torch.Tensor, *, temperature: float = 1.0
) -> torch.Tensor:
    """A language model's log-probabilities of tokens from the trunk's states that predict them: [N, D], [N] -> [N].

    Through the model's own head, with whatever it does to logits, unless that is known to be one linear layer.
    """
    return head_log_probs(states, _head_of(model, states), tokens, temperature=temperature)


def token_divergences(
    model: Any, states: torch.Tensor, teacher: Any, teacher_states: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """T^2 KL(teacher || model) of the distributions of each token at the temperature T: [N, D], [N, D'] -> [N], nats.

    A chunk of tokens at a time, whose logits the backward pass computes again.
    """
    heads_of_both = [_head_of(each, of_each) for each, of_each in ((model, states), (teacher, teacher_states))]

    def part(own: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
        logits = (head(each) for head, each in zip(heads_of_both, (own, taught), strict=True))
        log_probs, target = (functional.log_softmax(each.float() / temperature, dim=-1) for each in logits)
        target = target.detach()
        return temperature**2 * (target.exp() * (target - log_probs)).sum(-1)

    chunk = min(chunk_of(head, states.device) for head in heads_of_both)
    pieces = zip(states.split(chunk), teacher_states.split(chunk), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([part(*piece) for piece in pieces])
    return torch.cat([checkpoint(part, *piece, use_reentrant=False) for piece in pieces])


def _head_of(model: Any, states: torch.Tensor) -> Any:
    """The model's last layer, or all of its way to logits where that is no linear layer."""
    head = model.get_output_embeddings()
    return head if _has_linear_head(model, head, states) else OwnHead(model)


def _has_linear_head(model: Any, head: Any, states: torch.Tensor) -> bool:
    """Whether a model's logits are what its last layer makes of the trunk's states, held against them once."""
    if families.fast_ways(model).packed and "logits" not in getattr(trunk(model), forward_check.FOUND, {}):
        few = states[:2].detach()
        forward_check.hold(trunk(model), "logits", fast=lambda: head(few), plain=lambda: OwnHead(model)(few))
    return families.fast_ways(model).packed


def sequence_log_probs(model: Any, packed: Packed) -> torch.Tensor:
    """A language model's log-probability of every whole response, EOS included: [responses, 1]."""
    parts = response_log_probs(model, packed).split(packed.response_sizes)
    return torch.stack([part.sum() for part in parts]).unsqueeze(-1)


def group_log_probs(
    model: Any, groups: Sequence[Group], *, budget: int, device: torch.device | str
) -> list[torch.Tensor]:
    """Log-probabilities of every response of every group, on the CPU: one [responses] a group."""
    rows = _by_group(sequence_log_probs, model, groups, budget=budget, device=device)
    return [row.reshape(-1) for row in _on_cpu(rows)]


def group_logits(model: Any, groups: Sequence[Group], *, budget: int, device: torch.device | str) -> list[list[float]]:
    """Logits of every response of every group, in order, computed about `budget` tokens at a time."""
    return [row.tolist() for row in _on_cpu(_by_group(reward_logits, model, groups, budget=budget, device=device))]


def group_head_logits(
    model: Any, groups: Sequence[Group], *, budget: int, device: torch.device | str
) -> list[torch.Tensor]:
    """Logits of every response of every group by each head, on the CPU: one [responses, heads] a group."""
    count = heads.heads_of(model).count
    rows = _by_group(head_logits, model, groups, budget=budget, device=device)
    return [row.reshape(-1, count) for row in _on_cpu(rows)]


def group_end_states(
    model: Any, groups: Sequence[Group], *, budget: int, device: torch.device | str
) -> list[torch.Tensor]:
    """What the head reads of every response of every group: one [responses, width] a group."""
    return _by_group(end_states, model, groups, budget=budget, device=device)


def _on_cpu(rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """All rows on the CPU, by one copy from another device."""
    if all(row.device.type == "cpu" for row in rows):
        return rows
    flat = torch.cat([row.reshape(-1) for row in rows]).cpu().split([row.numel() for row in rows])
    return [part.reshape(row.shape) for part, row in zip(flat, rows, strict=True)]


@torch.no_grad()
def _by_group(
    of: Callable[[Any, Packed], torch.Tensor],
    model: Any,
    groups: Sequence[Group],
    *,
    budget: int,
    device: torch.device | str,
) -> list[torch.Tensor]:
    """What `of` computes of the responses of packed groups, group by group."""
    found = [torch.empty(0)] * len(groups)
    filled = [index for index, group in enumerate(groups) if group.responses]
    sharing = sharing_for(model, "auto")
    batches = micro_batches([groups[index].cost(sharing) for index in filled], budget=budget)
    for batch in batches:
        members = [filled[position] for position in batch]
        computed = of(model, pack([groups[index] for index in members], device=device, sharing=sharing))
        for index, row in zip(
            members, computed.split([len(groups[index].responses) for index in members]), strict=True
        ):
            found[index] = row
    for _ in range(fsdp.missing_passes(model, len(batches))):
        of(model, pack([FEWEST], device=device))
    return found
