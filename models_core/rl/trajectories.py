"""The episodes of one rollout phase: what was sampled, what it was worth, and what each token gained."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models_core.contract.settings import PPOConfig
from models_core.modeling.ops import explained_variance, length_mask, masked_mean, whiten
from models_core.modeling.packing import Group, Packed, pack, sharing_for
from models_core.rl.actor_critic import Networks
from models_core.rl.advantages import generalised_advantages, group_normalised, leave_one_out, penalised_rewards
from models_core.training import distributed, gradient_cache
from models_core.training.batching import micro_batches

Rows = Tensor
"""One row per episode, one column per response token, 0 where a response has ended: [B, T]."""


class Told(NamedTuple):
    """What the sampler knew: log-probabilities, and the values of a head on the policy's trunk, else zeros."""

    log_probs: Rows
    values: Rows


@dataclass(frozen=True)
class Bundle:
    """A prompt with responses that are computed together, and which episodes they are."""

    group: Group
    episodes: range
    sharing: str = "auto"

    @property
    def cost(self) -> int:
        """Tokens of its computation."""
        return self.group.cost(self.sharing)


@dataclass(frozen=True)
class Episodes:
    """B episodes of at most T tokens. All rows are of the policy as it was when it sampled them."""

    bundles: Sequence[Bundle]
    mask: Tensor  # [B, T]
    log_probs: Rows
    reference_log_probs: Rows
    values: Rows
    advantages: Rows
    returns: Rows
    metrics: dict[str, float]

    def tokens(self, rows: Sequence[int], quantity: Rows) -> Tensor:
        """A quantity of these episodes, laid end to end as `pack` lays them: [M]."""
        index = torch.tensor(rows, device=quantity.device)
        return quantity[index][self.mask[index]]

    def lengths(self, rows: Sequence[int]) -> Tensor:
        """Response tokens of these episodes: [len(rows)]."""
        return self.mask[torch.tensor(rows, device=self.mask.device)].sum(1)


def bundled(groups: Sequence[Group], *, budget: int, sharing: str = "auto") -> list[Bundle]:
    """Episodes, each a group of one response, as bundles: neighbours with one prompt share its computation."""
    bundles: list[Bundle] = []
    start = 0
    for prompt, members in itertools.groupby(groups, key=lambda group: list(group.prompt)):
        responses = [member.responses[0] for member in members]
        for piece in gradient_cache.cut(Group(prompt, responses), budget=budget, sharing=sharing):
            bundles.append(Bundle(piece, range(start, start + len(piece.responses)), sharing))
            start += len(piece.responses)
    return bundles


def measure(
    groups: Sequence[Group],
    scores: Tensor,
    ended: Tensor,
    *,
    networks: Networks,
    kl_coef: float,
    samples: int = 1,
    told: Told | None = None,
) -> Episodes:
    """Episodes with rewards and advantages, from sampled responses, what each scores [B], and which ended by EOS [B].

    `groups` hold one response each, the `samples` of a prompt one after the other. What is `told` the policy is not
    asked. Processes share the work, and all know all of it afterwards.
    """
    settings = networks.settings
    sharing = sharing_for(networks.policy, "auto")
    bundles = bundled(groups, budget=settings.max_tokens_per_forward, sharing=sharing)
    log_probs, values, reference_log_probs = _of_networks(bundles, told, networks=networks)
    lengths = torch.tensor([len(group.responses[0]) for group in groups], device=log_probs.device)
    mask = length_mask(lengths, int(lengths.max()))
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
        advantages, returns = _by_value_model(
            scores, log_probs, reference_log_probs, values, mask, settings=settings, kl_coef=kl_coef
        )
        metrics["value_explained_variance"] = explained_variance(values, returns, mask)
    else:
        # DeepSeekMath's divergence is a term of the loss; RLOO's is part of the reward of the whole answer.
        gained = group_normalised(scores, samples) if settings.algorithm == "grpo" else None
        if gained is None:
            gained = leave_one_out(scores - kl_coef * kl, samples)
        advantages, returns = gained[:, None] * mask, torch.zeros_like(log_probs)
    return Episodes(
        bundles=bundles,
        mask=mask,
        log_probs=log_probs,
        reference_log_probs=reference_log_probs,
        values=values,
        advantages=advantages,
        returns=returns,
        metrics={name: value.item() for name, value in metrics.items()},
    )


def _of_networks(bundles: Sequence[Bundle], told: Told | None, *, networks: Networks) -> tuple[Rows, Rows, Rows]:
    """Log-probabilities and values of every token, and the reference's log-probabilities."""
    if told is None:
        log_probs, values, reference = measured(
            bundles,
            lambda packed: [*networks.log_probs_and_values(packed), networks.reference_log_probs(packed)],
            networks=networks,
        )
        return log_probs, values, reference
    if networks.value is None or networks.is_one_trunk:
        (reference,) = measured(bundles, lambda packed: [networks.reference_log_probs(packed)], networks=networks)
        return told.log_probs.to(reference), told.values.to(reference), reference
    values, reference = measured(
        bundles, lambda packed: [networks.values(packed), networks.reference_log_probs(packed)], networks=networks
    )
    return told.log_probs.to(reference), values, reference


def rows_of(numbers: Sequence[Sequence[float]], *, device: torch.device) -> Rows:
    """A number of each response token of every episode as rows, fp64."""
    columns = [torch.tensor(row, dtype=torch.float64) for row in numbers]
    return torch.nn.utils.rnn.pad_sequence(columns, batch_first=True).to(device)


def _by_value_model(
    scores: Tensor, log_probs: Rows, reference: Rows, values: Rows, mask: Tensor, *, settings: PPOConfig, kl_coef: float
) -> tuple[Rows, Rows]:
    """Whitened advantages of every token, and the returns that the value model learns."""
    rewards = penalised_rewards(
        scores=scores, log_probs=log_probs, reference_log_probs=reference, mask=mask, kl_coef=kl_coef
    )
    if settings.whiten_rewards:
        rewards = whiten(rewards, mask, keep_mean=True)
    advantages, returns = generalised_advantages(
        rewards, values, mask, gamma=settings.gamma, gae_lambda=settings.gae_lambda
    )
    return whiten(advantages, mask), returns


@torch.no_grad()
def measured(
    bundles: Sequence[Bundle], of: Callable[[Packed], Sequence[Tensor]], *, networks: Networks
) -> tuple[Rows, ...]:
    """Quantities of every response token, in micro-batches, as rows in the order of the episodes; 0 past their ends."""
    own = distributed.rows_of_rank([bundle.cost for bundle in bundles])
    found: dict[int, Tensor] = {}  # of an episode: [quantities, tokens]
    for batch in micro_batches([bundles[row].cost for row in own], budget=networks.settings.max_tokens_per_forward):
        members = [bundles[own[place]] for place in batch]
        packed = pack([member.group for member in members], device=networks.device)
        parts = torch.stack(list(of(packed))).cpu().split(packed.response_sizes, dim=1)
        found |= dict(zip(itertools.chain(*(member.episodes for member in members)), parts, strict=True))
    every = distributed.all_gather(found)
    columns = [every[row].T for row in range(len(every))]
    padded = torch.nn.utils.rnn.pad_sequence(columns, batch_first=True).to(networks.device)  # [B, T, quantities]
    return padded.contiguous().unbind(-1)
