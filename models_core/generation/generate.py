"""Sampling responses from a language model: batched, with a key-value cache that is written in place.

Where the time of a plain loop goes, and what is done about it here: a prompt is computed once for all its samples, and
what all prompts begin with once for all of them; keys and values are written in place; a finished row leaves the batch;
tokens are drawn from the cumulative sum; a Llama-shaped model's steps go over its weights directly.

Each row samples with numbers of its own, seeded by (seed, prompt, sample): a response depends neither on the batch
size nor on its neighbours beyond the rounding of the arithmetic, and with `batch_invariant` not on that either.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from models_core.contract.errors import Stopped
from models_core.contract.runs.progress import Progress
from models_core.contract.runs.stopping import StopSignal
from models_core.generation import beams
from models_core.generation.decoder import BatchFactory, Rows, batch_factory, prepare
from models_core.generation.sampling_run import SamplingRun, ValueHead
from models_core.generation.static_steps import stretches
from models_core.generation.static_steps.stretches import StaticSampler
from models_core.generation.token_history import RowId
from models_core.generation.token_sampling import SamplingOptions
from models_core.modeling.loading import context_length
from models_core.modeling.prefix import Prefix

__all__ = ["Finished", "Sample", "ValueHead", "prepare", "sample", "search"]

Finished = Callable[[int, "list[Sample]"], None]
"""Called with a prompt's index and its samples as soon as the last of them has ended."""
Streamed = Callable[[Sequence[RowId], Tensor], None]
"""Called after each step with the rows in flight and their tokens so far: ids, [B, T]."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One response. `ids` ends with the stop id where `finish_reason` is "stop"; else the limit cut it ("length").

    `logprobs` has one entry an id: its log-probability under the distribution it was drawn from, temperature, top-k and
    top-p included (for greedy choice, temperature 0: under the model's own). `values`, where they were asked for, has
    the value of the state in which each id was sampled.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    values: tuple[float, ...] = ()


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
    batch_invariant: bool = False,
    release: bool = False,
    prefix: Prefix | None = None,
    value_head: ValueHead | None = None,
    only: Sequence[int] | None = None,
    finished: Finished | None = None,
    streamed: Streamed | None = None,
    progress: Progress | None = None,
    stop: StopSignal | None = None,
) -> list[list[Sample]]:
    """`samples` responses to each prompt, in order. `batch_size` counts responses in flight.

    `batch_invariant` makes them equal to the bit in every batch, at about ten times the cost without compiled kernels.
    `release`: the model is not needed afterwards, so its memory may be used. `prefix` is what every row attends to
    before its prompt, by default the model's own virtual tokens. `value_head` gives the samples their `values`. `only`:
    indices of the prompts to respond to; the others get none. `progress` is called with responses done and in all.

    Raises Stopped when `stop` is requested, between two tokens, ValueError for a prompt that is empty or leaves no room
    for its response, and BadInput where the model cannot be decoded batch-invariantly.
    """
    run = SamplingRun(
        options=SamplingOptions(
            temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=repetition_penalty
        ),
        stop_ids=tuple(stop_ids),
        max_new_tokens=max_new_tokens,
        seed=seed,
        value_head=value_head,
    )
    _check_lengths(model, prompt_ids, max_new_tokens=max_new_tokens, prefix=prefix)
    chosen = range(len(prompt_ids)) if only is None else only
    batches = list(_batches(prompt_ids, chosen, samples=samples, batch_size=batch_size))
    tally = _Tally(len(prompt_ids), samples=samples, total=samples * len(chosen), finished=finished, progress=progress)
    with batch_factory(
        model,
        prompt_ids,
        rows=batch_size,
        max_new_tokens=max_new_tokens,
        batches=len(batches),
        batch_invariant=batch_invariant,
        release=release,
        prefix=prefix,
    ) as new_batch:
        keeper = None if release else model
        for completed in _completed(new_batch, batches, run, keeper=keeper, stop=stop, streamed=streamed):
            tally.add(completed)
    return tally.done


def search(
    model: Any,
    prompt_ids: Sequence[Sequence[int]],
    *,
    samples: int,
    num_beams: int,
    max_new_tokens: int,
    length_penalty: float = 1.0,
    repetition_penalty: float = 1.0,
    stop_ids: Sequence[int],
    batch_size: int,
    prefix: Prefix | None = None,
    only: Sequence[int] | None = None,
    finished: Finished | None = None,
    progress: Progress | None = None,
    stop: StopSignal | None = None,
) -> list[list[Sample]]:
    """The `samples` best responses to each prompt by beam search, best first: see `generation.beams`.

    `batch_size` counts beams in flight. Everything else is as in `sample`. Raises ValueError for fewer beams than
    samples.
    """
    if not samples <= num_beams:
        raise ValueError(f"{samples} samples cannot come from {num_beams} beams")
    _check_lengths(model, prompt_ids, max_new_tokens=max_new_tokens, prefix=prefix)
    chosen = range(len(prompt_ids)) if only is None else only
    size = max(batch_size, num_beams)
    batches = list(_batches(prompt_ids, chosen, samples=num_beams, batch_size=size))
    tally = _Tally(len(prompt_ids), samples=samples, total=samples * len(chosen), finished=finished, progress=progress)
    with batch_factory(
        model, prompt_ids, rows=size, max_new_tokens=max_new_tokens, batches=len(batches), prefix=prefix
    ) as new_batch:
        for row_ids in batches:
            for prompt, found in beams.search(
                new_batch(row_ids),
                beams=num_beams,
                length_penalty=length_penalty,
                repetition_penalty=repetition_penalty,
                stop_ids=stop_ids,
                max_new_tokens=max_new_tokens,
                stop=stop,
            ):
                tally.add(
                    [
                        (RowId(prompt=prompt, number=number), _sample_of(response, stop_ids=stop_ids))
                        for number, response in enumerate(found[:samples])
                    ]
                )
    return tally.done


class _Tally:
    """The samples so far; reports each prompt as its last sample ends."""

    def __init__(
        self, prompts: int, *, samples: int, total: int, finished: Finished | None, progress: Progress | None
    ) -> None:
        self.slots: list[list[Sample | None]] = [[None] * samples for _ in range(prompts)]
        self.missing = [samples] * prompts
        self.total = total
        self.ended = 0
        self.finished = finished
        self.progress = progress

    def add(self, completed: Sequence[tuple[RowId, Sample]]) -> None:
        for row_id, item in completed:
            self.slots[row_id.prompt][row_id.number] = item
            self.missing[row_id.prompt] -= 1
            if self.finished is not None and not self.missing[row_id.prompt]:
                self.finished(row_id.prompt, cast(list[Sample], self.slots[row_id.prompt]))
        self.ended += len(completed)
        if self.progress is not None:
            self.progress(self.ended, self.total)

    @property
    def done(self) -> list[list[Sample]]:
        return [[item for item in own if item is not None] for own in self.slots]


def _check_lengths(model: Any, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, prefix: Prefix | None) -> None:
    room = context_length(model) - max_new_tokens - (prefix.shift if prefix else 0)
    for ids in prompts:
        if not 0 < len(ids) <= room:
            raise ValueError(f"a prompt of {len(ids)} tokens, where 1 to {room} fit beside the response")


def _batches(
    prompts: Sequence[Sequence[int]], chosen: Sequence[int], *, samples: int, batch_size: int
) -> Iterator[list[RowId]]:
    """Responses to sample together: prompts of like length, longest first.

    The longest first, so that a batch too large for the memory fails at once. A prompt's samples stay together while
    they fit, because they share its prefill.
    """
    order = sorted(chosen, key=lambda index: -len(prompts[index]))
    row_ids = [RowId(prompt=prompt, number=number) for prompt in order for number in range(samples)]
    size = batch_size - batch_size % samples if samples <= batch_size else batch_size
    for start in range(0, len(row_ids), size):
        yield row_ids[start : start + size]


def _completed(
    new_batch: BatchFactory,
    batches: Iterable[Sequence[RowId]],
    run: SamplingRun,
    *,
    keeper: Any,
    stop: StopSignal | None,
    streamed: Streamed | None,
) -> Iterator[list[tuple[RowId, Sample]]]:
    """Sample one batch after another; yields the rows that ended, a few at a time. `keeper`: a model for whose next run
    buffers and graphs are kept, or None.

    The one place that chooses between steps of fixed shapes, on a GPU, and steps that the host looks at one by one.
    """
    static: StaticSampler | None = None
    for row_ids in batches:
        rows = new_batch(row_ids)
        static = static or stretches.sampler_for(rows, run)
        if static is None:
            yield from _sampled(rows, run, stop=stop, streamed=streamed)
        else:
            for ended in static.sample(rows, stop=stop, streamed=streamed):
                yield [(row_id, _response(ids, said, run, stopped=stopped)) for row_id, ids, said, stopped in ended]
        del rows  # before the next batch takes its memory
    if static is not None and keeper is not None:
        static.keep(keeper)


def _sampled(
    rows: Rows, run: SamplingRun, *, stop: StopSignal | None, streamed: Streamed | None
) -> Iterator[list[tuple[RowId, Sample]]]:
    """Sample until every row has ended; yields the rows that ended, step by step."""
    limit, device = run.max_new_tokens, rows.token_ids.device
    uniforms = torch.stack([run.uniforms(row_id) for row_id in rows.row_ids]).to(device)
    ids = torch.zeros(len(rows), limit, dtype=torch.long, device=device)
    logprobs_and_values = torch.zeros(
        len(rows), limit, 2, dtype=torch.float64, device=device
    )  # log-probability and value
    stop_ids = torch.tensor(run.stop_ids, dtype=torch.long, device=device)
    for step in range(limit):
        if stop is not None and stop.requested:
            raise Stopped
        tokens, logprobs = rows.sample(uniforms[:, step], run.options)
        ids[:, step], logprobs_and_values[:, step, 0] = tokens, logprobs
        if run.value_head is not None:
            logprobs_and_values[:, step, 1] = run.value_head(rows.states)
        if streamed is not None:
            streamed(rows.row_ids, ids[:, : step + 1])
        stopped = torch.isin(tokens, stop_ids).tolist()
        finished_rows = [True] * len(rows) if step == limit - 1 else stopped
        if any(finished_rows):
            yield [
                (
                    row_id,
                    _response(ids[slot, : step + 1], logprobs_and_values[slot, : step + 1], run, stopped=stopped[slot]),
                )
                for slot, row_id in enumerate(rows.row_ids)
                if finished_rows[slot]
            ]
            if all(finished_rows):
                return
            going_on = rows.remove_finished(finished_rows)
            tokens, ids, logprobs_and_values, uniforms = (
                each[going_on] for each in (tokens, ids, logprobs_and_values, uniforms)
            )
        rows.advance(tokens)


def _response(ids: Tensor, logprobs_and_values: Tensor, run: SamplingRun, *, stopped: bool) -> Sample:
    """ids: [T]; logprobs_and_values: [T, 2]."""
    logprobs, values = logprobs_and_values.T.tolist()
    return Sample(
        ids=tuple(ids.tolist()),
        logprobs=tuple(logprobs),
        finish_reason="stop" if stopped else "length",
        values=tuple(values) if run.value_head is not None else (),
    )


def _sample_of(response: beams.Found, *, stop_ids: Sequence[int]) -> Sample:
    reason = "stop" if response.ids[-1] in stop_ids else "length"
    return Sample(ids=response.ids, logprobs=response.logprobs, finish_reason=reason)
