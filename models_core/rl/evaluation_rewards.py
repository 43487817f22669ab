"""What a policy answers to the watched prompts, and what that is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models_core.contract.stopping import StopSignal
from models_core.modeling import adapters
from models_core.rl import rollouts, trajectories
from models_core.rl.actor_critic import Networks
from models_core.rl.prompts import Practice
from models_core.rl.rewards.base import Answered


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


def of_reference(
    answers: Sequence[Answered], seed: int, *, networks: Networks, stop: StopSignal | None
) -> list[Answered]:
    """One answer of the reference to the prompt of each of these answers."""
    practice = Practice(
        prompts=[answer.prompt for answer in answers], ids=[list(answer.prompt_ids) for answer in answers], counts={}
    )
    if networks.reference is not networks.policy:
        return rollouts.draw(networks.reference, practice, networks=networks, seed=seed, stop=stop)
    with adapters.adapter_off(networks.policy):
        return rollouts.draw(networks.policy, practice, networks=networks, seed=seed, stop=stop)


def of_policy(practice: Practice, *, networks: Networks, seed: int, stop: StopSignal | None) -> Answers:
    """What the policy as it is now answers, and how likely it and the reference find each answer."""
    with adapters.merged_for_sampling(networks.policy):
        answered = rollouts.draw(networks.policy, practice, networks=networks, seed=seed, stop=stop)
    rows = trajectories.measured(
        trajectories.bundled([answer.group for answer in answered], budget=networks.settings.max_tokens_per_forward),
        lambda packed: [networks.log_probs(packed), networks.reference_log_probs(packed)],
        networks=networks,
    )
    log_probs, reference_log_probs = (tokens.double().sum(1).cpu() for tokens in rows)
    return Answers(answered=answered, log_probs=log_probs, reference_log_probs=reference_log_probs)
