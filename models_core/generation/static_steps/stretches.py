"""The sampling loop over fixed buffers: a stretch of steps, then a look at which rows have ended.

Tokens that a row samples after its stop id are left out, so that responses are those of the loop that looks at every
step. Rows that have ended stay in the batch, computed in vain, until the rest fits a smaller bucket.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from models_core.contract.errors import Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.generation.batch import Batch
from models_core.generation.sampling_run import SamplingRun
from models_core.generation.static_steps import kept_rows, step_runner
from models_core.generation.static_steps.buckets import row_bucket
from models_core.generation.static_steps.static_rows import StaticRows
from models_core.generation.static_steps.step_runner import StepRunner
from models_core.generation.token_history import RowId

STRETCH = 16
"""Steps between two looks. A look waits for the device; a row that ends is computed half a stretch in vain."""

Ended = tuple[RowId, Tensor, Tensor, bool]
"""A row that has ended: its ids [n], log-probabilities and values [n, 2], and whether a stop id ended it."""
Streamed = Callable[[Sequence[RowId], Tensor], None]


def sampler_for(rows: Any, run: SamplingRun) -> "StaticSampler | None":
    """For a batch that is decoded by steps of fixed shapes; None where the host looks at each step, as ever.

    None on a processor; for a model that is not decoded over its weights directly (`llama.direct_models`), whose
    forward decides more on the host than a graph can hold; and for RoPE whose frequencies depend on the longest row.
    """
    if not isinstance(rows, Batch) or rows.network.fast is None:
        return None
    if getattr(rows.network.fast.rotary, "rope_type", "default") in ("dynamic", "longrope"):
        return None
    runner = step_runner.for_device(rows.network.device)
    return None if runner is None else StaticSampler(run, runner)


class StaticSampler:
    """Samples the batches of one run, the largest and longest first: its buffers and graphs serve those after it, and
    the next run of the same model (`kept_rows`)."""

    def __init__(self, run: SamplingRun, runner: StepRunner) -> None:
        self.run, self.runner = run, runner
        self.rows: StaticRows | None = None

    def keep(self, model: Any) -> None:
        """The run is over: another one may have what it has made."""
        if self.rows is not None:
            kept_rows.keep(model, self.rows)
            self.rows = None

    def sample(self, batch: Batch, *, stop: StopSignal | None, streamed: Streamed | None) -> Iterator[list[Ended]]:
        """Sample until every row has ended; yields those that ended, stretch by stretch. The batch is used up.

        Raises Stopped.
        """
        limit, device = self.run.max_new_tokens, batch.network.device
        stop_ids = torch.tensor(self.run.stop_ids, dtype=torch.long, device=device)
        going_on = list(enumerate(batch.row_ids))  # (place, whose it is)
        rows = self._begun(batch, stop=stop)
        looked = 0
        while True:
            if streamed is not None or rows.made - looked >= STRETCH or rows.made == limit:
                if streamed is not None:
                    places = torch.tensor([place for place, _ in going_on], device=device)
                    streamed([row_id for _, row_id in going_on], rows.ids[places, : rows.made])
                ended, going_on = _look(rows, going_on, since=looked, stop_ids=stop_ids)
                looked = rows.made
                if ended:
                    yield ended
                if not going_on:
                    return
                bucket = row_bucket(len(going_on))
                if bucket < rows.in_use:
                    places_now = rows.compact([place for place, _ in going_on], rows=bucket)
                    going_on = [(place, row_id) for place, (_, row_id) in zip(places_now, going_on, strict=True)]
            if stop is not None and stop.requested:
                raise Stopped
            rows.advance()

    def _begun(self, batch: Batch, *, stop: StopSignal | None) -> StaticRows:
        if stop is not None and stop.requested:
            raise Stopped
        bucket = row_bucket(len(batch))
        if self.rows is None:
            self.rows = kept_rows.take(batch, self.run)
        if self.rows is None:
            self.rows = StaticRows(batch, self.run, rows=bucket, runner=self.runner)
        self.rows.begin(batch, rows=bucket)
        return self.rows


def _look(
    rows: StaticRows, going_on: Sequence[tuple[int, RowId]], *, since: int, stop_ids: Tensor
) -> tuple[list[Ended], list[tuple[int, RowId]]]:
    """Which rows have ended by the tokens sampled since the last look, and which go on."""
    is_stop = torch.isin(rows.ids[: rows.in_use, since : rows.made], stop_ids)
    first = torch.where(is_stop.any(dim=1), is_stop.int().argmax(dim=1), -1).tolist()
    is_last = rows.made == rows.run.max_new_tokens
    over = [(place, row_id) for place, row_id in going_on if first[place] >= 0 or is_last]
    if not over:
        return [], list(going_on)
    places = torch.tensor([place for place, _ in over], device=rows.ids.device)
    ids, numbers = rows.ids[places, : rows.made].cpu(), rows.numbers[places, : rows.made].cpu()
    ended = []
    for index, (place, row_id) in enumerate(over):
        stopped = first[place] >= 0
        length = since + first[place] + 1 if stopped else rows.made
        ended.append((row_id, ids[index, :length], numbers[index, :length], stopped))
    gone = {place for place, _ in over}
    return ended, [(place, row_id) for place, row_id in going_on if place not in gone]
