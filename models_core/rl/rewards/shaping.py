"""Reward shaping: the running scale of scores, and named penalties for length, format and a missing end-of-sequence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.settings import PPOConfig, composite_values
from models_core.rl.rewards.base import Completion, RewardFailed

SEARCH_TIMEOUT = 1.0
"""Seconds to search one response: some patterns take exponential time on some texts."""


@dataclass
class RunningScale:
    """Mean and standard deviation over all rollout iterations so far (Chan, Golub and LeVeque 1979), in fp64.

    Part of every checkpoint, in JSON, which keeps every digit: a resumed run divides by the very same numbers.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared differences from the mean

    def update(self, values: Sequence[float]) -> None:
        """Add the values of an iteration."""
        count = len(values)
        mean = math.fsum(values) / count
        squares = math.fsum((value - mean) ** 2 for value in values)
        total = self.count + count
        difference = mean - self.mean
        self.squares += squares + difference**2 * self.count * count / total
        self.mean += difference * count / total
        self.count = total

    @property
    def std(self) -> float:
        """Population standard deviation; 1 while all values are equal."""
        return math.sqrt(self.squares / self.count) if self.squares > 0 else 1.0

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count, self.mean, self.squares = state["count"], state["mean"], state["squares"]


def length_penalty(lengths: torch.Tensor, *, target: int, coef: float) -> torch.Tensor:
    """-coef for every token beyond `target`: (batch,) -> (batch,). The stop token counts, since it was sampled too."""
    return -coef * (lengths - target).clamp(min=0).float()


def missing_eos_penalty(
    scores: torch.Tensor, ended: torch.Tensor, *, mode: str, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(scores, term) of responses, some of which were truncated: (batch,), (batch,) -> (batch,), (batch,).

    Ziegler et al. and Stiennon et al. replace the score by a constant ("replace"), which has no slope where hardly any
    response ends in time; subtracting a penalty keeps the order among truncated responses.
    """
    zeros = torch.zeros_like(scores)
    if mode == "none":
        return scores, zeros
    kept = torch.where(ended, scores, zeros) if mode == "replace" else scores
    return kept, torch.where(ended, zeros, torch.full_like(scores, -penalty))


@dataclass(frozen=True, kw_only=True)
class FormatRules:
    """Compiled patterns that every response must match, and must not match; None for no rule."""

    required: Any
    forbidden: Any
    penalty: float

    @classmethod
    def from_settings(cls, settings: PPOConfig) -> "FormatRules":
        """Raises BadInput for an invalid regular expression."""
        return cls(
            required=_compile("required_pattern", settings.required_pattern),
            forbidden=_compile("forbidden_pattern", settings.forbidden_pattern),
            penalty=settings.format_penalty,
        )

    @property
    def is_active(self) -> bool:
        return self.required is not None or self.forbidden is not None

    def penalties(self, texts: Sequence[str]) -> torch.Tensor:
        """-penalty for each of the two rules that a text breaks: (batch,). Raises RewardFailed on a search timeout."""
        broken = [
            (self.required is not None and not _matches(self.required, text, setting="required_pattern"))
            + (self.forbidden is not None and _matches(self.forbidden, text, setting="forbidden_pattern"))
            for text in texts
        ]
        return -self.penalty * torch.tensor(broken, dtype=torch.float32)


def reward_terms(
    completions: Sequence[Completion], scores: torch.Tensor, *, settings: PPOConfig, rules: FormatRules
) -> dict[str, torch.Tensor]:
    """Named terms whose sum is the shaped reward, in the order of addition: (batch,) each.

    Terms that the settings use, and always "score".
    """
    ended = torch.tensor([item.ended for item in completions])
    kept, missing = missing_eos_penalty(
        scores, ended, mode=settings.missing_eos_mode, penalty=settings.missing_eos_penalty
    )
    terms = {"score": kept}
    if settings.length_penalty_coef > 0:
        lengths = torch.tensor([len(item.ids) for item in completions])
        terms["length"] = length_penalty(lengths, target=settings.length_target, coef=settings.length_penalty_coef)
    if rules.is_active:
        terms["format"] = rules.penalties([item.text for item in completions])
    if settings.missing_eos_mode != "none":
        terms["missing_eos"] = missing
    return terms


def _compile(setting: str, pattern: str) -> Any:
    if not pattern:
        return None
    try:
        return composite_values.regular_expression(pattern)
    except ValueError as error:
        raise BadInput(f"The setting {setting} {error}") from None


def _matches(pattern: Any, text: str, *, setting: str) -> bool:
    try:
        return pattern.search(text, timeout=SEARCH_TIMEOUT) is not None
    except TimeoutError:
        raise RewardFailed(
            f"The pattern of {setting} searched one response for more than {SEARCH_TIMEOUT:g} second: take a simpler "
            "one."
        ) from None
