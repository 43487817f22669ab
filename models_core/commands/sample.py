"""Sample a model's responses to prompts: K for each, one row per prompt.

    python -m models_core sample --model M --data prompts.jsonl --samples K --out responses.jsonl

M is a model in memory or the address of a server that speaks OpenAI's protocol. With --reward RM every response gets
its score, and with best_of=n each response is the best of n.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from models_core.commands.output.completion_file import CompletionFile
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.reports import reward_names
from models_core.contract.rows import row_parser
from models_core.contract.rows.records import Messages, Prompt
from models_core.contract.runs import model_places, processes
from models_core.contract.runs.progress import Progress, Ticker
from models_core.contract.runs.run_folder import file_sha256
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import GenerationSettings, SampleConfig
from models_core.generation import generate, served_model
from models_core.generation.generate import Sample
from models_core.generation.sampled_response import SampledResponse
from models_core.modeling import chat, heads, loading
from models_core.rl.rewards.reward_models import RewardModels, check_ensemble
from models_core.training import precision

SHORTEST_PROMPT = 16
"""Tokens that must be left for a prompt beside its response."""
SERVER_WARNINGS = {
    "null_responses": "came without any text (content: null) and are empty",
    "repaired_responses": "held half of a surrogate pair or a NUL, which is U+FFFD now",
    "unknown_logprobs": "came without a log-probability that is a finite number, which is null now",
}
SCORED_TOKENS = 8192
"""Tokens of responses that are scored at once, padding included."""


def run(
    settings: SampleConfig,
    *,
    model: str,
    data: str | Path,
    samples: int,
    out: str | Path,
    reward: str | None = None,
    device: torch.device,
    stop: StopSignal,
    resume: bool = False,
) -> dict[str, Any]:
    """Write `samples` responses to every prompt into OUT, whole or not at all.

    Returns counts, seconds and tokens_per_s, the rate of sampling alone, over sampled tokens without EOS. Raises
    BadInput, Stopped.
    """
    check(settings, model=model, samples=samples, reward=reward)
    prompts: list[Prompt] = row_parser.read(data, "prompts")
    dtype = precision.dtype_of(precision.resolve(settings.precision, device=device))
    source: _Served | _InMemory
    if reward_names.is_address(model):
        source = _Served(model, settings=settings, stop=stop)
    else:
        source = _InMemory(model, prompts, settings=settings, device=device, dtype=dtype, stop=stop)
    reward_models = None
    if reward is not None:
        reward_models = RewardModels.load(
            reward, device=device, dtype=dtype, max_length=settings.max_length, budget=SCORED_TOKENS
        )
        check_ensemble(
            reward_models.num_heads, objective=settings.reward_objective, coef=settings.reward_std_coef, reward=reward
        )
    request = {
        "model": model_places.stored(model),
        "data": file_sha256(data),
        "samples": samples,
        "reward": model_places.stored(reward),
        "settings": asdict(settings),
    }
    file = CompletionFile(Path(out), request=request, prompts=len(prompts), resume=resume)
    tokens = 0

    def write(number: int, sampled: Sequence[SampledResponse]) -> None:
        nonlocal tokens
        tokens += sum(response.tokens for response in sampled)
        messages = prompts[number].messages
        rows = response_rows(messages, sampled, settings, reward_models=reward_models)
        file.add(number, {"id": prompts[number].id, "prompt": list(messages), "responses": rows})

    start = time.perf_counter()
    try:
        source.respond(
            [prompt.messages for prompt in prompts],
            only=file.missing,
            samples=samples * settings.best_of,
            finished=write,
            progress=Ticker("responses"),
        )
    except Stopped:
        raise Stopped(file.stop_message()) from None
    finally:
        file.close()
    seconds = time.perf_counter() - start
    file.finish()
    flat = [response for row in file.rows.values() for response in row["responses"]]
    return {
        "prompts": len(prompts),
        "responses": len(flat),
        "tokens": tokens,
        "ended": sum(response["finish_reason"] == "stop" for response in flat) / len(flat),
        **source.facts,
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
    }


def check(settings: SampleConfig, *, model: str, samples: int, reward: str | None) -> None:
    """Raise BadInput for settings that contradict each other, before anything is loaded."""
    if settings.best_of > 1 and reward is None:
        raise BadInput("best_of needs a reward model to choose by: --reward RM.")
    if settings.num_beams > 1:
        if settings.best_of > 1 or settings.batch_invariant:
            raise BadInput("num_beams above 1 goes neither with best_of nor with batch_invariant.")
        if samples > settings.num_beams:
            raise BadInput(f"{samples} responses per prompt need num_beams of at least {samples}.")
    if reward_names.is_address(model) and settings.weight_format != "full":
        raise BadInput("A server holds its weights in its own way: weight_format is for models in memory.")
    if settings.batch_invariant and settings.weight_format == "int8":
        raise BadInput("batch_invariant computes with whole weights: it needs another weight_format than int8.")
    if reward_names.is_address(model) and (settings.num_beams > 1 or settings.batch_invariant):
        raise BadInput("A server samples in its own way: num_beams and batch_invariant are for models in memory.")


def response_rows(
    messages: Messages,
    sampled: Sequence[SampledResponse],
    settings: SampleConfig,
    *,
    reward_models: RewardModels | None,
) -> list[dict[str, Any]]:
    """The responses as objects of a row; of each group of `best_of` the one with the highest score.

    An ensemble's `score` is the mean over its heads, and `std` their standard deviation. The best response is the one
    with the highest score after the penalty for disagreement (`reward_std_coef`), in `conservative_score`.
    """
    rows: list[dict[str, Any]] = [
        {"text": response.text, "finish_reason": response.finish_reason, "logprob": response.logprob}
        for response in sampled
    ]
    if reward_models is None:
        return rows
    (head_scores,) = reward_models.head_scores([(messages, tuple(response.text for response in sampled))])
    selection_scores = [_add_scores(row, scores, settings) for row, scores in zip(rows, head_scores, strict=True)]
    starts = range(0, len(rows), settings.best_of)
    groups = [range(start, min(start + settings.best_of, len(rows))) for start in starts]
    return [rows[max(group, key=selection_scores.__getitem__)] for group in groups]


def _add_scores(row: dict[str, Any], head_scores: torch.Tensor | None, settings: SampleConfig) -> float:
    """Add the reward model's scores to a response's row; returns the score that best_of selects by.

    `head_scores`: [heads], or None for a response too long to be scored.
    """
    row["score"] = None if head_scores is None else float(head_scores.mean())
    if head_scores is None:
        return -float("inf")
    if len(head_scores) == 1:
        return float(head_scores)
    conservative = float(
        heads.ensemble_score(head_scores, objective=settings.reward_objective, coef=settings.reward_std_coef)
    )
    row |= {"std": float(head_scores.std(correction=0)), "conservative_score": conservative}
    return conservative


class _InMemory:
    """A model of ours, loaded. `facts`: what the last line says of it."""

    def __init__(
        self,
        name: str,
        prompts: Sequence[Prompt],
        *,
        settings: SampleConfig,
        device: torch.device,
        dtype: torch.dtype,
        stop: StopSignal,
    ) -> None:
        self.settings = settings
        self.stop = stop
        self.tokenizer = loading.load_tokenizer(name)
        chat.give_template(self.tokenizer, name=name, chat_template=settings.chat_template)
        self.network = loading.load_sampler(name, device=device, dtype=dtype, weight_format=settings.weight_format)
        generate.prepare(self.network)
        # Before anything is written, so that a prompt that is refused leaves nothing behind.
        self.prompt_ids, truncated = encode_prompts(
            self.network, self.tokenizer, [prompt.messages for prompt in prompts], settings=settings
        )
        self.facts: dict[str, Any] = {"truncated": truncated, "precision": str(dtype).removeprefix("torch.")}

    def respond(
        self,
        chats: Sequence[Messages],
        *,
        only: Sequence[int],
        samples: int,
        finished: Callable[[int, Sequence[SampledResponse]], None],
        progress: Progress,
    ) -> None:
        draw(
            self.network,
            self.tokenizer,
            self.prompt_ids,
            only=only,
            samples=samples,
            settings=self.settings,
            finished=lambda number, items: finished(number, [self._read(item) for item in items]),
            progress=progress,
            stop=self.stop,
            release=True,
        )

    def _read(self, item: Sample) -> SampledResponse:
        return SampledResponse(
            text=text_of(self.tokenizer, item),
            finish_reason=item.finish_reason,
            logprob=sum(item.logprobs),
            tokens=content_length(item),
        )


class _Served:
    """A server's model."""

    def __init__(self, address: str, *, settings: SampleConfig, stop: StopSignal) -> None:
        self.server = served_model.Server(address, settings=settings, stop=stop)
        self.counts = {"null_responses": 0, "repaired_responses": 0, "unknown_logprobs": 0}
        self.asks_logprobs = settings.server_logprobs

    @property
    def facts(self) -> dict[str, Any]:
        return {"server": self.server.name, "retries": self.server.retries, **self.counts}

    def respond(
        self,
        chats: Sequence[Messages],
        *,
        only: Sequence[int],
        samples: int,
        finished: Callable[[int, Sequence[SampledResponse]], None],
        progress: Progress,
    ) -> None:
        def count(number: int, sampled: Sequence[SampledResponse]) -> None:
            self.counts["null_responses"] += sum(response.is_null for response in sampled)
            self.counts["repaired_responses"] += sum(response.is_repaired for response in sampled)
            missing = sum(response.logprob is None for response in sampled)
            self.counts["unknown_logprobs"] += missing if self.asks_logprobs else 0
            finished(number, sampled)

        self.server.responses(chats, only=only, samples=samples, finished=count, progress=progress)
        for name, what in SERVER_WARNINGS.items():
            if self.counts[name]:
                processes.log_main(f"The server {self.server.name}: {self.counts[name]} responses {what}.")


