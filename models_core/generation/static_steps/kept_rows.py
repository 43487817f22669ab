"""Buffers and graphs of a model that stay from one call of `generate.sample` to the next, as PPO makes them.

A graph reads and writes at the addresses that it was recorded with. So it is of use as long as the model's weights stay
where they are, which updates in place leave them to; who samples, and how, must be the same, and there must be room.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from models_core.generation.batch import Batch
from models_core.generation.sampling_run import SamplingRun
from models_core.generation.static_steps.buckets import row_bucket
from models_core.generation.static_steps.static_rows import StaticRows
from models_core.generation.static_steps.step_runner import CapturedSteps

KEPT_BYTES = 2 * 2**30
"""The most that keys and values of a model's rows may take to stay while it is trained."""


Way = tuple[Any, ...]
"""How is sampled: what a graph has recorded beside addresses. PPO samples rollouts one way and evaluates another."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    rows: StaticRows
    places: tuple[Any, ...]
    head: Callable[[], Any]


_kept: "weakref.WeakKeyDictionary[Any, dict[Way, _Kept]]" = weakref.WeakKeyDictionary()
_moving: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""Models whose weights were elsewhere at the next call, such as those that are gathered anew for each."""


def take(batch: Batch, run: SamplingRun) -> StaticRows | None:
    """The rows that were kept of a batch's model, for a run that they fit; nobody else has them meanwhile."""
    model = batch.network.model
    kept = _kept.get(model, {}).pop(_way(run), None)
    if kept is None:
        return None
    if kept.places != _places(model):
        _kept.pop(model)
        _moving.add(model)
        return None
    if kept.head() != run.value_head or not kept.rows.has_room_for(batch, rows=row_bucket(len(batch))):
        return None
    kept.rows.run = run
    kept.rows.clear()
    return kept.rows


def keep(model: Any, rows: StaticRows) -> None:
    """Let the next call have the rows, unless they are large, or the model's weights don't stay at their place."""
    head = _reference(rows.run.value_head)
    has_graphs = isinstance(rows.runner, CapturedSteps) and rows.runner.has_graphs
    if head is None or model in _moving or rows.network.is_packed or rows.cache_bytes > KEPT_BYTES or not has_graphs:
        return
    of_model = _kept.setdefault(model, {})
    if rows.cache_bytes + sum(each.rows.cache_bytes for each in of_model.values()) > KEPT_BYTES:
        of_model.clear()
    way, rows.run = _way(rows.run), replace(rows.run, value_head=None)
    of_model[way] = _Kept(rows=rows, places=_places(model), head=head)


def _way(run: SamplingRun) -> Way:
    return run.options, run.max_new_tokens, run.value_head is None


def _places(model: Any) -> tuple[Any, ...]:
    """Where the numbers lie that a step reads, and how."""
    tensors = chain(model.parameters(), model.buffers())
    return tuple((tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()) for tensor in tensors)


def _reference(head: Any) -> Callable[[], Any] | None:
    """A way to a value head that doesn't keep the models behind it alive; None for one that there is no such way to."""
    if head is None:
        return lambda: None
    return weakref.WeakMethod(head) if hasattr(head, "__self__") else None
