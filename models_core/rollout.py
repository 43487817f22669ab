"""Sampling responses from a language model: batched, with a key-value cache that is written in place.

Where the time of a plain loop goes, and what is done about it here: a prompt is computed once for all its samples, and
what all prompts begin with once for all of them; keys and values are written in place; a finished row leaves the batch;
tokens are drawn from the cumulative sum; a Llama-shaped model's steps go over its weights directly.

Each row draws with numbers of its own, seeded by (seed, prompt, sample): a response depends neither on the batch
size nor on its neighbours beyond the rounding of the arithmetic, and with `exact` not on that either.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy
import torch
from torch import Tensor

from models_core.decoding.batch import Batch, Place
from models_core.decoding.beginning import Beginning
from models_core.decoding.drawing import draw, penalised
from models_core.decoding.key_values import decoding
from models_core.decoding.network import Network
from models_core.language_models import context_length
from models_core.stopping import Stopped, StopSignal

Finished = Callable[[int, "list[Sample]"], None]
"""Called with a prompt's index and its samples as soon as the last of them has ended."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One response. `ids` ends with the stop id where `finish_reason` is "stop"; else the limit cut it ("length").

    `logprobs` has one entry an id: its log-probability under the distribution it was drawn from, temperature, top-k and
    top-p included (for greedy choice, temperature 0: under the model's own).
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    """How tokens are drawn and when a row is over."""

    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    stop_ids: tuple[int, ...]
    max_new_tokens: int
    seed: int


def sample(
    model: Any,
    prompt_ids: Sequence[Sequence[int]],
    *,
    samples: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    stop_ids: Sequence[int],
    seed: int,
    batch_size: int,
    beginning: Beginning | None = None,
    finished: Finished | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: StopSignal | None = None,
) -> list[list[Sample]]:
    """`samples` responses to each prompt, in order. `batch_size` counts responses in flight.

    `beginning`: virtual tokens that all rows attend to before their prompts. `progress` is called with responses done
    and in all. Raises Stopped when `stop` is requested, between two tokens, and ValueError for a prompt that is empty
    or leaves no room for its answer.
    """
    room = context_length(model) - max_new_tokens - (beginning.shift if beginning else 0)
    for ids in prompt_ids:
        if not 0 < len(ids) <= room:
            raise ValueError(f"a prompt of {len(ids)} tokens, where 1 to {room} fit beside the answer")
    drawing = _Drawing(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        stop_ids=tuple(stop_ids),
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    done: list[list[Sample | None]] = [[None] * samples for _ in prompt_ids]
    missing = [samples] * len(prompt_ids)
    ended = 0
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), decoding(model):
            batches = list(_batches(prompt_ids, samples=samples, batch_size=batch_size))
            network = Network(model, steps=len(batches) * max_new_tokens)
            for places in batches:
                batch = Batch(network, prompt_ids, places, max_new_tokens=max_new_tokens, beginning=beginning)
                for endings in _drawn(batch, drawing, stop=stop):
                    for place, item in endings:
                        done[place.prompt][place.number] = item
                        missing[place.prompt] -= 1
                        if finished is not None and not missing[place.prompt]:
                            finished(place.prompt, cast(list[Sample], done[place.prompt]))
                    ended += len(endings)
                    if progress is not None:
                        progress(ended, samples * len(prompt_ids))
    finally:
        model.train(was_training)
    return cast(list[list[Sample]], done)


def _batches(prompts: Sequence[Sequence[int]], *, samples: int, batch_size: int) -> Iterator[list[Place]]:
    """Responses to sample together: prompts of like length, longest first.

    The longest first, so that a batch too large for the memory fails at once. A prompt's samples stay together while
    they fit, because they share its prefill.
    """
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    places = [Place(prompt=prompt, number=number) for prompt in order for number in range(samples)]
    size = batch_size - batch_size % samples if samples <= batch_size else batch_size
    for start in range(0, len(places), size):
        yield places[start : start + size]


def _drawn(batch: Batch, drawing: _Drawing, *, stop: StopSignal | None) -> Iterator[list[tuple[Place, Sample]]]:
    """Draw until every row is over; yields the rows that ended at each step at which some did."""
    limit, device = drawing.max_new_tokens, batch.logits.device
    uniforms = torch.stack([_uniforms(drawing.seed, place, limit) for place in batch.places]).to(device)
    ids = torch.zeros(len(batch), limit, dtype=torch.long, device=device)
    logprobs = torch.zeros(len(batch), limit, dtype=torch.float64, device=device)
    stop_ids = torch.tensor(drawing.stop_ids, dtype=torch.long, device=device)
    for step in range(limit):
        if stop is not None and stop.requested:
            raise Stopped
        logits = penalised(batch.logits, batch.seen, penalty=drawing.repetition_penalty)
        tokens, chances = draw(
            logits, uniforms[:, step], temperature=drawing.temperature, top_k=drawing.top_k, top_p=drawing.top_p
        )
        ids[:, step], logprobs[:, step] = tokens, chances
        stopped = torch.isin(tokens, stop_ids).tolist()
        over = [True] * len(batch) if step == limit - 1 else stopped
        if any(over):
            yield [
                (place, _sample(ids[slot, : step + 1], logprobs[slot, : step + 1], stopped=stopped[slot]))
                for slot, place in enumerate(batch.places)
                if over[slot]
            ]
            if all(over):
                return
            going_on = batch.drop(over)
            tokens, ids, logprobs, uniforms = (each[going_on] for each in (tokens, ids, logprobs, uniforms))
        batch.advance(tokens)


def _uniforms(seed: int, place: Place, length: int) -> Tensor:
    """The numbers in [0, 1) that a row's tokens are drawn with: [length], fp64."""
    return torch.from_numpy(numpy.random.default_rng([seed, place.prompt, place.number]).random(length))


def _sample(ids: Tensor, logprobs: Tensor, *, stopped: bool) -> Sample:
    return Sample(
        ids=tuple(ids.tolist()), logprobs=tuple(logprobs.tolist()), finish_reason="stop" if stopped else "length"
    )
