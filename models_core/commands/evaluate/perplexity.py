"""Perplexity of a language model per token, and bits per byte where tokenizers differ.

Bits per byte are what an ideal compressor built on the model would need.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models_core.contract.errors import BadInput
from models_core.contract.runs.progress import Ticker
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import EvaluateConfig
from models_core.modeling import loading, tokenization
from models_core.modeling.forward import response_log_probs
from models_core.modeling.packing import Group, pack
from models_core.training import corpus
from models_core.training.batching import micro_batches

NOT_FINITE = "The loss of the model is not a finite number: its weights are damaged."


def of_text(
    settings: EvaluateConfig,
    *,
    model: str,
    data: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    stop: StopSignal,
) -> dict[str, Any]:
    """Every token of every document counts once, and so does its end unless `ends` is off.

    What is longer than `max_length` is read in windows, each of which repeats half of the one before: a token is
    predicted from at least so many, where the document has them. Raises BadInput, Stopped.
    """
    documents = corpus.read(data, rule=settings.documents)
    tokenizer = loading.load_tokenizer(model)
    network = loading.load_policy(model, device=device, dtype=dtype)
    max_length = min(settings.max_length, loading.context_length(network))
    rows = corpus.rows(
        corpus.encode(documents, tokenizer, ends=settings.ends),
        start=tokenization.start_id(tokenizer),
        max_length=max_length,
        overlap=corpus.HELD_OUT_OVERLAP,
    )
    began = time.perf_counter()
    log_probs = log_probabilities(network, rows, budget=settings.max_tokens_per_forward, device=device, stop=stop)
    seconds = time.perf_counter() - began
    nats = -sum(float(values.double().sum()) for values in log_probs)
    tokens = corpus.predicted(rows)
    return {
        "documents": len(documents),
        **figures(nats, tokens=tokens, size=corpus.size(documents)),
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
    }


def figures(nats: float, *, tokens: int, size: int) -> dict[str, float]:
    """What -log p of a text comes to, over its tokens and over its `size` in bytes of UTF-8."""
    measures = corpus.bits_per_byte(nats / tokens, tokens=tokens, size=size)
    return {"tokens": tokens, "bytes": size, "loss": measures.pop("eval_loss"), **measures}


@torch.no_grad()
def log_probabilities(
    network: Any, groups: Sequence[Group], *, budget: int, device: torch.device, stop: StopSignal
) -> list[Tensor]:
    """For each group the log-probability of its response tokens, those of all its responses end to end: (tokens,).

    Raises BadInput where one is no number: nothing that is then reported would mean anything.
    """
    found: dict[int, Tensor] = {}
    ticker = Ticker("rows")
    for batch in micro_batches([group.tokens for group in groups], budget=budget):
        stop.check()
        members = [groups[place] for place in batch]
        sizes = [sum(map(len, group.responses)) for group in members]
        values = response_log_probs(network, pack(members, device=device))
        if not values.isfinite().all():
            raise BadInput(NOT_FINITE)
        found |= zip(batch, values.split(sizes), strict=True)
        ticker(len(found), len(groups))
    return [found[place] for place in range(len(groups))]
