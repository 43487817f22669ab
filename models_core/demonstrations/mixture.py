"""The steps of a run over several data sets: how often each one's rows come, in what order, how many to a step.

Everything is a pure function of sizes, settings and the seed: a resumed run makes the same plan and goes on in it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from models_core.contract.errors import BadInput
from models_core.contract.settings import SFTConfig, composite_values
from models_core.demonstrations.examples import Example
from models_core.training.batching import epoch_order


@dataclass(frozen=True, kw_only=True)
class Source:
    """The rows of one data set as tokens, in one or several wordings: `passes[p][row]`, all passes of the same rows.

    `weight` is how many passes over it an epoch of the run makes: 0.3 reads three rows in ten, 2 each row twice.
    """

    passes: Sequence[Sequence[Example]]
    weight: Fraction = Fraction(1)

    def draws(self, start: int, stop: int, *, seed: int) -> list[Example]:
        """Draws number `start` to `stop` of an endless shuffle: no row comes again before all have come."""
        rows = len(self.passes[0])
        drawn = []
        for number in range(start, stop):
            turn, place = divmod(number, rows)
            if number == start or place == 0:
                order = epoch_order(rows, epoch=turn, seed=seed)
            drawn.append(self.passes[turn % len(self.passes)][order[place]])
        return drawn


@dataclass(frozen=True, kw_only=True)
class Step:
    """The rows of one update: new ones, and earlier demonstrations that are replayed among them."""

    new: list[Example]
    replayed: list[Example]
    ends_epoch: bool = False


def data_weights(text: str, *, files: int) -> list[Fraction]:
    """The setting data_weights for so many files; 1 for each file if it is empty. Raises BadInput."""
    try:
        weights = composite_values.data_weights(text)
    except ValueError as error:
        raise BadInput(f"The setting data_weights {error}") from None
    if weights and len(weights) != files:
        raise BadInput(f"The setting data_weights holds {len(weights)} numbers for {files} data files.")
    return weights or [Fraction(1)] * files


def passes_over(weight: Fraction, *, epochs: int) -> int:
    """Passes over a data set that a run begins."""
    return math.ceil(weight * epochs)


def plan(sources: Sequence[Source], *, replay: Source | None, settings: SFTConfig) -> list[Step]:
    """Every update of the run, in order. Raises BadInput where the weights leave nothing to learn from."""
    steps: list[Step] = []
    ratio = Fraction(str(settings.replay_ratio)) if replay is not None else Fraction(0)
    new = replayed = 0
    for epoch in range(settings.epochs):
        rows = _epoch(sources, epoch=epoch, seed=settings.seed)
        batches = list(_batches(rows, settings=settings))
        for batch in batches:
            new += len(batch)
            due = math.floor(new * ratio)
            earlier = replay.draws(replayed, due, seed=settings.seed) if replay is not None else []
            replayed = due
            steps.append(Step(new=batch, replayed=earlier, ends_epoch=batch is batches[-1]))
    if not steps:
        raise BadInput("The setting data_weights leaves no row to learn from.")
    return steps


def _epoch(sources: Sequence[Source], *, epoch: int, seed: int) -> list[Example]:
    """One epoch's rows of all data sets, shuffled together. Parts of a pass go on where the last epoch ended."""
    rows = []
    for source in sources:
        size = len(source.passes[0]) * source.weight
        rows += source.draws(math.floor(size * epoch), math.floor(size * (epoch + 1)), seed=seed)
    return [rows[place] for place in epoch_order(len(rows), epoch=epoch, seed=seed)]


def _batches(rows: Sequence[Example], *, settings: SFTConfig) -> Iterator[list[Example]]:
    """Rows cut into updates: `batch_size` rows each, or as many as `batch_tokens` hold, one at least."""
    batch: list[Example] = []
    tokens = 0
    for row in rows:
        is_full = (
            tokens + row.tokens > settings.batch_tokens
            if settings.batch_tokens
            else (len(batch) == settings.batch_size)
        )
        if batch and is_full:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += row.tokens
    if batch:
        yield batch
