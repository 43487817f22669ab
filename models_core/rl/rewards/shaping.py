"""What is taken off an answer's score for its length, its form and a missing end: each a term with its own name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.settings import PPOConfig, composite_values
from models_core.rl.rewards.base import Answered, RewardFailed

LONGEST_SEARCH = 1.0
"""Seconds that one answer may be searched: some patterns need more than the age of the universe for some texts."""


def length_term(lengths: torch.Tensor, *, target: int, price: float) -> torch.Tensor:
    """-price for every token beyond `target`: [B] -> [B]. A response's stop token counts, since it was chosen too."""
    return -price * (lengths - target).clamp(min=0).float()


def missing_eos(
    scores: torch.Tensor, ended: torch.Tensor, *, rule: str, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(scores, term) of answers of which some were cut off: [B], [B].

    Ziegler et al. and Stiennon et al. replace the score by a constant, which is flat where hardly any response ends in
    time; taking a penalty off keeps the order among the cut ones.
    """
    nothing = torch.zeros_like(scores)
    if rule == "none":
        return scores, nothing
    kept = torch.where(ended, scores, nothing) if rule == "replace" else scores
    return kept, torch.where(ended, nothing, torch.full_like(scores, -penalty))


@dataclass(frozen=True, kw_only=True)
class Form:
    """What every answer must hold, and what none may; None asks for nothing."""

    must: Any
    must_not: Any
    penalty: float

    @classmethod
    def of(cls, settings: PPOConfig) -> "Form":
        """Raises BadInput for what is no regular expression."""
        return cls(
            must=_compiled("required_pattern", settings.required_pattern),
            must_not=_compiled("forbidden_pattern", settings.forbidden_pattern),
            penalty=settings.format_penalty,
        )

    @property
    def asks_for_something(self) -> bool:
        return self.must is not None or self.must_not is not None

    def term(self, texts: Sequence[str]) -> torch.Tensor:
        """-penalty for each of the two rules that a text breaks: [B]. Raises RewardFailed for an endless search."""
        broken = [
            (self.must is not None and not _found(self.must, text, setting="required_pattern"))
            + (self.must_not is not None and _found(self.must_not, text, setting="forbidden_pattern"))
            for text in texts
        ]
        return -self.penalty * torch.tensor(broken, dtype=torch.float32)


def named(
    answers: Sequence[Answered], scores: torch.Tensor, *, settings: PPOConfig, form: Form
) -> dict[str, torch.Tensor]:
    """The terms whose sum an answer is worth, in the order in which they are added: [B] each.

    Only those that the settings ask for, and `score` always.
    """
    ended = torch.tensor([answer.ended for answer in answers])
    kept, cut = missing_eos(scores, ended, rule=settings.missing_eos_mode, penalty=settings.missing_eos_penalty)
    terms = {"score": kept}
    if settings.length_penalty_coef > 0:
        lengths = torch.tensor([len(answer.ids) for answer in answers])
        terms["length"] = length_term(lengths, target=settings.length_target, price=settings.length_penalty_coef)
    if form.asks_for_something:
        terms["format"] = form.term([answer.text for answer in answers])
    if settings.missing_eos_mode != "none":
        terms["missing_eos"] = cut
    return terms


def _compiled(setting: str, pattern: str) -> Any:
    if not pattern:
        return None
    try:
        return composite_values.regular_expression(pattern)
    except ValueError as error:
        raise BadInput(f"The setting {setting} {error}") from None


def _found(pattern: Any, text: str, *, setting: str) -> bool:
    try:
        return pattern.search(text, timeout=LONGEST_SEARCH) is not None
    except TimeoutError:
        raise RewardFailed(
            f"The pattern of {setting} searched one answer for more than {LONGEST_SEARCH:g} second: take a simpler one."
        ) from None
