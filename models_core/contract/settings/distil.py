"""Settings of distillation."""

from dataclasses import dataclass

from models_core.contract.settings.base import (
    chat_template_setting,
    epochs_setting,
    held_out_setting,
    long_prompts_setting,
    max_new_tokens_setting,
    setting,
)
from models_core.contract.settings.training import TrainingSettings, peak_learning_rate


@dataclass(frozen=True, kw_only=True)
class DistilConfig(TrainingSettings):
    """Distillation: a student that learns from a teacher."""

    objective: str = setting(
        "responses",
        "What the student learns: the teacher's responses (responses), or its distribution of each token (logits), "
        "which needs the same vocabulary.",
        choices=("responses", "logits"),
    )
    response_source: str = setting(
        "teacher",
        "Responses of the loss: sampled from the teacher (teacher), or read from the data file (data).",
        choices=("teacher", "data"),
        on_pages=False,
    )
    distil_temperature: float = setting(
        1.0, "Objective logits: temperature of both distributions.", minimum=0.05, maximum=100.0
    )
    sft_coef: float = setting(
        0.0,
        "Objective logits: coefficient of the next-token loss on the responses, added to the divergence.",
        minimum=0.0,
        maximum=100.0,
    )
    sample_temperature: float = setting(
        1.0, "Sampling temperature of the teacher's responses; 0 selects greedy decoding.", minimum=0.0, maximum=100.0
    )
    max_new_tokens: int = max_new_tokens_setting(256)
    epochs: int = epochs_setting(2)
    batch_size: int = setting(16, "Responses per step.", minimum=1, maximum=65_536)
    learning_rate: float = peak_learning_rate(2e-5)
    long_prompts: str = long_prompts_setting()
    held_out: float = held_out_setting()
    chat_template: str = chat_template_setting()
