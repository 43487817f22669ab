"""What a policy answers to the watched prompts, and what that is worth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models_core import chat, distributed, methods, rollout
from models_core.batching import micro_batches
from models_core.config import PPOConfig
from models_core.packing import Group, Packed, pack
from models_core.policies.networks import Networks
from models_core.policies.prompts import Practice
from models_core.reward_sources.source import Answered
from models_core.stopping import StopSignal


@dataclass(frozen=True, kw_only=True)
class Answers:
    """One answer to each of B prompts. The sums are over an answer's tokens, in nats: [B], fp64."""

    answered: list[Answered]
    log_probs: torch.Tensor
    reference_log_probs: torch.Tensor

    @property
    def kl(self) -> torch.Tensor:
        """What each answer says of the divergence from the reference; its mean is unbiased: [B]."""
        return self.log_probs - self.reference_log_probs


def draw(model: Any, practice: Practice, *, networks: Networks, seed: int, stop: StopSignal | None) -> list[Answered]:
    """One answer of a model to each prompt, drawn as in training. Processes share the work. Raises Stopped."""
    settings = networks.settings
    own = distributed.own_rows([len(ids) for ids in practice.ids])
    sampled = rollout.sample(
        model,
        practice.ids,
        samples=1,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        stop_ids=networks.stop_ids,
        seed=seed,
        batch_size=settings.batch_size,
        only=own,
        stop=None if stop is None or stop.waits_for_step else stop,
    )
    every = distributed.gathered({row: sampled[row][0] for row in own})
    return [
        Answered(
            prompt=prompt,
            prompt_ids=ids,
            ids=every[row].ids,
            text=chat.decode_response(networks.tokenizer, every[row].ids),
            ended=every[row].finish_reason == "stop",
        )
        for row, (prompt, ids) in enumerate(zip(practice.prompts, practice.ids, strict=True))
    ]


def of_reference(
    answers: Sequence[Answered], seed: int, *, networks: Networks, stop: StopSignal | None
) -> list[Answered]:
    """One answer of the reference to the prompt of each of these answers."""
    practice = Practice(
        prompts=[answer.prompt for answer in answers], ids=[list(answer.prompt_ids) for answer in answers], counts={}
    )
    if networks.reference is not networks.policy:
        return draw(networks.reference, practice, networks=networks, seed=seed, stop=stop)
    with methods.adapter_off(networks.policy):
        return draw(networks.policy, practice, networks=networks, seed=seed, stop=stop)


@torch.no_grad()
def of_policy(practice: Practice, *, networks: Networks, seed: int, stop: StopSignal | None) -> Answers:
    """What the policy as it is now answers, and how likely it and the reference find each answer."""
    with methods.merged_for_sampling(networks.policy):
        answered = draw(networks.policy, practice, networks=networks, seed=seed, stop=stop)
    groups = [Group(item.prompt_ids, [item.ids]) for item in answered]
    how: Any = {"settings": networks.settings, "device": networks.device}
    return Answers(
        answered=answered,
        log_probs=_sums(groups, networks.log_probs, **how),
        reference_log_probs=_sums(groups, networks.reference_log_probs, **how),
    )


def _sums(
    groups: Sequence[Group],
    log_probs: Callable[[Packed], torch.Tensor],
    *,
    settings: PPOConfig,
    device: torch.device,
) -> torch.Tensor:
    """Each response's summed log-probability, [B] in fp64 on the CPU. Processes share the work."""
    own = distributed.own_rows([group.tokens for group in groups])
    sums: dict[int, float] = {}
    for batch in micro_batches([groups[row].tokens for row in own], budget=settings.micro_batch_tokens):
        rows = [own[place] for place in batch]
        packed = pack([groups[row] for row in rows], device=device)
        for row, found in zip(rows, log_probs(packed).split(packed.response_sizes), strict=True):
            sums[row] = found.double().sum().item()
    every = distributed.gathered(sums)
    return torch.tensor([every[row] for row in range(len(groups))], dtype=torch.float64)
