"""Sizes and settings of the demo. docs/experiments.md describes how they were found."""

from dataclasses import dataclass, field
from typing import Any

SAMPLING = {"max_new_tokens": 48, "temperature": 0.7}
"""At temperature 1 the small model, whose weights come quantised to four bits, rambles. PPO learns at the same one."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Prompts used at most, how many of them are held out, how many are judged a round, and the stages' settings."""

    prompts: int
    held_out: int
    prompts_per_round: int
    sampling: dict[str, Any] = field(default_factory=lambda: dict(SAMPLING))
    reward: dict[str, Any] = field(default_factory=dict)
    ppo: dict[str, Any] = field(default_factory=dict)


REWARD = {
    # The taste is a matter of words, which the lower layers see: six of thirty learn it best, and five times as fast.
    "trunk_layers": 6,
    # Measured with the six layers only; on all thirty a smaller head changed nothing.
    "head_init": "random",
    "head_scale": 0.1,
    "learning_rate": 2e-4,
    "batch_size": 8,
    "epochs": 2,
}

PPO = SAMPLING | {
    "batch_size": 32,
    "minibatches": 4,
    "learning_rate": 5e-4,
    "kl_coef": 0.03,
    # Few responses end within the limit: a penalty for that would teach brevity before positivity.
    "missing_eos_mode": "none",
    # A value model trained on a few hundred responses is noisier than the returns.
    "gae_lambda": 1.0,
}

FULL = Recipe(prompts=332, held_out=120, prompts_per_round=106, reward=REWARD, ppo=PPO | {"episodes": 320})
SHORT = {"max_new_tokens": 32}
QUICK = Recipe(
    prompts=90,
    held_out=30,
    prompts_per_round=20,
    sampling=SAMPLING | SHORT,
    reward=REWARD,
    ppo=PPO | SHORT | {"episodes": 32, "batch_size": 16},
)
