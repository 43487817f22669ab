"""Settings of every stage: names, types, ranges, defaults and a help text each.

The command line's `--set key=value`, the web forms and `run.json` are made from these dataclasses, so a setting is
described once.
"""

from models_core.contract.settings.ai_feedback import JudgeConfig
from models_core.contract.settings.base import Settings
from models_core.contract.settings.distil import DistilConfig
from models_core.contract.settings.evaluate import EvaluateConfig, ScoreConfig
from models_core.contract.settings.generation import GenerationSettings, SampleConfig
from models_core.contract.settings.parsing import parse
from models_core.contract.settings.ppo import PPOConfig
from models_core.contract.settings.preferences import DPOConfig, PreferenceSettings, RewardConfig
from models_core.contract.settings.pretrain import PretrainConfig
from models_core.contract.settings.sft import SFTConfig
from models_core.contract.settings.training import LEARNING_RATE_FACTORS, METHODS, TrainingSettings

__all__ = [
    "LEARNING_RATE_FACTORS",
    "METHODS",
    "STAGES",
    "DPOConfig",
    "DistilConfig",
    "EvaluateConfig",
    "GenerationSettings",
    "JudgeConfig",
    "PPOConfig",
    "PreferenceSettings",
    "PretrainConfig",
    "RewardConfig",
    "SFTConfig",
    "SampleConfig",
    "ScoreConfig",
    "Settings",
    "TrainingSettings",
    "parse",
    "settings_of",
]

STAGES: dict[str, type[Settings]] = {
    "pretrain": PretrainConfig,
    "sft": SFTConfig,
    "reward": RewardConfig,
    "ppo": PPOConfig,
    "dpo": DPOConfig,
    "distil": DistilConfig,
    "sample": SampleConfig,
    "score": ScoreConfig,
    "evaluate": EvaluateConfig,
    "judge": JudgeConfig,
}

OF_OTHER_COMMANDS: dict[str, type[Settings]] = {"benchmark": EvaluateConfig}
"""The settings of the product's stages that run the command of another one."""


def settings_of(stage: str) -> type[Settings]:
    """The settings of a stage; the common ones of a stage that takes none of its own, such as an import."""
    return STAGES.get(stage) or OF_OTHER_COMMANDS.get(stage, Settings)
