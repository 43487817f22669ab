"""Answers to prompts: of the policy as it is now to those of a phase, and of any model drawn as these are."""

from collections.abc import Sequence
from typing import Any

import torch

from models_core.contract.stopping import StopSignal
from models_core.generation import generate
from models_core.modeling import adapters, chat
from models_core.rl.actor_critic import Networks
from models_core.rl.prompts import Practice
from models_core.rl.rewards.base import Answered
from models_core.training import distributed


def answers(
    networks: Networks, practice: Practice, rows: Sequence[int], *, seed: int, stop: StopSignal
) -> list[Answered]:
    """`group_size` answers of the policy to each of these prompts, those of a prompt one after the other.

    Raises Stopped.
    """
    asked = Practice(
        prompts=[practice.prompts[row] for row in rows], ids=[practice.ids[row] for row in rows], counts={}
    )
    with adapters.merged_for_sampling(networks.policy):
        return draw(
            networks.policy,
            asked,
            networks=networks,
            samples=networks.settings.group_size,
            value_head=networks.worth if networks.is_one_trunk else None,
            seed=seed,
            stop=stop,
        )


def draw(
    model: Any,
    practice: Practice,
    *,
    networks: Networks,
    seed: int,
    stop: StopSignal | None,
    samples: int = 1,
    value_head: generate.ValueHead | None = None,
) -> list[Answered]:
    """So many answers of a model to each prompt, drawn as the policy's are in training: from the model's distribution
    at the settings' temperature, of which nothing is cut off. `worth` gives them values. Raises Stopped.

    Each row draws with numbers of its own, so a phase that is begun again samples the same, however many processes
    share it.
    """
    settings = networks.settings
    own = distributed.rows_of_rank([len(ids) for ids in practice.ids])
    sampled = generate.sample(
        model,
        practice.ids,
        samples=samples,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        stop_ids=networks.stop_ids,
        seed=seed,
        batch_size=settings.batch_size,
        value_head=value_head,
        only=own,
        stop=None if stop is None or stop.waits_for_step else stop,  # of many processes none may leave a step alone
    )
    every = distributed.all_gather({row: sampled[row] for row in own})
    return [
        Answered(
            prompt=prompt,
            prompt_ids=ids,
            ids=answer.ids,
            text=chat.decode_response(networks.tokenizer, answer.ids),
            ended=answer.finish_reason == "stop",
            log_probs=answer.logprobs,
            values=answer.values,
        )
        for row, (prompt, ids) in enumerate(zip(practice.prompts, practice.ids, strict=True))
        for answer in every[row]
    ]


def ended(sampled: Sequence[Answered]) -> torch.Tensor:
    """Which answers ended by themselves: [B]."""
    return torch.tensor([answer.ended for answer in sampled])
