"""Calibration of scores, score = (logit - shift) / scale: the ranking loss does not determine the level of logits."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Demonstration, PromptResponses
from models_core.contract.settings import RewardConfig
from models_core.modeling import forward
from models_core.modeling.packing import Group
from models_core.preferences.encoding import Example
from models_core.preferences.skipped_rows import SkippedRows

FALLBACK_PROMPTS = 64
"""Training prompts whose responses set shift and scale where no files for that are given."""
MIN_STD = 1e-6
"""Logits with a smaller standard deviation count as equal and are not rescaled."""

HeadLogits = Callable[[Sequence[Group]], list[torch.Tensor]]
"""Groups -> logits of their responses: one (responses, heads) a group."""


def encode_rows(
    rows: Sequence[Demonstration | PromptResponses] | None,
    *,
    tokenizer: Any,
    settings: RewardConfig,
    max_length: int,
    skipped: SkippedRows,
) -> list[Group]:
    """Rows as tokens, without responses that are too long. Raises BadInput where long_responses=refuse."""
    groups = []
    for row in rows or ():
        encoded = forward.encode_group(tokenizer, row.messages, row.texts, max_length=max_length)
        if settings.long_responses == "refuse" and not all(encoded.fits):
            raise BadInput(f"A response of the row {row.id!r} is longer than max_length ({max_length} tokens) allows.")
        skipped.add("too_long_for_scale", row.id, times=encoded.fits.count(False))
        if encoded.group.responses:
            groups.append(encoded.group)
    return groups


def calibrate_scores(
    head_logits: HeadLogits,
    *,
    examples: Sequence[Example],
    demonstrations: Sequence[Group],
    samples: Sequence[Group],
) -> dict[str, Any]:
    """Shift: mean logit of demonstrations; scale: standard deviation over samples of the reference model.

    Stiennon et al. 2020 set the mean score of reference summaries to 0. Training responses replace either where it is
    missing, as `calibrated_on` reports. An ensemble has a shift for each head and one scale, that of the mean head.
    """

    def logits_of(groups: Sequence[Group]) -> torch.Tensor:
        fallback = [example.group for example in examples[:FALLBACK_PROMPTS]]
        return torch.cat(head_logits(groups or fallback)).double()

    shift_logits = logits_of(demonstrations)
    scale_logits = logits_of(samples) if samples or demonstrations else shift_logits
    shifts = shift_logits.mean(0)
    std = float(scale_logits.mean(-1).std(correction=0))
    return {
        "reward_shift": float(shifts.mean()),
        "head_shifts": shifts.tolist(),
        "reward_scale": std if std > MIN_STD else 1.0,
        "calibrated_on": {
            "shift": "demonstrations" if demonstrations else "training responses",
            "scale": "samples" if samples else "training responses",
        },
    }
