"""Subjects under which forms group the settings, and the settings that apply only with certain values of another.

Each setting of every stage has exactly one subject. Titles are messages of the catalogue.
"""

from collections.abc import Iterator, Mapping
from typing import Any

SUBJECTS: dict[str, tuple[str, ...]] = {
    "Length and optimisation": (
        "epochs", "episodes", "batch_size", "batch_tokens", "learning_rate", "value_learning_rate", "warmup_ratio",
        "min_lr_ratio", "weight_decay", "max_grad_norm", "optimizer", "dropout", "seed", "ema_decay",
    ),
    "Fine-tuning method": (
        "method", "last_layers", "lora_rank", "adapter_width", "virtual_tokens", "trunk_layers", "value_init",
    ),
    "New model": ("architecture", "size", "layers", "width", "heads", "tokenizer", "vocab_size"),
    "Reward head and ensemble": ("head_init", "head_scale", "ensemble", "bootstrap"),
    "Preference loss": (
        "beta", "ties", "margin", "margin_scale", "duplicate_judgments", "labeler_weights", "ai_weight",
        "deduplicate", "contradictions", "demonstration_pairs",
    ),
    "Demonstration loss": ("loss_on", "lm_coef", "lm_scope", "data_weights"),
    "Distillation": ("objective", "response_source", "distil_temperature", "sft_coef"),
    "Forgetting": ("replay_ratio", "ewc_lambda", "ewc_samples", "ptx_coef", "ptx_ratio"),
    "KL penalty": ("kl_coef", "kl_target", "kl_horizon"),
    "Policy gradient": (
        "algorithm", "samples_per_prompt", "minibatches", "ppo_epochs", "clip_range", "value_clip_range", "vf_coef",
        "gamma", "gae_lambda", "whiten_rewards", "sampler_log_probs", "rollouts_ahead", "importance_weight_cap",
    ),
    "Reward shaping": (
        "reward_objective", "reward_std_coef", "reward_baseline", "reward_normalise", "reward_clip",
        "missing_eos_mode", "missing_eos_penalty", "length_target", "length_penalty_coef", "required_pattern",
        "forbidden_pattern", "format_penalty", "judge_rubric", "judge_retries",
    ),
    "Sampling": (
        "max_new_tokens", "temperature", "top_k", "top_p", "repetition_penalty", "num_beams", "length_penalty",
        "best_of", "batch_invariant", "sample_tokens", "sample_temperature", "num_generated",
        "generation_temperature", "served_model", "server_requests", "server_timeout", "server_retries",
        "server_logprobs", "rollout_server", "rollout_server_folder",
    ),
    "Memory and speed": (
        "max_length", "max_tokens_per_forward", "gradient_checkpointing", "compile_trunk", "precision",
        "weight_format", "processes", "parallel", "share_base_weights", "offload_reference",
        "prefix_sharing",
    ),
    "AI judge": (
        "judge_instructions", "constitution", "tie_margin", "max_requests", "max_tokens", "max_cost",
        "input_token_cost", "output_token_cost", "requests_per_minute", "key_variable",
    ),
    "Checkpoints": ("save_every", "keep_checkpoints"),
    "Evaluation and early stopping": (
        "held_out", "eval_every", "eval_prompts", "load_best_at_end", "patience", "max_kl", "min_entropy",
        "min_length", "zero_variance_patience", "labels", "predict", "ends",
    ),
    "Data rows": (
        "long_prompts", "long_responses", "unusable_rows", "unreadable_rows", "reward_train_overlap", "documents",
        "overlap", "chat_template", "pad_token",
    ),
}  # fmt: skip

VIRTUAL_TOKEN_METHODS = ("prefix", "prompt", "p_tuning", "p_tuning_v2")
ONLY_WITH: dict[str, tuple[str, tuple[str, ...]]] = {
    "last_layers": ("method", ("last_n",)),
    "lora_rank": ("method", ("lora", "qlora")),
    "adapter_width": ("method", ("adapter",)),
    "virtual_tokens": ("method", VIRTUAL_TOKEN_METHODS),
    "gae_lambda": ("algorithm", ("ppo",)),
    "vf_coef": ("algorithm", ("ppo",)),
    "value_clip_range": ("algorithm", ("ppo",)),
    "value_init": ("algorithm", ("ppo",)),
    "value_learning_rate": ("algorithm", ("ppo",)),
    "margin_scale": ("margin", ("row", "ranks", "ratings")),
    "missing_eos_penalty": ("missing_eos_mode", ("subtract", "replace")),
}
"""{setting: (another setting, its values)}: with other values of that one, the setting has no effect."""


def has_effect(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a setting has an effect among these values of its stage's settings."""
    other, accepted = ONLY_WITH.get(name, ("", ()))
    return other not in values or values[other] in accepted


def grouped(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """(subject, its settings among these) in the order of SUBJECTS; subjects without any are left out."""
    for subject, members in SUBJECTS.items():
        if found := [name for name in members if name in names]:
            yield subject, found
