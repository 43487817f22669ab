"""Named groups of settings that a form or `--preset` begins with: those of a paper, and those that fit a machine.

InstructGPT: Ouyang et al. 2022 (2203.02155), appendix C. Supervised training for 16 epochs in batches of 32 at 9.65e-6
for the small models; reward model in batches of 64 prompts at 9e-6 for one epoch; PPO with 256,000 episodes, batches of
512, minibatches of 64, one inner epoch, KL coefficient 0.02, clipping at 0.2, no discount, EMA 0.992, and PPO-ptx with
the coefficient 27.8 and 8 pretraining sequences an episode. Its learning rate of PPO came from a scan; here it is that
of its value function, 9e-6. Batches of a preset for a machine stay those of the defaults, so that results agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from models_core.contract.errors import BadInput

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """title and help are messages of the catalogue; settings are {stage: {setting: value}}.

    help_of: {stage: help} where the one of all stages says what a stage doesn't do.
    """

    title: str
    help: str
    settings: Mapping[str, Values]
    help_of: Mapping[str, str] = field(default_factory=dict)


_LAPTOP = {"method": "lora", "max_length": 512, "max_tokens_per_forward": 1024, "gradient_checkpointing": True}
_ONE_GPU = {"max_tokens_per_forward": 16_384}
_FULL_ONE_GPU = {**_ONE_GPU, "method": "full"}
_GPUS = {**_ONE_GPU, "processes": 4, "parallel": "fsdp"}
_FULL_GPUS = {**_GPUS, "method": "full"}
_TRAINED_ON_ROWS = ("sft", "reward", "dpo")
_FEW_RESPONSES = "Few responses at once, and short prompts: fits 8 GB of memory with a small model."
_MANY_RESPONSES = "Many responses at once, and long ones, to keep a GPU busy."

PRESETS: dict[str, Preset] = {
    "instructgpt": Preset(
        title="InstructGPT",
        help="The published settings: long runs of full fine-tuning in large batches.",
        settings={
            "sft": {
                "method": "full", "epochs": 16, "batch_size": 32, "learning_rate": 9.65e-6, "warmup_ratio": 0.0,
                "max_length": 2048,
            },
            "reward": {"method": "full", "epochs": 1, "batch_size": 64, "learning_rate": 9e-6, "max_length": 2048},
            "ppo": {
                "method": "full", "episodes": 256_000, "batch_size": 512, "minibatches": 8, "ppo_epochs": 1,
                "learning_rate": 9e-6, "warmup_ratio": 0.02, "value_learning_rate": 9e-6, "value_init": "reward",
                "kl_coef": 0.02, "clip_range": 0.2, "gamma": 1.0, "gae_lambda": 0.95, "ema_decay": 0.992,
                "temperature": 1.0, "ptx_coef": 27.8, "ptx_ratio": 8.0, "max_length": 2048, "max_new_tokens": 1024,
            },
        },
    ),
    "quick_try": Preset(
        title="Quick try",
        help="Minutes on any machine: shows that the data and the stages work, not how good a model can become.",
        settings={
            "pretrain": {"size": "1m", "epochs": 1, "max_length": 128, "vocab_size": 1024},
            "sft": {"method": "lora", "epochs": 1, "max_length": 256},
            "reward": {"method": "lora", "epochs": 1, "max_length": 256},
            "dpo": {"method": "lora", "epochs": 1, "max_length": 256},
            "ppo": {
                "method": "lora", "episodes": 64, "batch_size": 16, "max_length": 256, "max_new_tokens": 32,
                "eval_prompts": 16,
            },
            "distil": {"method": "lora", "epochs": 1, "max_length": 256, "max_new_tokens": 32},
            "evaluate": {"max_new_tokens": 32, "max_length": 256, "batch_size": 16},
            "sample": {"max_new_tokens": 32, "max_length": 256, "batch_size": 16},
        },
    ),
    "laptop": Preset(
        title="Laptop",
        help="Trains a few percent of the weights and recomputes activations: fits 8 GB of memory with a small model.",
        settings={
            **dict.fromkeys(_TRAINED_ON_ROWS, _LAPTOP),
            "ppo": {**_LAPTOP, "batch_size": 32, "episodes": 512},
            "distil": {**_LAPTOP, "max_new_tokens": 128},
            "evaluate": {"batch_size": 16, "max_length": 512, "max_tokens_per_forward": 1024},
            "sample": {"batch_size": 16, "max_length": 512, "weight_format": "int8"},
        },
        help_of={
            "evaluate": _FEW_RESPONSES,
            "sample": "Weights in int8, few responses at once, and short prompts: fits 8 GB of memory.",
        },
    ),
    "one_gpu": Preset(
        title="One GPU",
        help="Full fine-tuning, and forward passes long enough to keep a GPU busy.",
        settings={
            "pretrain": {**_ONE_GPU, "size": "100m", "max_length": 1024, "batch_size": 64, "vocab_size": 16_384},
            **dict.fromkeys(_TRAINED_ON_ROWS, _FULL_ONE_GPU),
            "ppo": {**_ONE_GPU, "method": "full", "batch_size": 128, "minibatches": 4, "max_new_tokens": 256},
            "distil": {**_FULL_ONE_GPU, "max_new_tokens": 256},
            "evaluate": {"batch_size": 256, "max_new_tokens": 256, "max_tokens_per_forward": 32_768},
            "sample": {"batch_size": 256, "max_new_tokens": 512},
        },
        help_of={
            "pretrain": "A model of 100 million parameters, and forward passes long enough to keep a GPU busy.",
            "evaluate": _MANY_RESPONSES,
            "sample": _MANY_RESPONSES,
        },
    ),
    "several_gpus": Preset(
        title="Several GPUs",
        help="Four processes with a GPU each, the weights split among them (FSDP).",
        settings={
            "pretrain": {**_GPUS, "size": "100m", "max_length": 1024, "batch_size": 256, "vocab_size": 16_384},
            **dict.fromkeys(_TRAINED_ON_ROWS, _FULL_GPUS),
            "ppo": {**_FULL_GPUS, "batch_size": 512, "minibatches": 8, "max_new_tokens": 256},
            "distil": {**_FULL_GPUS, "objective": "responses", "max_new_tokens": 256},
        },
    ),
}  # fmt: skip


def for_stage(stage: str) -> dict[str, Preset]:
    """{name: preset} of those that have settings for a stage, each with the help that holds for it."""
    return {
        name: replace(preset, help=preset.help_of.get(stage, preset.help))
        for name, preset in PRESETS.items()
        if stage in preset.settings
    }


def of(name: str, stage: str) -> dict[str, Any]:
    """The settings of a preset for a stage. Raises BadInput that names the ones there are."""
    found = for_stage(stage)
    if name not in found:
        raise BadInput(f"There is no preset {name!r} for {stage}; there are {', '.join(found) or 'none'}.")
    return dict(found[name].settings[stage])
