"""Write a model's answers to prompts: K to each, one row a prompt."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from models_core import chat, language_models, precision, records, rollout
from models_core.config import BadInput, SampleConfig
from models_core.progress import Progress, Ticker
from models_core.records import Messages, Prompt
from models_core.rollout import Sample
from models_core.run_folder import write_lines
from models_core.stopping import StopSignal

SHORTEST_PROMPT = 16
"""Tokens that must be left for a prompt beside its answer."""


def run(
    settings: SampleConfig,
    *,
    model: str,
    data: str | Path,
    samples: int,
    out: str | Path,
    device: torch.device,
    stop: StopSignal,
) -> dict[str, Any]:
    """Answer every prompt `samples` times into OUT, whole or not at all; returns counts, seconds and tokens_per_s.

    The rate counts sampled tokens without EOS, and the time of sampling alone. Raises BadInput, Stopped.
    """
    prompts: list[Prompt] = records.read(data, "prompts")
    dtype = precision.dtype_of(precision.resolve(settings.precision, device=device))
    tokenizer = language_models.load_tokenizer(model)
    network = language_models.load_policy(model, device=device, dtype=dtype)
    answers, seconds = answer(
        network,
        tokenizer,
        [prompt.messages for prompt in prompts],
        samples=samples,
        settings=settings,
        stop=stop,
        progress=Ticker("answers"),
    )
    rows = (
        {
            "id": prompt.id,
            "prompt": list(prompt.messages),
            "responses": [_response(tokenizer, item) for item in own],
        }
        for prompt, own in zip(prompts, answers, strict=True)
    )
    write_lines(Path(out), (json.dumps(row, ensure_ascii=False) for row in rows))
    flat = [item for own in answers for item in own]
    tokens = sum(content_length(item) for item in flat)
    return {
        "prompts": len(prompts),
        "responses": len(flat),
        "tokens": tokens,
        "ended": sum(item.finish_reason == "stop" for item in flat) / len(flat),
        "precision": str(dtype).removeprefix("torch."),
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
    }


def answer(
    network: Any,
    tokenizer: Any,
    chats: Sequence[Messages],
    *,
    samples: int,
    settings: SampleConfig,
    stop: StopSignal,
    progress: Progress | None = None,
) -> tuple[list[list[Sample]], float]:
    """`samples` answers to each chat, and the seconds that sampling took. Raises BadInput where no room is left."""
    room = min(settings.max_length, language_models.context_length(network)) - settings.max_new_tokens
    if room < SHORTEST_PROMPT:
        raise BadInput(
            f"max_new_tokens {settings.max_new_tokens} leaves no room for a prompt within "
            f"{room + settings.max_new_tokens} tokens (max_length, or what the model can hold)."
        )
    prompt_ids = [chat.encode_prompt(tokenizer, messages, max_tokens=room) for messages in chats]
    start = time.perf_counter()
    answers = rollout.sample(
        network,
        prompt_ids,
        samples=samples,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        stop_ids=chat.eos_ids(network, tokenizer),
        seed=settings.seed,
        batch_size=settings.batch_size,
        progress=progress,
        stop=stop,
    )
    return answers, time.perf_counter() - start


def content_length(item: Sample) -> int:
    """Tokens of an answer without its EOS."""
    return len(item.ids) - (item.finish_reason == "stop")


def text_of(tokenizer: Any, item: Sample) -> str:
    """What a person reads of an answer."""
    return chat.decode_response(tokenizer, item.ids)


def _response(tokenizer: Any, item: Sample) -> dict[str, Any]:
    return {
        "text": text_of(tokenizer, item),
        "finish_reason": item.finish_reason,
        "logprob": sum(item.logprobs),
    }