def respond(
    network: Any,
    tokenizer: Any,
    chats: Sequence[Messages],
    *,
    samples: int,
    settings: GenerationSettings,
    stop: StopSignal,
    progress: Progress | None = None,
    streamed: generate.Streamed | None = None,
) -> tuple[list[list[Sample]], float]:
    """`samples` responses to each chat, and the seconds that sampling took. Raises BadInput where no room is left."""
    prompt_ids, _ = encode_prompts(network, tokenizer, chats, settings=settings)
    start = time.perf_counter()
    sampled = draw(
        network,
        tokenizer,
        prompt_ids,
        samples=samples,
        settings=settings,
        progress=progress,
        streamed=streamed,
        stop=stop,
    )
    return sampled, time.perf_counter() - start


def encode_prompts(
    network: Any, tokenizer: Any, chats: Sequence[Messages], *, settings: GenerationSettings
) -> tuple[list[list[int]], int]:
    """Token ids of every chat that leave room for a response, and how many chats had to be cut for that.

    Raises BadInput where no room is left at all, or where a chat is too long and long_prompts says to refuse it.
    """
    room = min(settings.max_length, loading.context_length(network)) - settings.max_new_tokens
    if room < SHORTEST_PROMPT:
        raise BadInput(
            f"max_new_tokens {settings.max_new_tokens} leaves no room for a prompt within "
            f"{room + settings.max_new_tokens} tokens (max_length, or what the model can hold)."
        )
    encoded, truncated = [], 0
    for number, messages in enumerate(chats, start=1):
        prompt = chat.fit_prompt(tokenizer, messages, max_tokens=room)
        if prompt.is_cut and settings.long_prompts == "refuse":
            whole = chat.encode_prompt(tokenizer, messages, max_tokens=2**62)
            raise BadInput(
                f"Prompt {number} has {len(whole)} tokens, and {room} fit beside a response: "
                "long_prompts=cut would cut it."
            )
        truncated += prompt.is_cut
        encoded.append(prompt.ids)
    return encoded, truncated


