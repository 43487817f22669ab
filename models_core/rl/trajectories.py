"""Trajectories of one rollout iteration: sampled responses with their log-probabilities, values and advantages."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from models_core.contract.settings import PPOConfig
from models_core.modeling.devices import to_device
from models_core.modeling.forward import FEWEST
from models_core.modeling.ops import explained_variance, length_mask, masked_mean, whiten
from models_core.modeling.packing import Group, Packed, pack, sharing_for
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.advantages import gae, grpo_advantages, kl_penalised_rewards, rloo_advantages
from models_core.rl.rollout_server.importance import importance_weights
from models_core.training import distributed, fsdp, gradient_cache
from models_core.training.batching import micro_batches

PerToken = Tensor
"""(batch, tokens): one row a trajectory, one column a response token, 0 past the end of a response."""


class RolloutLogprobs(NamedTuple):
    """Log-probabilities noted while sampling, and the values of a head on the policy's trunk, else zeros."""

    log_probs: PerToken
    values: PerToken


@dataclass(frozen=True)
class PromptGroup:
    """A prompt with responses that share one computation of it. `rows`: their numbers among the trajectories."""

    group: Group
    rows: range
    sharing: str = "auto"

    @property
    def cost(self) -> int:
        """Tokens of its forward pass."""
        return self.group.cost(self.sharing)


