"""Rollouts: completions of the policy and of the reference model, sampled from their whole distribution."""

from collections.abc import Sequence
from typing import Any

import torch

from models_core.contract.runs.stopping import StopSignal
from models_core.generation import generate
from models_core.modeling import adapters, chat
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.prompts import EncodedPrompts
from models_core.rl.rewards.base import Completion
from models_core.training import distributed, fsdp


def sample_rollouts(
    actor_critic: ActorCritic, prompts: EncodedPrompts, rows: Sequence[int], *, seed: int, stop: StopSignal
) -> list[Completion]:
    """`group_size` completions of the policy for each of these prompts, those of a prompt adjacent.

    Raises Stopped.
    """
    chosen = EncodedPrompts(
        prompts=[prompts.prompts[row] for row in rows], ids=[prompts.ids[row] for row in rows], counts={}
    )
    with fsdp.gathered(actor_critic.policy), adapters.merged_for_sampling(actor_critic.policy):
        return generate_completions(
            actor_critic.policy,
            chosen,
            actor_critic=actor_critic,
            group_size=actor_critic.settings.group_size,
            value_head=actor_critic.state_values if actor_critic.shares_trunk else None,
            seed=seed,
            stop=stop,
        )


def sample_policy(
    actor_critic: ActorCritic, prompts: EncodedPrompts, *, seed: int, stop: StopSignal | None
) -> list[Completion]:
    """One completion of the policy for each prompt."""
    with fsdp.gathered(actor_critic.policy), adapters.merged_for_sampling(actor_critic.policy):
        return generate_completions(actor_critic.policy, prompts, actor_critic=actor_critic, seed=seed, stop=stop)


def sample_reference(
    completions: Sequence[Completion], seed: int, *, actor_critic: ActorCritic, stop: StopSignal | None
) -> list[Completion]:
    """One completion of the reference model for the prompt of each of these completions."""
    prompts = EncodedPrompts(
        prompts=[item.prompt for item in completions], ids=[list(item.prompt_ids) for item in completions], counts={}
    )
    if actor_critic.reference is not actor_critic.policy:
        with fsdp.gathered(actor_critic.reference), actor_critic.reference_on_device():
            return generate_completions(
                actor_critic.reference, prompts, actor_critic=actor_critic, seed=seed, stop=stop
            )
    with fsdp.gathered(actor_critic.policy), adapters.adapter_off(actor_critic.policy):
        return generate_completions(actor_critic.policy, prompts, actor_critic=actor_critic, seed=seed, stop=stop)


def generate_completions(
    model: Any,
    prompts: EncodedPrompts,
    *,
    actor_critic: ActorCritic,
    seed: int,
    stop: StopSignal | None,
    group_size: int = 1,
    value_head: generate.ValueHead | None = None,
) -> list[Completion]:
    """`group_size` completions of a model for each prompt at the settings' temperature, without top-k or top-p.

    `value_head` gives them values. Each row has random numbers of its own, so an iteration that is started again
    samples the same, whatever the number of processes. Raises Stopped.
    """
    settings = actor_critic.settings
    own = distributed.rows_of_rank([len(ids) for ids in prompts.ids])
    sampled = generate.sample(
        model,
        prompts.ids,
        samples=group_size,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        stop_ids=actor_critic.stop_ids,
        seed=seed,
        batch_size=settings.batch_size,
        value_head=value_head,
        only=own,
        stop=None if stop is None or stop.waits_for_step else stop,  # one process of many must not leave a step alone
    )
    gathered = distributed.all_gather({row: sampled[row] for row in own})
    return [
        Completion(
            prompt=prompt,
            prompt_ids=ids,
            ids=sample.ids,
            text=chat.decode_response(actor_critic.tokenizer, sample.ids),
            ended=sample.finish_reason == "stop",
            log_probs=sample.logprobs,
            values=sample.values,
        )
        for row, (prompt, ids) in enumerate(zip(prompts.prompts, prompts.ids, strict=True))
        for sample in gathered[row]
    ]


def ended_by_eos(completions: Sequence[Completion]) -> torch.Tensor:
    """Whether each completion ended by a stop token, and not at max_new_tokens: (batch,)."""
    return torch.tensor([item.ended for item in completions])
