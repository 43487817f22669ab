"""Settings of the stages that learn from judgments: reward models and DPO."""

from dataclasses import dataclass

from models_core.contract.settings import composite_values
from models_core.contract.settings.base import (
    chat_template_setting,
    epochs_setting,
    held_out_setting,
    long_prompts_setting,
    setting,
    unreadable_rows_setting,
)
from models_core.contract.settings.training import TrainingSettings, offload_reference_setting, peak_learning_rate


@dataclass(frozen=True, kw_only=True)
class PreferenceSettings(TrainingSettings):
    """Settings of every stage that learns from judgments."""

    epochs: int = epochs_setting(1)
    batch_size: int = setting(4, "Rankings per step.", minimum=1, maximum=65_536)
    long_prompts: str = long_prompts_setting()
    ties: str = setting(
        "skip",
        "Tied responses: no loss (skip), or cross-entropy with the target 1/2 (soft).",
        choices=("skip", "soft"),
    )
    margin: str = setting(
        "none",
        "Margin of the loss: none, the row's own (row), or the difference of ranks or ratings.",
        choices=("none", "row", "ranks", "ratings"),
    )
    margin_scale: float = setting(1.0, "Factor of the margin.", minimum=0.0, maximum=100.0)
    duplicate_judgments: str = setting(
        "each",
        "Several judgments of the same responses: full weight each (each), one shared weight (share), or a majority "
        "vote (majority).",
        choices=("each", "share", "majority"),
    )
    labeler_weights: str = setting(
        "", "Weights of labelers' judgments as comma-separated NAME=WEIGHT; the default weight is 1.",
        parser=composite_values.labeler_weights,
    )  # fmt: skip
    ai_weight: float = setting(
        1.0, "Weight of judgments made by a model or classifier; 0 skips them.", minimum=0.0, maximum=100.0
    )
    deduplicate: bool = setting(True, "Count identical judgments of the same responses by the same judge once.")
    contradictions: str = setting(
        "keep",
        "Pairs that one judge ordered both ways: train on both (keep), skip them (skip), or end with an error "
        "(refuse).",
        choices=("keep", "skip", "refuse"),
    )
    unusable_rows: str = setting(
        "skip",
        "Rankings without an ordered pair of different responses: skip and count them (skip), or end with an error "
        "(refuse).",
        choices=("skip", "refuse"),
    )
    unreadable_rows: str = unreadable_rows_setting()
    long_responses: str = setting(
        "skip",
        "Responses too long for max_length: treat as not ranked (skip), or end with an error (refuse).",
        choices=("skip", "refuse"),
    )
    demonstration_pairs: float = setting(
        0.0,
        "Weight of rankings of a demonstration (--demonstrations) above samples (--samples) of its prompt; 0 adds "
        "none.",
        minimum=0.0,
        maximum=100.0,
    )
    prefix_sharing: str = setting(
        "auto",
        "Compute a prompt once for all its responses: where it saves work (auto), always, or never; the scores are "
        "the same.",
        choices=("auto", "always", "never"),
    )
    chat_template: str = chat_template_setting()
    held_out: float = held_out_setting()


@dataclass(frozen=True, kw_only=True)
class RewardConfig(PreferenceSettings):
    """Reward model trained on rankings."""

    learning_rate: float = peak_learning_rate(6e-5)
    trunk_layers: int = setting(
        0,
        "Number of first layers kept from the base model; 0 keeps all. Fewer are faster and favour surface features.",
        minimum=0,
        maximum=1000,
    )
    head_init: str = setting(
        "random",
        "Initialisation of a new head: random, or fitted by logistic regression on the base model's features.",
        choices=("random", "fitted"),
    )
    head_scale: float = setting(
        1.0,
        "Scale of a new head's random weights; 1 is a standard deviation of 1/sqrt(width + 1).",
        minimum=0.0,
        maximum=100.0,
    )
    ensemble: int = setting(1, "Number of heads on the shared trunk; the score is their mean.", minimum=1, maximum=64)
    bootstrap: bool = setting(
        True, "Train each head of an ensemble on a bootstrap sample of the prompts instead of all of them."
    )


@dataclass(frozen=True, kw_only=True)
class DPOConfig(PreferenceSettings):
    """Direct preference optimisation: a policy trained on rankings, without a reward model or sampling."""

    learning_rate: float = peak_learning_rate(5e-6)
    beta: float = setting(
        0.1,
        "Strength of the KL constraint (beta) to the reference policy; larger values keep the policy closer.",
        minimum=1e-6,
        maximum=100.0,
    )
    offload_reference: bool = offload_reference_setting()
