"""The shift and the scale of scores: a reward model's loss leaves the level of its logits free."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.records import Answers, Demonstration
from models_core.contract.settings import RewardConfig
from models_core.modeling import forward
from models_core.modeling.packing import Group
from models_core.preferences.encoding import Example
from models_core.preferences.skipped_rows import LeftOut

STAND_IN_PROMPTS = 64
"""Training prompts whose responses' logits set shift and scale where no files for that are given."""
SMALLEST_DEVIATION = 1e-6
"""Logits closer together than this are equal, and are left as they are."""

Logits = Callable[[Sequence[Group]], list[torch.Tensor]]
"""Of the responses of every group by every head: [responses, heads] each."""


def encoded(
    rows: Sequence[Demonstration | Answers] | None,
    *,
    tokenizer: Any,
    settings: RewardConfig,
    max_length: int,
    left_out: LeftOut,
) -> list[Group]:
    """Answers as tokens, without those that are too long. Raises BadInput where the settings refuse these."""
    groups = []
    for row in rows or ():
        found = forward.encode_group(tokenizer, row.messages, row.texts, max_length=max_length)
        if settings.long_responses == "refuse" and not all(found.fits):
            raise BadInput(f"A response of the row {row.id!r} is longer than max_length ({max_length} tokens) allows.")
        left_out.add("too_long_for_scale", row.id, times=found.fits.count(False))
        if found.group.responses:
            groups.append(found.group)
    return groups


def measured(
    logits: Logits,
    *,
    examples: Sequence[Example],
    demonstrations: Sequence[Group],
    samples: Sequence[Group],
) -> dict[str, Any]:
    """Shift and scale of scores: mean logit of demonstrations, standard deviation over samples of the reference.

    Stiennon et al. 2020 put the reference summaries at 0. Where there are none, the responses that were trained on
    stand in for either, which `calibrated_on` says. The heads of an ensemble have a shift each, and one scale, that of
    their mean.
    """

    def of(groups: Sequence[Group]) -> torch.Tensor:
        return torch.cat(logits(groups or [example.group for example in examples[:STAND_IN_PROMPTS]])).double()

    shifting = of(demonstrations)
    scaling = of(samples) if samples or demonstrations else shifting
    shifts = shifting.mean(0)
    deviation = float(scaling.mean(-1).std(correction=0))
    return {
        "reward_shift": float(shifts.mean()),
        "head_shifts": shifts.tolist(),
        "reward_scale": deviation if deviation > SMALLEST_DEVIATION else 1.0,
        "calibrated_on": {
            "shift": "demonstrations" if demonstrations else "training responses",
            "scale": "samples" if samples else "training responses",
        },
    }
