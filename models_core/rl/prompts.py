"""The prompts a policy learns on: which ones, as tokens, and in which order they come."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models_core.contract import processes, trained_prompts
from models_core.contract.errors import BadInput
from models_core.contract.records import Prompt
from models_core.contract.settings import PPOConfig
from models_core.modeling import chat, loading
from models_core.training.batching import epoch_order


@dataclass(frozen=True, kw_only=True)
class Practice:
    """Prompts with their tokens, and how many of those given were left out or cut, by reason."""

    prompts: list[Prompt]
    ids: list[list[int]]
    counts: dict[str, int]


def unseen(prompts: Sequence[Prompt], *, rewards: Sequence[str], settings: PPOConfig) -> tuple[list[Prompt], int]:
    """The prompts that no reward model was trained on, by their content, and how many it was trained on.

    With reward_train_overlap=keep those stay too. Raises BadInput where they are refused, and where no others are left.
    """
    known = frozenset[str]().union(*(trained_prompts.read(loading.locate(name)) for name in rewards))
    new = [prompt for prompt in prompts if trained_prompts.digest(prompt.messages) not in known]
    seen = len(prompts) - len(new)
    if seen and settings.reward_train_overlap == "refuse":
        raise BadInput(
            f"{seen} of {len(prompts)} prompts are among those the reward model was trained on; "
            "reward_train_overlap=skip leaves them out."
        )
    if seen and settings.reward_train_overlap == "keep":
        processes.log_main(
            f"{seen} of {len(prompts)} prompts are among those the reward model was trained on, and are kept."
        )
        return list(prompts), seen
    if not new:
        raise BadInput(
            f"All {len(prompts)} prompts are among those the reward model was trained on: give others, "
            "or take reward_train_overlap=keep."
        )
    if seen:
        processes.log_main(
            f"{seen} of {len(prompts)} prompts are among those the reward model was trained on, and are left out."
        )
    return new, seen


def measurable(prompts: Sequence[Prompt], *, rewards: Sequence[str], settings: PPOConfig) -> list[Prompt]:
    """The prompts of an evaluation file that no reward model was trained on; with reward_train_overlap=keep
    all of them.

    Raises BadInput where none is left.
    """
    if settings.reward_train_overlap == "keep":
        return list(prompts)
    known = frozenset[str]().union(*(trained_prompts.read(loading.locate(name)) for name in rewards))
    kept = trained_prompts.without(prompts, known)
    if not kept:
        raise BadInput(
            f"All {len(prompts)} prompts to measure on (--eval) are among those the reward model was trained on: give "
            "others, or take reward_train_overlap=keep."
        )
    if len(kept) < len(prompts):
        processes.log_main(
            f"{len(prompts) - len(kept)} of {len(prompts)} prompts to measure on are among those the reward model was "
            "trained on, and are left out."
        )
    return kept


def encoded(prompts: Sequence[Prompt], *, policy: Any, tokenizer: Any, settings: PPOConfig) -> Practice:
    """Every prompt as tokens, so that a whole response fits behind it. Raises BadInput."""
    room = min(settings.max_length, loading.context_length(policy)) - settings.max_new_tokens
    if room < 1:
        raise BadInput("max_new_tokens leaves no room for a prompt: it must be less than max_length.")
    made = [chat.fit_prompt(tokenizer, prompt.messages, max_tokens=room) for prompt in prompts]
    long = [number for number, prompt in enumerate(made) if prompt.is_cut]
    if long and settings.long_prompts == "refuse":
        raise BadInput(
            f"The prompt {prompts[long[0]].id!r} is longer than the {room} tokens that fit beside an answer."
        )
    kept = [number for number, prompt in enumerate(made) if settings.long_prompts == "cut" or not prompt.is_cut]
    if not kept:
        raise BadInput(
            f"All {len(prompts)} prompts are longer than the {room} tokens that fit beside an answer: raise "
            "max_length, lower max_new_tokens, or take long_prompts=cut."
        )
    if len(kept) < len(prompts):
        processes.log_main(f"{len(prompts) - len(kept)} of {len(prompts)} prompts are too long, and are left out.")
    return Practice(
        prompts=[prompts[number] for number in kept],
        ids=[made[number].ids for number in kept],
        counts={"too_long_prompts" if settings.long_prompts == "skip" else "truncated_prompts": len(long)},
    )


def phases(prompts: int, *, settings: PPOConfig) -> list[list[int]]:
    """Prompt numbers of every rollout phase: shuffled passes over the prompts until there are enough episodes.

    Each is answered `group_size` times. Raises BadInput where a phase cannot hold whole groups.
    """
    samples = settings.group_size
    if settings.batch_size % samples:
        raise BadInput(f"batch_size ({settings.batch_size}) must be a multiple of samples_per_prompt ({samples}).")
    if samples == 1 and settings.algorithm != "ppo":
        raise BadInput(
            f"algorithm={settings.algorithm} compares the answers to a prompt: samples_per_prompt must be 2 or more."
        )
    wanted, size = math.ceil(settings.episodes / samples), settings.batch_size // samples
    passes = range(math.ceil(wanted / prompts))
    endless = [row for epoch in passes for row in epoch_order(prompts, epoch=epoch, seed=settings.seed)]
    rows = endless[:wanted]
    return [rows[start : start + size] for start in range(0, len(rows), size)]
