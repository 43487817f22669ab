"""Settings of measurements: scoring responses and evaluating models."""

from dataclasses import dataclass

from models_core.contract.settings.base import (
    Settings,
    chat_template_setting,
    documents_setting,
    max_new_tokens_setting,
    max_tokens_per_forward_setting,
    setting,
    unreadable_rows_setting,
)
from models_core.contract.settings.generation import GenerationSettings
from models_core.contract.settings.sft import loss_on_setting


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(Settings):
    """Scoring responses with a reward model."""

    max_tokens_per_forward: int = max_tokens_per_forward_setting(8192)
    batch_size: int = setting(64, "Rows read, scored and written together.", minimum=1, maximum=65_536)
    long_responses: str = setting(
        "refuse",
        "Responses too long for max_length: end with an error (refuse), or write null for the score (null).",
        choices=("refuse", "null"),
    )
    unreadable_rows: str = unreadable_rows_setting()
    chat_template: str = chat_template_setting()


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(GenerationSettings):
    """Perplexity, labels and generated responses, reward accuracy, or the win rate between two models."""

    max_new_tokens: int = max_new_tokens_setting(64)
    max_tokens_per_forward: int = max_tokens_per_forward_setting(8192)
    documents: str = documents_setting()
    loss_on: str = loss_on_setting()
    ends: bool = setting(True, "Include the end-of-document token in the perplexity of text.")
    labels: str = setting("", "Comma-separated class labels; empty uses the labels that occur in the rows.")
    predict: str = setting(
        "score",
        "Label prediction: the label with the most likely response (score), or the one that a generated response "
        "names (generate).",
        choices=("score", "generate"),
    )
    num_generated: int = setting(
        100,
        "Number of demonstrations to generate a response for and compare with the reference; 0 disables it.",
        minimum=0,
        maximum=1_000_000,
    )
    generation_temperature: float = setting(
        0.0, "Sampling temperature of the compared responses; 0 selects greedy decoding.", minimum=0.0, maximum=100.0
    )
