"""Settings under the names and values of earlier versions, as run folders hold them."""

from collections.abc import Mapping
from typing import Any

NAMES = {
    "answer_temperature": "generation_temperature",
    "answers": "num_generated",
    "ema": "ema_decay",
    "exact": "batch_invariant",
    "final_rate": "min_lr_ratio",
    "flat_phases": "zero_variance_patience",
    "format_must": "required_pattern",
    "format_must_not": "forbidden_pattern",
    "head_start": "head_init",
    "judge_tries": "judge_retries",
    "judgments": "duplicate_judgments",
    "keep_best": "load_best_at_end",
    "kl_ceiling": "max_kl",
    "length_price": "length_penalty_coef",
    "memory_plan": "share_base_weights",
    "micro_batch_tokens": "max_tokens_per_forward",
    "missing_eos": "missing_eos_mode",
    "seen_prompts": "reward_train_overlap",
    "turns": "loss_on",
    "value_model": "value_init",
    "warmup": "warmup_ratio",
}
VALUES = {("memory_plan", "separate"): "never", ("memory_plan", "shared"): "always", ("ties", "half"): "soft"}


def current(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under the names and values of this version."""
    return {
        NAMES.get(name, name): VALUES.get((name, value), value) if isinstance(value, str) else value
        for name, value in settings.items()
    }
