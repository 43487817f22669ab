"""A language model on demonstrations: the perplexity of the responses, the labels they carry, and answers like them."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models_core import chat, language_models, records, sample
from models_core.batching import epoch_order
from models_core.config import BadInput, EvaluateConfig
from models_core.evaluate import labels, likeness
from models_core.evaluate.perplexity import figures, log_probabilities
from models_core.packing import Group
from models_core.progress import Ticker
from models_core.records import Demonstration
from models_core.scoring import encode_group
from models_core.stopping import StopSignal


def measure(
    settings: EvaluateConfig,
    *,
    model: str,
    data: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    stop: StopSignal,
) -> dict[str, Any]:
    """All that a file of demonstrations says of a model. Raises BadInput, Stopped."""
    rows: list[Demonstration] = records.read(data, "demonstrations")
    classes = labels.classes(rows, given=settings.labels)
    tokenizer = language_models.load_tokenizer(model)
    network = language_models.load_policy(model, device=device, dtype=dtype)
    report = _perplexity(rows, network, tokenizer, settings=settings, file=Path(data).name, device=device, stop=stop)
    labelled = [row for row in rows if labels.of(row) is not None]
    if labelled and settings.predict == "score":
        predicted = labels.scored(labelled, classes, network, tokenizer, settings=settings, device=device, stop=stop)
        report["labels"] = labels.figures([labels.of(row) for row in labelled], predicted, classes)
    elif labelled:
        texts, _ = _answers(labelled, network, tokenizer, settings=settings, stop=stop)
        predicted = [labels.named(text, classes) for text in texts]
        report["labels"] = labels.figures([labels.of(row) for row in labelled], predicted, classes)
    if settings.answers:
        order = epoch_order(len(rows), epoch=0, seed=settings.seed)[: settings.answers]
        chosen = [rows[place] for place in sorted(order)]
        texts, cut = _answers(chosen, network, tokenizer, settings=settings, stop=stop)
        languages = [row.fields.get("lang") or likeness.language(row.response) for row in chosen]
        report["answers"] = {
            **likeness.figures(texts, [row.response for row in chosen], languages),
            "cut_at_max_new_tokens": cut,
        }
    return report


def _perplexity(
    rows: Sequence[Demonstration],
    network: Any,
    tokenizer: Any,
    *,
    settings: EvaluateConfig,
    file: str,
    device: torch.device,
    stop: StopSignal,
) -> dict[str, Any]:
    """Of the responses given their prompts, EOS included. A response that does not fit is left out and counted."""
    max_length = min(settings.max_length, language_models.context_length(network))
    groups: list[Group] = []
    size = 0
    for row in rows:
        group, (fits,), _ = encode_group(tokenizer, row.messages, [row.response], max_length=max_length)
        if fits:
            groups.append(group)
            size += len(row.response.encode())
    if not groups:
        raise BadInput(f"{file}: every response is longer than max_length ({max_length} tokens) allows.")
    began = time.perf_counter()
    log_probs = log_probabilities(network, groups, budget=settings.micro_batch_tokens, device=device, stop=stop)
    seconds = time.perf_counter() - began
    tokens = sum(map(len, log_probs))
    nats = -sum(float(values.double().sum()) for values in log_probs)
    return {
        "demonstrations": len(groups),
        "too_long_responses": len(rows) - len(groups),
        **figures(nats, tokens=tokens, size=size),
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
    }


def _answers(
    rows: Sequence[Demonstration], network: Any, tokenizer: Any, *, settings: EvaluateConfig, stop: StopSignal
) -> tuple[list[str], int]:
    """The model's answer to each prompt, and how many were cut at their greatest length."""
    drawn, _ = sample.answer(
        network,
        tokenizer,
        [row.messages for row in rows],
        samples=1,
        settings=replace(settings, temperature=settings.answer_temperature),
        stop=stop,
        progress=Ticker("answers"),
    )
    texts = [chat.decode_response(tokenizer, item.ids) for (item,) in drawn]
    return texts, sum(item.finish_reason == "length" for (item,) in drawn)
