"""Drawing one token a row from logits: temperature, top-k, top-p, repetition penalty.

Shapes: B rows, V vocabulary. Tokens come from the cumulative sum, because `torch.multinomial` over fifty thousand
tokens costs as much as half a decode step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 256
"""Probabilities are searched in blocks of this many tokens."""
CHUNK = 2**19
"""Scores drawn from at once: copies of them all in fp32 leave the processor's cache, and their pages cost even more."""
SORTED = 1024
"""top_p sorts this many of the likeliest tokens; only where they do not hold it, all (thirty times as long)."""


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How a token is chosen: drawn by the settings of these names, at temperature 0 the likeliest."""

    temperature: float
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    device_only: bool = False
    """Without a value that the host reads back, and all rows at once: what a CUDA graph can hold."""

    @property
    def is_plain(self) -> bool:
        """Whether the model's own distribution is drawn from, but for its temperature."""
        return self.top_k == 0 and self.top_p >= 1.0 and self.repetition_penalty == 1.0


def sample_next(logits: Tensor, token_ids: Tensor, uniforms: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor]:
    """As `sample_tokens`, after the repetition penalty for the tokens in `token_ids`: [B, T]."""
    return sample_tokens(
        repetition_penalised(logits, token_ids, penalty=options.repetition_penalty),
        uniforms,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        device_only=options.device_only,
    )


def sample_tokens(
    logits: Tensor,
    uniforms: Tensor,
    *,
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
    device_only: bool = False,
) -> tuple[Tensor, Tensor]:
    """Tokens drawn by inverting the cumulative distribution at `uniforms`, and their log-probabilities: both [B].

    logits: [B, V]; uniforms: [B] in [0, 1). The log-probability is the one under the distribution drawn from, for
    temperature 0 (the likeliest token) the model's own. Computes in fp32, or fp64 where the logits have it.
    """
    rows = len(logits) if device_only else max(1, CHUNK // logits.shape[1])
    sorted_tokens = logits.shape[1] if device_only else SORTED
    parts = [
        _sampled(some, numbers, temperature=temperature, top_k=top_k, top_p=top_p, sorted_tokens=sorted_tokens)
        for some, numbers in zip(logits.split(rows), uniforms.split(rows), strict=True)
    ]
    tokens, log_probs = (torch.cat(part) for part in zip(*parts, strict=True))
    return tokens, log_probs


def _sampled(
    logits: Tensor, uniforms: Tensor, *, temperature: float, top_k: int, top_p: float, sorted_tokens: int
) -> tuple[Tensor, Tensor]:
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        tokens = scores.argmax(dim=-1, keepdim=True)
        weights = scores.softmax(dim=-1)
    else:
        if temperature != 1.0:
            scores = scores / temperature
        weights = filtered(scores, top_k=top_k, top_p=top_p, sorted_tokens=sorted_tokens).softmax(dim=-1)
        tokens = _inverted(weights, uniforms)
    return tokens.squeeze(1), weights.gather(1, tokens).log().squeeze(1)


def _inverted(weights: Tensor, uniforms: Tensor) -> Tensor:
    """The token in which each row's running sum passes its number: [B, V], [B] -> [B, 1].

    Two searches, for the block and within it: a sum over blocks is ten times cheaper than running sums of everything.
    """
    padded = torch.nn.functional.pad(weights, (0, -weights.shape[1] % BLOCK))
    blocks = padded.view(len(padded), -1, BLOCK)
    sums = blocks.sum(dim=-1)
    block, rest = _search(sums, uniforms.to(sums.dtype)[:, None] * sums.sum(dim=-1, keepdim=True))
    inside, _ = _search(blocks[torch.arange(len(blocks), device=blocks.device), block.squeeze(1)], rest)
    return block * BLOCK + inside


def _search(weights: Tensor, aims: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row's running sum passes its aim, and how far into that token the aim is: both [B, 1].

    Never a token of weight 0: the aim is kept within [0, total) against rounding.
    """
    cumulative = weights.cumsum(dim=-1)
    total = cumulative[:, -1:]
    aims = aims.clamp(min=0).minimum(torch.nextafter(total, torch.zeros_like(total)))
    found = torch.searchsorted(cumulative, aims, right=True)
    return found, aims - (cumulative.gather(1, found) - weights.gather(1, found))


def filtered(scores: Tensor, *, top_k: int, top_p: float, sorted_tokens: int = SORTED) -> Tensor:
    """Minus infinity outside the `top_k` likeliest tokens and the smallest set of them that holds `top_p`: [B, V].

    Both on the same distribution, top-k first. The likeliest token always stays, and so do those tied with the last.
    """
    if 0 < top_k < scores.shape[1]:
        least = scores.topk(top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if top_p < 1.0:
        least = _least_kept(scores, top_p=top_p, sorted_tokens=sorted_tokens)
        scores = scores.masked_fill(scores < least, -torch.inf)
    return scores


def _least_kept(scores: Tensor, *, top_p: float, sorted_tokens: int) -> Tensor:
    """The score of the last token in the smallest set of likeliest ones that holds `top_p`: [B, V] -> [B, 1]."""
    count = min(sorted_tokens, scores.shape[1])
    ordered = scores.topk(count, dim=-1).values
    probabilities = (ordered - scores.logsumexp(dim=-1, keepdim=True)).exp()
    running = probabilities.cumsum(dim=-1)
    kept = ((running - probabilities) < top_p).sum(dim=-1, keepdim=True).clamp(min=1)
    least = ordered.gather(1, kept - 1)
    if count == scores.shape[1]:
        return least
    open_rows = (running[:, -1] < top_p).nonzero().squeeze(1)
    if len(open_rows):
        least[open_rows] = _least_kept(scores[open_rows], top_p=top_p, sorted_tokens=scores.shape[1])
    return least


def repetition_penalised(logits: Tensor, token_ids: Tensor, *, penalty: float) -> Tensor:
    """Logits with those of the tokens in `token_ids` divided by the penalty, or multiplied where negative: [B, V].

    seen: [B, T] ids of prompt and response so far, repeats allowed. Keskar et al. 2019 (1909.05858), section 4.1.
    """
    if penalty == 1.0:
        return logits
    values = logits.gather(1, token_ids)
    return logits.scatter(1, token_ids, torch.where(values < 0, values * penalty, values / penalty))
