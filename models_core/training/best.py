"""The best weights that a run has measured on held-out rows, and when it is time to stop looking for better ones.

What is remembered here is part of every checkpoint, so a resumed run ends at the same step with the same weights. The
weights themselves lie beside the checkpoints; each stays there for as long as a checkpoint speaks of it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from models_core.training import checkpoint

Groups = Mapping[str, Mapping[str, Tensor]]


@dataclass
class Best:
    """`measures` are those of `step`, 0 before the first one; `stale` counts the measurements since."""

    step: int = 0
    value: float = math.inf
    measures: dict[str, float] = field(default_factory=dict)
    stale: int = 0
    latest: dict[str, float] = field(default_factory=dict)

    def update(self, measures: Mapping[str, float], *, by: str, step: int) -> bool:
        """Take note of a measurement, of which less is better in `by`; True where it is the best so far."""
        value = float(measures[by])
        self.latest = dict(measures)
        if not value < self.value and self.step:  # NaN is never better
            self.stale += 1
            return False
        self.step, self.value, self.measures, self.stale = step, value, dict(measures), 0
        return True

    def save(self, folder: Path, weights: Groups) -> None:
        """Put the weights beside the checkpoints. Earlier ones stay until no checkpoint speaks of them."""
        checkpoint.save(folder, step=self.step, tensors=weights, state={}, kind=checkpoint.BEST, keep=0)

    def remove_unreferenced(self, folder: Path) -> None:
        """Drop weights that neither this nor a checkpoint speaks of."""
        referenced = {self.step, *(found.state["best"]["step"] for found in checkpoint.all_whole(folder))}
        checkpoint.drop(folder, kind=checkpoint.BEST, but=referenced)

    def load(self, folder: Path) -> checkpoint.Checkpoint:
        """The weights that were saved last."""
        kept = checkpoint.all_whole(folder, kind=checkpoint.BEST)
        return next(found for found in kept if found.step == self.step)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint; JSON knows no infinity."""
        return asdict(self) | {"value": self.value if math.isfinite(self.value) else None}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "Best":
        return cls(**{**state, "value": math.inf if state["value"] is None else state["value"]})
