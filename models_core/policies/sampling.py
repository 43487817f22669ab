"""Answers of the policy as it is now to the prompts of a phase."""

from collections.abc import Sequence

import torch

from models_core import chat, distributed, methods, rollout
from models_core.packing import Group
from models_core.policies.networks import Networks
from models_core.policies.prompts import Practice
from models_core.reward_sources.source import Answered
from models_core.stopping import StopSignal


def answers(
    networks: Networks, practice: Practice, rows: Sequence[int], *, seed: int, stop: StopSignal
) -> list[Answered]:
    """`group_size` answers to each of these prompts, those of a prompt one after the other. Raises Stopped.

    Each row draws with numbers of its own, so a phase that is begun again samples the same, however many processes
    share it.
    """
    settings = networks.settings
    ids = [practice.ids[row] for row in rows]
    own = distributed.own_rows([len(prompt) for prompt in ids])
    with methods.merged_for_sampling(networks.policy):
        sampled = rollout.sample(
            networks.policy,
            ids,
            samples=settings.group_size,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            stop_ids=networks.stop_ids,
            seed=seed,
            batch_size=settings.batch_size,
            only=own,
            stop=None if stop.waits_for_step else stop,  # of many processes none may leave the others in a step
        )
    every = distributed.gathered({place: sampled[place] for place in own})
    return [
        Answered(
            prompt=practice.prompts[row],
            prompt_ids=ids[place],
            ids=answer.ids,
            text=chat.decode_response(networks.tokenizer, answer.ids),
            ended=answer.finish_reason == "stop",
        )
        for place, row in enumerate(rows)
        for answer in every[place]
    ]


def groups(sampled: Sequence[Answered]) -> list[Group]:
    """Answers as groups of one response."""
    return [Group(answer.prompt_ids, [answer.ids]) for answer in sampled]


def ended(sampled: Sequence[Answered]) -> torch.Tensor:
    """Which answers ended by themselves: [B]."""
    return torch.tensor([answer.ended for answer in sampled])
