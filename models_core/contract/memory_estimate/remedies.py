"""Which settings make a run fit into the memory of its GPUs: tried by arithmetic, the least harmful first."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models_core.contract.memory_estimate.estimate import Estimate
from models_core.contract.settings import Settings

FEWEST_TOKENS = 256
"""No smaller max_tokens_per_forward is proposed: products of so few rows leave a GPU idle."""
MOST_GPUS = 4096
SERVER = "http://HOST:PORT"
"""Stands for an address in a proposal."""

EstimateOf = Callable[[Settings, int], Estimate]
"""(settings, GPUs) -> what each of them holds"""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """`changes`: settings that make it fit, in the order in which they were tried; {} where it fits as it is.

    Where nothing does, `changes` is None, and `gpus` says how many would with all of `tried`, None if no number does.
    """

    estimate: Estimate
    changes: dict[str, Any] | None
    tried: dict[str, Any]
    gpus: int | None = None


def advise(settings: Settings, *, gpus: int, memory: int, estimate_of: EstimateOf) -> Advice:
    """What makes a run fit into `memory` bytes on each of so many GPUs."""
    first = estimate_of(settings, gpus)
    if first.total <= memory:
        return Advice(estimate=first, changes={}, tried={})
    changed = _tried(settings, gpus=gpus, memory=memory, estimate_of=estimate_of)
    if (found := estimate_of(changed, gpus)).total <= memory:
        changed = _without_needless(changed, settings, lambda trial: estimate_of(trial, gpus).total <= memory)
        changes = _differences(changed, settings)
        return Advice(estimate=estimate_of(changed, gpus), changes=changes, tried=changes)
    tried = _differences(changed, settings)
    return Advice(
        estimate=found,
        changes=None,
        tried=tried,
        gpus=_gpus_that_fit(settings, gpus=gpus, memory=memory, estimate_of=estimate_of),
    )


def _gpus_that_fit(settings: Settings, *, gpus: int, memory: int, estimate_of: EstimateOf) -> int | None:
    """The fewest GPUs, doubled each time, on which it fits with the settings that help there."""
    while (gpus := 2 * gpus) <= MOST_GPUS:
        if estimate_of(_tried(settings, gpus=gpus, memory=memory, estimate_of=estimate_of), gpus).total <= memory:
            return gpus
    return None


def _tried(settings: Settings, *, gpus: int, memory: int, estimate_of: EstimateOf) -> Settings:
    """The settings after all changes that save memory, until it fits."""
    best, needed = settings, _periods(estimate_of(settings, gpus))
    for values in _candidates(settings, gpus=gpus):
        for changes in values:
            trial = dataclasses.replace(best, **changes)
            if (needed_then := _periods(estimate_of(trial, gpus))) < needed:
                best, needed = trial, needed_then
            if needed[0] <= memory:
                return best
    return best


def _periods(found: Estimate) -> tuple[int, int]:
    """The largest period and the sum of all: what helps a smaller one alone may be needed once the largest is less."""
    return found.total, sum(period.total for period in found.periods)


def _candidates(settings: Settings, *, gpus: int) -> Iterator[list[Mapping[str, Any]]]:
    """Settings to change, in order; of those with several values, the mildest first."""
    names = {field.name for field in dataclasses.fields(settings)}
    if "gradient_checkpointing" in names:
        yield [{"gradient_checkpointing": True}]
    yield _halved(settings, "max_tokens_per_forward", least=FEWEST_TOKENS)
    method = getattr(settings, "method", "")
    if gpus > 1 and method not in ("", "qlora"):
        yield [{"parallel": "fsdp"}]
    if method in ("full", "last_n"):
        yield [{"method": "lora"}]
    if method in ("full", "last_n", "lora"):
        yield [{"method": "qlora", **({"parallel": "ddp"} if gpus > 1 else {})}]
    if "offload_reference" in names:  # where nothing splits the reference, nor holds it in 4 bits
        yield [{"offload_reference": True}]
    if "rollout_server" in names:
        yield [{"rollout_server": SERVER}]
    if getattr(settings, "weight_format", "") == "full":
        yield [{"weight_format": "int8"}]
        yield [{"weight_format": "nf4"}]
    yield _halved(settings, "batch_size", least=1)


def _halved(settings: Settings, name: str, *, least: int) -> list[Mapping[str, Any]]:
    values: list[Mapping[str, Any]] = []
    value = getattr(settings, name, 0) // 2
    while value >= least:
        values.append({name: value})
        value //= 2
    return values


def _without_needless(changed: Settings, settings: Settings, fits: Callable[[Settings], bool]) -> Settings:
    """Without those of the changes that it fits without: a later one may have saved what an earlier one did."""
    for name in _differences(changed, settings):
        trial = dataclasses.replace(changed, **{name: getattr(settings, name)})
        if fits(trial):
            changed = trial
    return changed


def _differences(changed: Settings, settings: Settings) -> dict[str, Any]:
    """Changed settings in the order of the candidates."""
    order = [
        "gradient_checkpointing", "max_tokens_per_forward", "parallel", "method", "offload_reference",
        "rollout_server", "weight_format", "batch_size",
    ]  # fmt: skip
    names = [field.name for field in dataclasses.fields(settings)]
    different = [name for name in names if getattr(changed, name) != getattr(settings, name)]
    return {name: getattr(changed, name) for name in sorted(different, key=order.index)}