@dataclass(frozen=True)
class Trajectories:
    """A batch of trajectories of at most T tokens. All quantities belong to the policy before the iteration's updates.

    That is the one that sampled them, unless there are `importance_weights`.
    """

    prompt_groups: Sequence[PromptGroup]
    mask: Tensor  # (batch, tokens)
    log_probs: PerToken
    reference_log_probs: PerToken
    values: PerToken
    advantages: PerToken
    returns: PerToken
    metrics: dict[str, float]
    importance_weights: PerToken | None = None  # of rollouts that another policy sampled

    @cached_property
    def lengths(self) -> list[int]:
        """Response tokens of every trajectory."""
        return [len(response) for item in self.prompt_groups for response in item.group.responses]

    def places(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The rows and columns of these trajectories' tokens, in the order of `pack`: (M,) each.

        `quantity[places]` is a quantity without padding, (batch, tokens) -> (M,). Made of lengths that the host knows:
        to choose by the mask, a GPU would have to be waited for.
        """
        counts = [self.lengths[row] for row in rows]
        row_numbers = torch.tensor(rows).repeat_interleave(torch.tensor(counts), output_size=sum(counts))
        columns = torch.cat([torch.arange(count) for count in counts])
        return to_device(row_numbers, self.mask.device), to_device(columns, self.mask.device)


def group_by_prompt(groups: Sequence[Group], *, budget: int, sharing: str = "auto") -> list[PromptGroup]:
    """Groups of one response each, joined where neighbours have the same prompt, at most `budget` tokens each."""
    prompt_groups: list[PromptGroup] = []
    start = 0
    for prompt, members in itertools.groupby(groups, key=lambda group: list(group.prompt)):
        responses = [member.responses[0] for member in members]
        for piece in gradient_cache.cut(Group(prompt, responses), budget=budget, sharing=sharing):
            prompt_groups.append(PromptGroup(piece, range(start, start + len(piece.responses)), sharing))
            start += len(piece.responses)
    return prompt_groups


def compute_advantages(
    groups: Sequence[Group],
    scores: Tensor,
    ended: Tensor,
    *,
    actor_critic: ActorCritic,
    kl_coef: float,
    group_size: int = 1,
    reused: RolloutLogprobs | None = None,
    behaviour: PerToken | None = None,
) -> Trajectories:
    """Trajectories from sampled responses; scores: (batch,), ended (by EOS): (batch,).

    `groups` hold one response each, the `group_size` responses to a prompt adjacent. `reused` replaces the policy's
    forward pass; `behaviour` are log-probabilities of another policy, which sampled the responses: (batch, tokens).
    Processes share the work, and each has the whole result.
    """
    settings = actor_critic.settings
    sharing = sharing_for(actor_critic.policy, "auto")
    prompt_groups = group_by_prompt(groups, budget=settings.max_tokens_per_forward, sharing=sharing)
    log_probs, values, reference_log_probs = _log_probs_and_values(prompt_groups, reused, actor_critic=actor_critic)
    sizes = [len(group.responses[0]) for group in groups]
    lengths = to_device(sizes, log_probs.device)
    mask = length_mask(lengths, max(sizes))
    scores = scores.to(log_probs)
    kl = (log_probs - reference_log_probs).masked_fill(~mask, 0.0).sum(1)
    metrics = {
        "reward": scores.mean() - kl_coef * kl.mean(),
        "kl": kl.mean(),
        "entropy": -masked_mean(log_probs, mask),  # of the sampled tokens: an unbiased estimate
        "length": lengths.float().mean(),
        "eos_rate": ended.float().mean(),
    }
    if settings.algorithm == "ppo":
        advantages, returns = _whitened_gae(
            scores, log_probs, reference_log_probs, values, mask, settings=settings, kl_coef=kl_coef
        )
        metrics["value_explained_variance"] = explained_variance(values, returns, mask)
    else:
        # GRPO has its KL as a term of the loss, RLOO in the reward of the whole response.
        if settings.algorithm == "grpo":
            sequence_advantages = grpo_advantages(scores, group_size)
        else:
            sequence_advantages = rloo_advantages(scores - kl_coef * kl, group_size)
        advantages, returns = sequence_advantages[:, None] * mask, torch.zeros_like(log_probs)
    importance = None
    if behaviour is not None:
        importance = importance_weights(log_probs, behaviour, mask, cap=settings.importance_weight_cap)
        metrics |= {"importance_weight": importance.mean, "truncated_weights": importance.truncated}
    return Trajectories(
        prompt_groups=prompt_groups,
        mask=mask,
        log_probs=log_probs,
        reference_log_probs=reference_log_probs,
        values=values,
        advantages=advantages,
        returns=returns,
        metrics=dict(zip(metrics, torch.stack([value.double() for value in metrics.values()]).tolist(), strict=True)),
        importance_weights=None if importance is None else importance.weights,
    )


def _log_probs_and_values(
    prompt_groups: Sequence[PromptGroup], reused: RolloutLogprobs | None, *, actor_critic: ActorCritic
) -> tuple[PerToken, PerToken, PerToken]:
    """Log-probabilities and values of every token, and the reference's log-probabilities."""
    if reused is None:
        log_probs, values, reference = per_token(
            prompt_groups,
            lambda packed: [*actor_critic.log_probs_and_values(packed), actor_critic.reference_log_probs(packed)],
            actor_critic=actor_critic,
        )
        return log_probs, values, reference
    if actor_critic.value is None or actor_critic.shares_trunk:
        (reference,) = per_token(
            prompt_groups, lambda packed: [actor_critic.reference_log_probs(packed)], actor_critic=actor_critic
        )
        return reused.log_probs.to(reference), reused.values.to(reference), reference
    values, reference = per_token(
        prompt_groups,
        lambda packed: [actor_critic.values(packed), actor_critic.reference_log_probs(packed)],
        actor_critic=actor_critic,
    )
    return reused.log_probs.to(reference), values, reference


def pad_rows(rows: Sequence[Sequence[float]], *, device: torch.device) -> PerToken:
    """One number a response token of every trajectory as a padded tensor, fp64: (batch, tokens)."""
    columns = [torch.tensor(row, dtype=torch.float64) for row in rows]
    return to_device(torch.nn.utils.rnn.pad_sequence(columns, batch_first=True), device)


def _whitened_gae(
    scores: Tensor,
    log_probs: PerToken,
    reference: PerToken,
    values: PerToken,
    mask: Tensor,
    *,
    settings: PPOConfig,
    kl_coef: float,
) -> tuple[PerToken, PerToken]:
    """Whitened advantages, and returns: (batch, tokens) each."""
    rewards = kl_penalised_rewards(
        scores=scores, log_probs=log_probs, reference_log_probs=reference, mask=mask, kl_coef=kl_coef
    )
    if settings.whiten_rewards:
        rewards = whiten(rewards, mask, keep_mean=True)
    advantages, returns = gae(rewards, values, mask, gamma=settings.gamma, gae_lambda=settings.gae_lambda)
    return whiten(advantages, mask), returns


@torch.no_grad()
def per_token(
    prompt_groups: Sequence[PromptGroup],
    compute: Callable[[Packed], Sequence[Tensor]],
    *,
    actor_critic: ActorCritic,
) -> tuple[PerToken, ...]:
    """Quantities of every response token, computed in micro-batches, as rows in the order of the trajectories.

    `compute`: packed tokens -> one (M,) a quantity. Each result: (batch, tokens), 0 past the end of a response.
    """
    own = distributed.rows_of_rank([item.cost for item in prompt_groups])
    rows: list[int] = []
    sizes: list[int] = []
    parts: list[Tensor] = []  # of a micro-batch: (quantities, M)
    budget = actor_critic.settings.max_tokens_per_forward
    batches = micro_batches([prompt_groups[row].cost for row in own], budget=budget)
    with actor_critic.reference_on_device():
        for batch in batches:
            members = [prompt_groups[own[position]] for position in batch]
            packed = pack([member.group for member in members], device=actor_critic.device)
            parts.append(torch.stack(list(compute(packed))))
            sizes += packed.response_sizes
            rows += itertools.chain(*(member.rows for member in members))
        for _ in range(fsdp.missing_passes(actor_critic.policy, len(batches))):
            compute(pack([FEWEST], device=actor_critic.device))
    # (quantities, tokens) of each trajectory; a copy each, since what is sent takes all that it is a view of with it.
    pieces = [piece.clone() for piece in torch.cat(parts, dim=1).cpu().split(sizes, dim=1)] if parts else []
    gathered = distributed.all_gather(dict(zip(rows, pieces, strict=True)))
    columns = [gathered[row].T for row in range(len(gathered))]
    padded = torch.nn.utils.rnn.pad_sequence(columns, batch_first=True)  # (batch, tokens, quantities)
    return to_device(padded, actor_critic.device).contiguous().unbind(-1)
