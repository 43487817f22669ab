"""A line of the table, and what every part is given."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.cards import Card
from benchmarks.gpu.inputs import LARGE, TINY, Shape


@dataclass(frozen=True, kw_only=True)
class Row:
    """limit: what the figure must not exceed. goal: what it should reach. note: why there is none."""

    what: str
    value: float | None = None
    unit: str = ""
    limit: float | None = None
    goal: float | None = None
    note: str = ""

    @property
    def passes(self) -> bool | None:
        """None where nothing is demanded."""
        if self.value is None or (self.limit is None and self.goal is None):
            return None
        is_small = self.limit is None or self.value <= self.limit  # NaN is not
        return is_small and (self.goal is None or self.value >= self.goal)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"passes": self.passes}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much the figures are measured on; a character is a token."""

    prompt: int = 256
    response: int = 768
    ranked_response: int = 256
    demonstrations: int = 32
    ranked_tokens: int = 20_480
    forward_tokens: int = 16_384
    episodes: int = 64
    new_tokens: int = 128
    rollout_prompt: int = 128
    most_steps: int = 60
    decode_rows: Sequence[int] = (1, 64, 256)
    decode_lengths: tuple[int, int] = (16, 144)


TINY_SIZES = Sizes(
    prompt=16, response=24, ranked_response=12, demonstrations=4, ranked_tokens=256, forward_tokens=512, episodes=4,
    new_tokens=4, most_steps=2, rollout_prompt=12, decode_rows=(1, 4), decode_lengths=(4, 12),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every part is given. folder: `tiny` and `large` in it are models, `large-reward` a reward model."""

    card: Card
    folder: Path
    is_tiny: bool
    peer: str | None
    method: str = "fork"
    """How processes of parts are started."""

    @property
    def device(self) -> str:
        return self.card.device

    @property
    def shape(self) -> Shape:
        """Of the model that is measured."""
        return TINY if self.is_tiny else LARGE

    @property
    def sizes(self) -> Sizes:
        return TINY_SIZES if self.is_tiny else Sizes()

    @property
    def precision(self) -> str:
        """What is measured: bf16, but on a CPU, where it would be its compiled kernels."""
        return "bf16" if self.device == "cuda" else "fp32"

    @property
    def tiny(self) -> str:
        return str(self.folder / "tiny")

    @property
    def large(self) -> str:
        return self.tiny if self.is_tiny else str(self.folder / "large")

    @property
    def reward(self) -> str:
        """A reward model of the size that is measured."""
        return str(self.folder / "large-reward")
