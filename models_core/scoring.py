"""What a model says of responses that are there already: as token groups, a prompt computed once for all of its own.

A reward model has one logit for each, at its EOS; a language model the log-probability of each of their tokens.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from models_core import chat
from models_core.batching import micro_batches
from models_core.language_models import head
from models_core.methods.layers import trunk
from models_core.ops import head_log_probs
from models_core.packing import Group, Packed, hidden_states, pack
from models_core.records import Message

SHORTEST_PROMPT = 8
"""Tokens that a prompt keeps in a row, or all of it where it is shorter; a response that leaves less is too long."""


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


def reward_logits(model: Any, packed: Packed) -> torch.Tensor:
    """The head's logit at every response's last token, in the head's precision: [responses]."""
    score = head(model)
    states = hidden_states(trunk(model), packed)[packed.ends]
    return score(states.to(score.weight.dtype)).squeeze(-1)


def response_log_probs(model: Any, packed: Packed, *, temperature: float = 1.0) -> torch.Tensor:
    """A language model's log-probability of every response token, end to end: [M]."""
    states = hidden_states(trunk(model), packed)[packed.predictors]
    return head_log_probs(states, model.get_output_embeddings(), packed.response_ids, temperature=temperature)


@torch.no_grad()
def group_logits(model: Any, groups: Sequence[Group], *, budget: int, device: torch.device | str) -> list[list[float]]:
    """Logits of every response of every group, in order, computed about `budget` tokens at a time."""
    logits: list[list[float]] = [[] for _ in groups]
    filled = [index for index, group in enumerate(groups) if group.responses]
    for batch in micro_batches([groups[index].tokens for index in filled], budget=budget):
        members = [filled[position] for position in batch]
        flat = reward_logits(model, pack([groups[index] for index in members], device=device)).tolist()
        for index in members:
            size = len(groups[index].responses)
            logits[index], flat = flat[:size], flat[size:]
    return logits
