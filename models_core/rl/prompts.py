"""The prompts of a PPO run: selection, train/evaluation split, tokens, and the order in which they are sampled."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models_core.contract.errors import BadInput
from models_core.contract.rows import trained_prompts
from models_core.contract.rows.prompt_identity import digest, hold_out, position
from models_core.contract.rows.records import Prompt
from models_core.contract.runs import processes
from models_core.contract.settings import PPOConfig
from models_core.modeling import chat, loading
from models_core.training.batching import epoch_order

MAX_SHOWN = 8
"""Training prompts that are also evaluated, for people to read, where no prompts can be held out."""


@dataclass(frozen=True, kw_only=True)
class EncodedPrompts:
    """Prompts and their token ids, and counts of the prompts that were skipped or truncated, by reason."""

    prompts: list[Prompt]
    ids: list[list[int]]
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class PromptSplit:
    """`is_held_out`: whether the evaluation prompts are disjoint from the training prompts."""

    training: list[Prompt]
    evaluation: list[Prompt]
    is_held_out: bool


def drop_trained(prompts: Sequence[Prompt], *, rewards: Sequence[str], settings: PPOConfig) -> tuple[list[Prompt], int]:
    """The prompts that no reward model was trained on, by content, and the number of the others.

    reward_train_overlap=keep keeps all. Raises BadInput for any overlap where it is refused, and where none is left.
    """
    known = _trained_digests(rewards)
    new = [prompt for prompt in prompts if not trained_prompts.contains(known, prompt.messages)]
    seen = len(prompts) - len(new)
    overlap = f"{seen} of {len(prompts)} prompts are among those the reward model was trained on"
    if seen and settings.reward_train_overlap == "refuse":
        raise BadInput(f"{overlap}; reward_train_overlap=skip skips them.")
    if seen and settings.reward_train_overlap == "keep":
        processes.log_main(f"{overlap}, and are kept.")
        return list(prompts), seen
    if not new:
        raise BadInput(
            f"All {len(prompts)} prompts are among those the reward model was trained on: give others, "
            "or take reward_train_overlap=keep."
        )
    if seen:
        processes.log_main(f"{overlap}, and are skipped.")
    return new, seen


def drop_trained_from_evaluation(
    prompts: Sequence[Prompt], *, rewards: Sequence[str], settings: PPOConfig
) -> list[Prompt]:
    """The prompts of an evaluation file that no reward model was trained on; all with reward_train_overlap=keep.

    Raises BadInput where none is left.
    """
    if settings.reward_train_overlap == "keep":
        return list(prompts)
    kept = trained_prompts.exclude(prompts, _trained_digests(rewards))
    if not kept:
        raise BadInput(
            f"All {len(prompts)} evaluation prompts (--eval) are among those the reward model was trained on: give "
            "others, or take reward_train_overlap=keep."
        )
    if len(kept) < len(prompts):
        processes.log_main(
            f"{len(prompts) - len(kept)} of {len(prompts)} evaluation prompts are among those the reward model was "
            "trained on, and are skipped."
        )
    return kept


def _trained_digests(rewards: Sequence[str]) -> frozenset[str]:
    return frozenset[str]().union(*(trained_prompts.read(loading.locate(name)) for name in rewards))


def split(prompts: Sequence[Prompt], *, settings: PPOConfig, evaluation: Sequence[Prompt] | None = None) -> PromptSplit:
    """Choose at most `eval_prompts` evaluation prompts: the first of an evaluation file, else a part of `prompts`.

    The choice depends on the prompts' content alone, so a later run on the same prompts holds out the same ones.
    Prompts of the evaluation file are removed from training. Raises BadInput where that leaves none.
    """
    if evaluation is not None:
        chosen_prompts = list(evaluation[: settings.eval_prompts])
        excluded = {digest(prompt.messages) for prompt in chosen_prompts}
        training = [prompt for prompt in prompts if digest(prompt.messages) not in excluded]
        if not training:
            raise BadInput("Every prompt is also in the evaluation file (--eval): none is left to train on.")
        return PromptSplit(training=training, evaluation=chosen_prompts, is_held_out=True)
    _, held_out = hold_out(list(prompts), fraction=settings.held_out)
    chosen = sorted({digest(prompt.messages) for prompt in held_out}, key=position)[: settings.eval_prompts]
    if not chosen:
        return PromptSplit(training=list(prompts), evaluation=list(prompts[:MAX_SHOWN]), is_held_out=False)
    first = {digest(prompt.messages): prompt for prompt in reversed(prompts)}
    excluded = set(chosen)
    training = [prompt for prompt in prompts if digest(prompt.messages) not in excluded]
    return PromptSplit(training=training, evaluation=[first[text] for text in chosen], is_held_out=True)


def encode(prompts: Sequence[Prompt], *, policy: Any, tokenizer: Any, settings: PPOConfig) -> EncodedPrompts:
    """Prompts as tokens that leave room for max_new_tokens. Raises BadInput."""
    room = min(settings.max_length, loading.context_length(policy)) - settings.max_new_tokens
    if room < 1:
        raise BadInput("max_new_tokens leaves no room for a prompt: it must be less than max_length.")
    fitted = [chat.fit_prompt(tokenizer, prompt.messages, max_tokens=room) for prompt in prompts]
    long = [number for number, prompt in enumerate(fitted) if prompt.is_cut]
    if long and settings.long_prompts == "refuse":
        raise BadInput(
            f"The prompt {prompts[long[0]].id!r} is longer than the {room} tokens that fit beside a response."
        )
    kept = [number for number, prompt in enumerate(fitted) if settings.long_prompts == "cut" or not prompt.is_cut]
    if not kept:
        raise BadInput(
            f"All {len(prompts)} prompts are longer than the {room} tokens that fit beside a response: raise "
            "max_length, lower max_new_tokens, or take long_prompts=cut."
        )
    if len(kept) < len(prompts):
        processes.log_main(f"{len(prompts) - len(kept)} of {len(prompts)} prompts are too long, and are skipped.")
    return EncodedPrompts(
        prompts=[prompts[number] for number in kept],
        ids=[fitted[number].ids for number in kept],
        counts={"too_long_prompts" if settings.long_prompts == "skip" else "truncated_prompts": len(long)},
    )


def rollout_batches(prompts: int, *, settings: PPOConfig) -> list[list[int]]:
    """Prompt numbers of every rollout iteration: shuffled epochs over the prompts, `episodes` rollouts in all.

    Each prompt is sampled `group_size` times. Raises BadInput where an iteration cannot hold whole groups.
    """
    group_size = settings.group_size
    if settings.batch_size % group_size:
        raise BadInput(f"batch_size ({settings.batch_size}) must be a multiple of samples_per_prompt ({group_size}).")
    if group_size == 1 and settings.algorithm != "ppo":
        raise BadInput(
            f"algorithm={settings.algorithm} compares the responses to a prompt: samples_per_prompt must be 2 or more."
        )
    total, size = math.ceil(settings.episodes / group_size), settings.batch_size // group_size
    epochs = range(math.ceil(total / prompts))
    rows = [row for epoch in epochs for row in epoch_order(prompts, epoch=epoch, seed=settings.seed)][:total]
    return [rows[start : start + size] for start in range(0, len(rows), size)]
