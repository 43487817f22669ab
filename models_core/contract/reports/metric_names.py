"""Names of all metrics that recipes and commands report and pages show, and what pages compute from them."""

import math

TRAINING = (
    "loss", "eval_loss", "gradient_norm", "best_step", "planned_steps", "steps", "seconds", "tokens_per_s",
    "parameters", "trained_parameters", "truncated", "truncated_prompts", "seconds_per_step",
)  # fmt: skip
"""Of every recipe, in steps and results."""
TEXT = (
    "documents", "held_out_documents", "tokens", "perplexity", "bits_per_byte",
)  # fmt: skip
"""Of language models on text."""
DEMONSTRATIONS = (
    "demonstrations", "fewer_examples", "no_template_fits", "merged_turns", "replay_loss", "ewc_penalty", "old_loss",
    "old_loss_before", "held_out_prompts_also_learned",
)  # fmt: skip
"""Of supervised fine-tuning."""
PREFERENCES = (
    "rankings", "rankings_per_s", "accuracy", "eval_accuracy", "eval_pairs", "eval_rankings", "lm_loss",
    "demonstration_rankings", "reward_margin", "reward_scale", "reward_shift", "too_long_responses",
)  # fmt: skip
"""Of reward models and DPO."""
DISTILLATION = ("teacher_kl", "eval_teacher_kl", "held_out_prompts")
"""Of a student."""
AI_FEEDBACK = (
    "rows", "judged", "judgments", "revisions", "revised_responses", "position_consistency", "requests", "retries",
    "input_tokens", "output_tokens", "estimated", "cost", "budget_spent",
)  # fmt: skip
"""Of AI feedback."""
REWARD_REPORT = (
    "accuracy_low", "accuracy_high", "tau_b", "top1", "ece", "labeler_agreement", "longer_wins_accuracy",
    "newest_accuracy", "subset_accuracy", "rewardbench_score", "ensemble_std", "ensemble_disagreement",
    "disagreement_auc",
)  # fmt: skip
"""Of a reward model's report."""
ROLLOUTS = (
    "score", "score_std", "conservative_score", "missing_scores", "baseline_score", "clipped_scores", "reward",
    "reward/score", "reward/length", "reward/format", "reward/missing_eos", "kl", "entropy", "length", "eos_rate",
    "episodes_per_s", "sampler_error", "sampler_bias", "sampler_bias_error", "sampler_value_error",
    "sampler_log_probs", "served_rollouts", "served_iterations", "rollout_staleness", "rollout_server_note",
    "importance_weight", "truncated_weights",
)  # fmt: skip
"""Of a rollout iteration's responses."""
UPDATES = (
    "policy_loss", "value_loss", "kl_loss", "ptx_loss", "clip_fraction", "value_clip_fraction", "approx_kl",
    "first_ratio_error", "value_explained_variance",
)  # fmt: skip
"""Of a rollout iteration's updates."""
EVALUATION = (
    "eval_score", "eval_score_start", "eval_reward", "eval_reward_start", "eval_kl", "eval_length", "eval_eos_rate",
)  # fmt: skip
"""Of a policy on held-out prompts."""
COMMANDS = (
    "prompts", "responses", "tasks", "ended", "win_rate", "trained_on", "exact_match", "pairs",
)  # fmt: skip
"""Of sampling, scoring and evaluation."""
MEASUREMENT = ("measured_steps", "measured_seconds", "peak_memory")
"""Of a measurement of a training's steps."""
REGISTRY = (
    "bytes", "files", "gguf_positions", "gguf_kl", "gguf_top1",
)  # fmt: skip
"""Of exports of a model."""
METRICS = frozenset(
    TRAINING
    + TEXT
    + DEMONSTRATIONS
    + PREFERENCES
    + DISTILLATION
    + AI_FEEDBACK
    + REWARD_REPORT
    + ROLLOUTS
    + UPDATES
    + EVALUATION
    + COMMANDS
    + MEASUREMENT
    + REGISTRY
)
"""Steps also report settings that change, under the settings' names: learning_rate and kl_coef."""
MEASURES = {"iterations": ("kl", "score"), "held_out": ("eval_kl", "eval_score")}
"""Names of the KL divergence and of the score in a run's metrics: of rollout iterations, and of held-out prompts."""


def root(kl: float) -> float:
    """The square root of a KL divergence in nats; an estimate from samples may be slightly below 0."""
    return math.sqrt(max(kl, 0.0))
