"""The prompts that a policy is watched on, the same at every measurement."""

from collections.abc import Sequence
from dataclasses import dataclass

from models_core.contract.errors import BadInput
from models_core.contract.prompt_identity import content, place, split_by_prompt
from models_core.contract.records import Prompt
from models_core.contract.settings import PPOConfig

SHOWN = 8
"""Prompts that are answered for people to read where none can be held out."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """`training` are the prompts to learn from; `watched` are answered at each measurement.

    `is_held_out`: whether the watched ones are not among those learned from, so that what they score says something.
    """

    training: list[Prompt]
    watched: list[Prompt]
    is_held_out: bool


def split(prompts: Sequence[Prompt], *, settings: PPOConfig, evaluation: Sequence[Prompt] | None = None) -> Watched:
    """Choose the prompts to watch: of an evaluation file the first ones, else a part of those given.

    Which part is decided by what they say alone, so a run that goes on from another holds out the same ones; those that
    `eval_prompts` has no room for are learned from. A prompt that is both in the file and among those to learn from is
    not learned from. Raises BadInput where that leaves none.
    """
    if evaluation is not None:
        watched = list(evaluation[: settings.eval_prompts])
        asked = {content(prompt.messages) for prompt in watched}
        training = [prompt for prompt in prompts if content(prompt.messages) not in asked]
        if not training:
            raise BadInput("Every prompt is also in the evaluation file (--eval): none is left to learn from.")
        return Watched(training=training, watched=watched, is_held_out=True)
    _, held_out = split_by_prompt(list(prompts), part=settings.held_out)
    chosen = sorted({content(prompt.messages) for prompt in held_out}, key=place)[: settings.eval_prompts]
    if not chosen:
        return Watched(training=list(prompts), watched=list(prompts[:SHOWN]), is_held_out=False)
    first = {content(prompt.messages): prompt for prompt in reversed(prompts)}
    kept = set(chosen)
    training = [prompt for prompt in prompts if content(prompt.messages) not in kept]
    return Watched(training=training, watched=[first[words] for words in chosen], is_held_out=True)
