"""Pure tensor operations that every recipe shares: masked statistics and log-probabilities of chosen tokens.

Shapes use these letters: B rows, T token positions, N tokens laid end to end, D hidden width, V vocabulary.
A mask is a boolean tensor that is true where a token counts. Masks come from known lengths, never from comparing
with a padding id, because the padding id of many models is also their end-of-sequence token.
"""

from collections.abc import Callable

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from models_core.modeling.manual_autograd.lm_head import chunk_of, linear_log_probs


def length_mask(lengths: torch.Tensor, width: int) -> torch.Tensor:
    """True at the first `lengths[b]` of `width` positions: [B] -> [B, width]."""
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


def masked_sum(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum where the mask is true. Padding may hold anything, even NaN: it is replaced, not multiplied by zero."""
    return values.masked_fill(~mask, 0.0).sum()


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean where the mask is true; 0 for an empty mask."""
    return masked_sum(values, mask) / mask.sum().clamp(min=1)


def masked_variance(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Population variance where the mask is true; 0 for an empty mask."""
    return masked_mean((values - masked_mean(values, mask)) ** 2, mask)


def whiten(values: torch.Tensor, mask: torch.Tensor, *, keep_mean: bool = False) -> torch.Tensor:
    """Scale masked values to unit variance and, unless `keep_mean`, to zero mean; padding becomes 0.

    Advantages are centred; rewards keep their mean, since their level is what the value model has to learn
    (Huang et al. 2024, "The N implementation details of RLHF with PPO", detail 16 and its note on rewards).
    """
    mean = masked_mean(values, mask)
    whitened = (values - mean) * torch.rsqrt(masked_variance(values, mask) + 1e-8)
    if keep_mean:
        whitened = whitened + mean
    return whitened.masked_fill(~mask, 0.0)


def token_log_probs(logits: torch.Tensor, tokens: torch.Tensor, *, temperature: float = 1.0) -> torch.Tensor:
    """log softmax(logits / temperature) at the chosen tokens: [..., V], [...] -> [...], always in fp32 or wider.

    Gathers before it subtracts, so that no second [..., V] tensor is kept for the backward pass.
    """
    logits = _scaled(logits, temperature)
    chosen = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return chosen - logits.logsumexp(-1)


def entropies(logits: torch.Tensor, *, temperature: float = 1.0) -> torch.Tensor:
    """Entropy in nats of softmax(logits / temperature): [..., V] -> [...]."""
    log_probs = functional.log_softmax(_scaled(logits, temperature), dim=-1)
    return -(log_probs.exp() * log_probs).sum(-1)


def head_log_probs(
    hidden: torch.Tensor,
    head: Callable[[torch.Tensor], torch.Tensor],
    tokens: torch.Tensor,
    *,
    temperature: float = 1.0,
) -> torch.Tensor:
    """Log-probabilities of tokens from the hidden states that predict them: [N, D], [N] -> [N].

    The vocabulary is by far the widest layer of a small model. It is applied here to the tokens that count, a chunk at
    a time, so that their logits never exist all at once. Under a head that is no plain linear layer the backward pass
    computes them again.
    """
    if type(head) is torch.nn.Linear and not head._forward_hooks and not head._forward_pre_hooks:
        return linear_log_probs(hidden, head.weight, head.bias, tokens, temperature=temperature)

    def part(hidden_part: torch.Tensor, tokens_part: torch.Tensor) -> torch.Tensor:
        return token_log_probs(head(hidden_part), tokens_part, temperature=temperature)

    chunk = chunk_of(head, hidden.device)
    pieces = zip(hidden.split(chunk), tokens.split(chunk), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([part(*piece) for piece in pieces])
    return torch.cat([checkpoint(part, *piece, use_reentrant=False) for piece in pieces])


def explained_variance(predicted: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """1 - Var(target - predicted) / Var(target): 1 is a perfect value model, 0 no better than a constant."""
    return 1 - masked_variance(target - predicted, mask) / masked_variance(target, mask).clamp(min=1e-8)


def _scaled(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits if temperature == 1.0 else logits / temperature
