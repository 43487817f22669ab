"""Responses to score, as PPO's loop gives them to a reward source."""

from models_core.contract.rows.records import Prompt
from models_core.contract.settings import PPOConfig, parse
from models_core.rl.rewards.base import Completion


def completion(text, *, ids=None, ended=True, prompt="say it", number=0, **extra):
    row = Prompt(id=str(number), messages=({"role": "user", "content": prompt},), extra=extra)
    tokens = ids if ids is not None else [ord(letter) for letter in text]
    return Completion(prompt=row, prompt_ids=(1, 2), ids=tokens, text=text, ended=ended)


def settings(**values):
    return parse(PPOConfig, {"missing_eos_mode": "none", **values})