def draw(
    network: Any,
    tokenizer: Any,
    prompt_ids: Sequence[Sequence[int]],
    *,
    samples: int,
    settings: GenerationSettings,
    only: Sequence[int] | None = None,
    finished: generate.Finished | None = None,
    streamed: generate.Streamed | None = None,
    progress: Progress | None = None,
    stop: StopSignal,
    release: bool = False,
) -> list[list[Sample]]:
    """Responses by the settings: sampled, or found by beam search, which streams nothing. Raises BadInput, Stopped.

    `release`: the network is not needed afterwards.
    """
    common: dict[str, Any] = {
        "samples": samples,
        "max_new_tokens": settings.max_new_tokens,
        "repetition_penalty": settings.repetition_penalty,
        "stop_ids": chat.eos_ids(network, tokenizer),
        "batch_size": settings.batch_size,
        "only": only,
        "finished": finished,
        "progress": progress,
        "stop": stop,
    }
    if settings.num_beams > 1:
        return generate.search(
            network, prompt_ids, num_beams=settings.num_beams, length_penalty=settings.length_penalty, **common
        )
    return generate.sample(
        network,
        prompt_ids,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        seed=settings.seed,
        batch_invariant=settings.batch_invariant,
        release=release,
        streamed=streamed,
        **common,
    )


def content_length(item: Sample) -> int:
    """Tokens of a response without its EOS."""
    return len(item.ids) - (item.finish_reason == "stop")


def text_of(tokenizer: Any, item: Sample) -> str:
    """The text of a response, without special tokens."""
    return chat.decode_response(tokenizer, item.ids)
