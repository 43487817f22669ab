"""Log-probabilities of tokens under the vocabulary's layer, by far the widest of a small model.

Logits exist a chunk of tokens at a time. What the backward pass needs of them, probabilities minus one at the token, is
kept in the model's dtype where it is small and computed again where it is not.
"""

from typing import Any

import torch
from torch import Tensor

from models_core.modeling.devices import is_accelerator

CHUNK = 128
"""Tokens whose logits exist at once in fp32: few enough for a processor's last cache, enough for a fast product."""
LOGITS_AT_ONCE = 2**26
"""Logits that exist at once in fp32 on a GPU, 256 MB of them: a product of few rows would wait for the weights."""
LARGE_VOCABULARY = 2**18
KEPT_BYTES = 256 * 2**20
"""Up to this size the probabilities of all tokens are kept for the backward pass, else they are computed again."""


def chunk_of(head: Any, device: torch.device) -> int:
    """Tokens that go through a vocabulary's layer at once; a head that is no linear layer has the size of a large one.

    No pass, forwards or backwards, holds the logits of more tokens than that in fp32.
    """
    if not is_accelerator(device):
        return CHUNK
    weight = getattr(head, "weight", head)
    vocabulary = len(weight) if isinstance(weight, Tensor) else LARGE_VOCABULARY
    return max(CHUNK, LOGITS_AT_ONCE // vocabulary)


def linear_log_probs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """log softmax((W h + b) / temperature) at the chosen tokens, in fp32 or wider: [N, D], [V, D], [V], [N] -> [N]."""
    output: Tensor = _LinearLogProbs.apply(hidden, weight, bias, tokens, temperature, torch.is_grad_enabled())
    return output


class _LinearLogProbs(torch.autograd.Function):
    """With e = softmax(W h / T) - onehot(token): dh = -g W^T e / T, dW = -sum of g e h^T / T over the tokens."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        temperature: float,
        has_gradients: bool,
    ) -> Tensor:
        # A weight that learns says so in passes without gradients, too.
        learns, weight_learns, bias_learns = (has_gradients and needs for needs in ctx.needs_input_grad[:3])
        keeps = (weight_learns or bias_learns) and len(tokens) * weight.shape[0] * weight.element_size() <= KEPT_BYTES
        follows = learns and not (weight_learns or bias_learns)
        errors: list[Tensor] = []
        directions: list[Tensor] = []
        log_probs = []
        chunk = chunk_of(weight, hidden.device)
        for states, chosen in zip(hidden.split(chunk), tokens.split(chunk), strict=True):
            logits = torch.nn.functional.linear(states, weight, bias)
            chosen_log_probs, error = softmax_errors(
                logits, chosen, temperature=temperature, wants_error=keeps or follows
            )
            log_probs.append(chosen_log_probs)
            if error is not None and keeps:
                errors.append(error)
            elif error is not None:
                # Under a frozen layer the gradient is a vector as wide as the hidden state: worked out on the spot.
                directions.append(error @ weight)
        ctx.save_for_backward(hidden, weight, bias, tokens, *errors, *directions)
        ctx.temperature, ctx.errors, ctx.directions, ctx.chunk = temperature, len(errors), len(directions), chunk
        return torch.cat(log_probs) if log_probs else hidden.new_empty(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, tokens, *kept = ctx.saved_tensors
        learns, weight_learns, bias_learns = ctx.needs_input_grad[:3]
        factor = (gradient / -ctx.temperature)[:, None]
        if ctx.directions:
            return (torch.cat(kept) * factor).to(hidden.dtype), None, None, None, None, None
        to_hidden = torch.empty_like(hidden) if learns else None
        to_weight = None
        if weight_learns:
            to_weight = torch.empty_like(weight) if len(tokens) else torch.zeros_like(weight)
        to_bias = torch.zeros_like(bias) if bias is not None and bias_learns else None
        for number, start in enumerate(range(0, len(tokens), ctx.chunk)):
            span = slice(start, start + ctx.chunk)
            states, chosen, part = hidden[span], tokens[span], factor[span]
            if ctx.errors:
                error = kept[number]
            else:
                logits = torch.nn.functional.linear(states, weight, bias)
                error = softmax_errors(logits, chosen, temperature=ctx.temperature, wants_error=True)[1]
            if to_hidden is not None:
                to_hidden[span] = (error @ weight) * part
            if to_weight is not None:
                # The first chunk overwrites what the memory held, the others are added.
                to_weight.addmm_(error.t(), (states * part).to(error.dtype), beta=1.0 if number else 0.0)
            if to_bias is not None:
                to_bias += (error * part).sum(0).to(to_bias.dtype)
        return to_hidden, to_weight, to_bias, None, None, None


def softmax_errors(
    logits: Tensor, tokens: Tensor, *, temperature: float, wants_error: bool
) -> tuple[Tensor, Tensor | None]:
    """log softmax(logits / T) at the tokens and, where wanted, softmax minus one at the token, in the logits' dtype.

    [N, V], [N] -> [N] in fp32 or wider, [N, V]. May overwrite the logits.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_probs, powers, sums = _softmax_parts(wide if temperature == 1.0 else wide.div_(temperature), tokens)
    return log_probs, _error(powers, sums, tokens, logits.dtype) if wants_error else None


def _softmax_parts(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens' log-probabilities [N], and softmax as e^(x - max) [N, V] over its sum [N, 1].

    Step by step and in place, because torch's log_softmax of so wide a row takes three times as long on a processor.
    Overwrites its argument.
    """
    logits -= logits.amax(-1, keepdim=True)
    chosen = logits.gather(-1, tokens[:, None])
    powers = logits.exp_()
    sums = powers.sum(-1, keepdim=True)
    return (chosen - sums.log()).squeeze(-1), powers, sums


def _error(powers: Tensor, sums: Tensor, tokens: Tensor, dtype: torch.dtype) -> Tensor:
    """Probabilities minus one at the token; the subtraction comes before the rounding. Overwrites `powers`."""
    error = powers.mul_(1 / sums)
    error[torch.arange(len(tokens), device=tokens.device), tokens] -= 1
    return error.to(dtype)
