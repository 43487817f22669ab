"""Settings of supervised fine-tuning."""

from dataclasses import dataclass
from typing import Any

from models_core.contract.settings import composite_values
from models_core.contract.settings.base import (
    MAX_TOKENS,
    chat_template_setting,
    epochs_setting,
    held_out_setting,
    long_prompts_setting,
    setting,
)
from models_core.contract.settings.training import TrainingSettings, peak_learning_rate


def loss_on_setting() -> Any:
    return setting(
        "last",
        "Tokens of the loss: the final response (last), or every assistant turn (all).",
        choices=("last", "all"),
    )


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainingSettings):
    """Supervised fine-tuning on demonstrations."""

    epochs: int = epochs_setting(2)
    batch_size: int = setting(16, "Demonstrations per step.", minimum=1, maximum=65_536)
    batch_tokens: int = setting(
        0,
        "Tokens per step, in place of batch_size demonstrations; 0 uses batch_size.",
        minimum=0,
        maximum=MAX_TOKENS,
    )
    learning_rate: float = peak_learning_rate(2e-5)
    loss_on: str = loss_on_setting()
    long_prompts: str = long_prompts_setting()
    lm_coef: float = setting(
        0.0, "Coefficient of an auxiliary language-model loss; 0 disables it.", minimum=0.0, maximum=100.0
    )
    lm_scope: str = setting(
        "row",
        "Tokens of the auxiliary loss: the whole demonstration (row), or its prompt (prompt).",
        choices=("row", "prompt"),
    )
    held_out: float = held_out_setting()
    data_weights: str = setting(
        "",
        "Passes over each data file per epoch, comma-separated in file order: 1,0.3 reads 30% of the second file.",
        parser=composite_values.data_weights,
    )
    replay_ratio: float = setting(
        0.25,
        "Experience replay: earlier demonstrations (--replay) per new demonstration in a step.",
        minimum=0.0,
        maximum=100.0,
    )
    ewc_lambda: float = setting(
        100.0,
        "Elastic weight consolidation coefficient (lambda), used with the old task's data (--ewc).",
        minimum=0.0,
        maximum=1e9,
    )
    ewc_samples: int = setting(
        64, "Demonstrations of the old task that estimate the Fisher information.", minimum=1, maximum=100_000
    )
    chat_template: str = chat_template_setting()
    pad_token: str = setting(
        "own",
        "Padding token of the saved tokenizer: its own, or the end-of-sequence token where it has none (eos).",
        choices=("own", "eos"),
    )
