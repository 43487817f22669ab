"""A language model on demonstrations: the perplexity of the responses, their labels, and similarity to them."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models_core.commands import sample
from models_core.commands.evaluate import eval_prompts, label_accuracy, text_similarity
from models_core.commands.evaluate.perplexity import NOT_FINITE, figures
from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Demonstration
from models_core.contract.runs.progress import Ticker
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import EvaluateConfig
from models_core.demonstrations.eval_loss import mean_loss
from models_core.demonstrations.examples import Encoder, Example
from models_core.demonstrations.templated_rows import as_written
from models_core.modeling import chat, loading
from models_core.training.batching import epoch_order


def measure(
    settings: EvaluateConfig,
    *,
    model: str,
    data: str | Path,
    templates: str | None = None,
    device: torch.device,
    dtype: torch.dtype,
    stop: StopSignal,
) -> dict[str, Any]:
    """All that a file of demonstrations, or of rows that `templates` make into some, says of a model.

    Raises BadInput, Stopped.
    """
    evaluated = eval_prompts.read(Path(data), templates=templates, settings=settings)
    rows, classes = evaluated.rows, evaluated.classes
    tokenizer = loading.load_tokenizer(model)
    chat.give_template(tokenizer, name=model, chat_template=settings.chat_template)
    network = loading.load_policy(model, device=device, dtype=dtype)
    report = _perplexity(rows, network, tokenizer, settings=settings, file=Path(data).name, device=device, stop=stop)
    if evaluated.no_template_fits:
        report["no_template_fits"] = evaluated.no_template_fits
    labelled = [place for place, row in enumerate(rows) if label_accuracy.of(row) is not None]
    if labelled:
        chosen, words = [rows[place] for place in labelled], [evaluated.words[place] for place in labelled]
        if settings.predict == "score":
            responses = [evaluated.responses[place] for place in labelled]
            predicted = label_accuracy.scored(
                chosen, responses, network, tokenizer, settings=settings, device=device, stop=stop
            )
        else:
            texts, _ = _responses(chosen, network, tokenizer, settings=settings, stop=stop)
            predicted = [label_accuracy.named(text, of_row) for text, of_row in zip(texts, words, strict=True)]
        report["labels"] = label_accuracy.figures([label_accuracy.of(row) for row in chosen], predicted, classes)
    if settings.num_generated:
        order = epoch_order(len(rows), epoch=0, seed=settings.seed)[: settings.num_generated]
        chosen = [rows[place] for place in sorted(order)]
        texts, cut = _responses(chosen, network, tokenizer, settings=settings, stop=stop)
        languages = [row.fields.get("lang") or text_similarity.language(row.response) for row in chosen]
        report["responses"] = {
            **text_similarity.figures(texts, [row.response for row in chosen], languages),
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
    """Of what a run of `sft` with the same settings learns from: responses given their prompts, EOS included.

    A response that does not fit is left out and counted.
    """
    encoder = Encoder(
        tokenizer=tokenizer,
        settings=settings,
        max_length=min(settings.max_length, loading.context_length(network)),
    )
    examples: list[Example] = []
    happened: Counter[str] = Counter()
    for row in rows:
        example, events = encoder.encode(as_written(row), row_id=row.id)
        happened.update(events)
        if example is not None:
            examples.append(example)
    if not examples:
        raise BadInput(f"{file}: every response is longer than max_length ({encoder.max_length} tokens) allows.")
    began = time.perf_counter()
    loss = mean_loss(
        network,
        examples,
        budget=settings.max_tokens_per_forward,
        device=device,
        progress=_stoppable(stop, Ticker("rows")),
    )
    seconds = time.perf_counter() - began
    if not math.isfinite(loss):
        raise BadInput(NOT_FINITE)
    tokens = sum(example.loss_tokens for example in examples)
    return {
        "demonstrations": len(examples),
        "too_long_responses": happened["too_long_responses"],
        "truncated_prompts": happened["truncated_prompts"],
        **figures(loss * tokens, tokens=tokens, size=sum(_size(example, tokenizer) for example in examples)),
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
    }


def _stoppable(stop: StopSignal, ticker: Ticker) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        stop.check()
        ticker(done, total)

    return progress


def _size(example: Example, tokenizer: Any) -> int:
    """Bytes of the text that the loss is over: of the response, and of what the assistant said before (loss_on=all)."""
    ids = [example.prompt[place] for place in example.assistant_positions] + example.response
    return len(chat.decode_response(tokenizer, ids).encode())


def _responses(
    rows: Sequence[Demonstration], network: Any, tokenizer: Any, *, settings: EvaluateConfig, stop: StopSignal
) -> tuple[list[str], int]:
    """The model's response to each prompt, and how many were cut at their greatest length."""
    drawn, _ = sample.respond(
        network,
        tokenizer,
        [row.messages for row in rows],
        samples=1,
        settings=replace(settings, temperature=settings.generation_temperature),
        stop=stop,
        progress=Ticker("responses"),
    )
    texts = [chat.decode_response(tokenizer, item.ids) for (item,) in drawn]
    return texts, sum(item.finish_reason == "length" for (item,) in drawn)
