"""The shift and the scale of scores: a reward model's loss leaves the level of its logits free."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from models_core import scoring
from models_core.packing import Group
from models_core.preferences.examples import Example
from models_core.records import Answers, Demonstration

STAND_IN_PROMPTS = 64
"""Training prompts whose responses' logits set shift and scale where no files for that are given."""
SMALLEST_DEVIATION = 1e-6
"""Logits closer together than this are equal, and are left as they are."""

Logits = Callable[[Sequence[Group]], list[torch.Tensor]]
"""Of the responses of every group by every head: [responses, heads] each."""


def measured(
    logits: Logits,
    *,
    examples: Sequence[Example],
    demonstrations: Sequence[Demonstration | Answers] | None,
    samples: Sequence[Answers] | None,
    tokenizer: Any,
    max_length: int,
) -> dict[str, Any]:
    """Shift and scale of scores: mean logit of demonstrations, standard deviation over samples of the reference.

    Stiennon et al. 2020 put the reference summaries at 0. Without these rows the responses that were trained on stand
    in for either, which `calibrated_on` says. The heads of an ensemble have a shift each, and one scale, that of their
    mean.
    """

    def of(rows: Sequence[Demonstration | Answers] | None) -> torch.Tensor:
        if rows is None:
            groups = [example.group for example in examples[:STAND_IN_PROMPTS]]
        else:
            encoded = [scoring.encode_group(tokenizer, row.messages, row.texts, max_length=max_length) for row in rows]
            groups = [row.group for row in encoded]
        return torch.cat(logits(groups)).double()

    shifting = of(demonstrations)
    scaling = shifting if samples is None and demonstrations is None else of(samples)
    shifts = shifting.mean(0) if len(shifting) else shifting.new_zeros(shifting.shape[1])
    deviation = float(scaling.mean(-1).std(correction=0)) if len(scaling) else 0.0
    return {
        "reward_shift": float(shifts.mean()),
        "head_shifts": shifts.tolist(),
        "reward_scale": deviation if deviation > SMALLEST_DEVIATION else 1.0,
        "calibrated_on": {
            "shift": "training responses" if demonstrations is None else "demonstrations",
            "scale": "training responses" if samples is None else "samples",
        },
    }
