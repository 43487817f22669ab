"""The updates of one rollout iteration: policy and value model on the same minibatches, and the ptx text.

Losses are divided by the token count of the minibatch, so its cut into micro-batches, or over processes, changes
nothing. Only GRPO weighs tokens otherwise: each response counts the same, however long it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from models_core.contract.errors import Diverged
from models_core.contract.runs import processes
from models_core.contract.settings import PPOConfig
from models_core.modeling.devices import to_device
from models_core.modeling.packing import Group, pack
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.losses import kl_loss, policy_loss, value_loss
from models_core.rl.ptx import PtxText
from models_core.rl.rollout_logprobs import LogprobComparison, RolloutLogprobCheck
from models_core.rl.trajectories import Trajectories
from models_core.training import distributed, schedule
from models_core.training.batching import minibatches
from models_core.training.loop import Training


class MicroBatchSums(NamedTuple):
    """What a micro-batch adds to `UpdateStats`, unread: sums over its tokens, and what those are to be divided by."""

    policy_loss: Tensor
    kl_loss: Tensor
    clipped: Tensor
    approx_kl: Tensor
    value_loss: Tensor
    value_clipped: Tensor
    ratio_error: Tensor
    update_weight: float
    metric_weight: float
    tokens: int


@dataclass
class UpdateStats:
    """Metrics of an iteration's updates: sums over minibatches and, at the end, over processes."""

    policy_loss: float = 0.0
    value_loss: float = 0.0
    kl_loss: float = 0.0
    clip_fraction: float = 0.0
    value_clip_fraction: float = 0.0
    approx_kl: float = 0.0
    ptx_loss: float = 0.0
    first_ratio_error: float = 0.0

    @classmethod
    def of(cls, micro_batches: Sequence[MicroBatchSums], text_losses: Sequence[Tensor], *, updates: int) -> Self:
        """All of an iteration, read from the device at once."""
        stats = cls()
        sums = torch.stack([torch.stack([part.double() for part in item[:7]]) for item in micro_batches]).tolist()
        for numbers, item in zip(sums, micro_batches, strict=True):
            policy, kl, clipped, approx_kl, value, value_clipped, error = numbers
            stats.policy_loss += item.update_weight * policy
            stats.kl_loss += item.update_weight * kl
            stats.clip_fraction += item.metric_weight * clipped / item.tokens
            stats.approx_kl += item.metric_weight * approx_kl / item.tokens
            stats.value_loss += item.metric_weight * value / item.tokens
            stats.value_clip_fraction += item.metric_weight * value_clipped / item.tokens
            stats.first_ratio_error = max(stats.first_ratio_error, error)
        stats.ptx_loss = sum(loss / updates for loss in torch.stack([*text_losses]).tolist()) if text_losses else 0.0
        return stats

    def over_processes(self, device: torch.device) -> "UpdateStats":
        """Sums over all processes; the maximum of the ratio error."""
        if processes.count() == 1:
            return self
        parts = {name: value for name, value in vars(self).items() if name != "first_ratio_error"}
        totals = distributed.all_reduce_sum(to_device(list(parts.values()), device, dtype=torch.float64)).tolist()
        largest = max(distributed.all_gather({processes.rank(): self.first_ratio_error}).values())
        return replace(self, first_ratio_error=largest, **dict(zip(parts, totals, strict=True)))


def ppo_update(
    trajectories: Trajectories,
    *,
    training: Training,
    actor_critic: ActorCritic,
    text: PtxText | None,
    step: int,
    steps: int,
    kl_coef: float,
    logprob_check: RolloutLogprobCheck | None = None,
) -> dict[str, float]:
    """Run every update of rollout iteration `step` (from 1) of `steps`; returns mean metrics. Raises Diverged.

    `logprob_check` compares reused log-probabilities with the first minibatch. With `text` the gradient of the
    language-model loss is added to the policy's before the one optimizer step (Ouyang et al. 2022, equation 2).
    """
    settings = actor_critic.settings
    episodes = len(trajectories.mask)
    rate = schedule.rate(step - 1, steps=steps, peak=settings.learning_rate, warmup=settings.warmup_ratio, decay=False)
    updates = minibatches(
        len(trajectories.prompt_groups),
        size=math.ceil(episodes / settings.minibatches),
        epochs=settings.ppo_epochs,
        seed=settings.seed * 2**32 + step,
        counts=[len(item.rows) for item in trajectories.prompt_groups],
    )
    grad_norm, comparison = 0.0, LogprobComparison()
    sums: list[MicroBatchSums] = []
    text_losses: list[Tensor] = []
    # Episodes that the run has trained on so far, each epoch counted: the position in the ptx text.
    seen = (step - 1) * settings.ppo_epochs * settings.batch_size
    for number, minibatch in enumerate(updates):
        count = sum(len(trajectories.prompt_groups[index].rows) for index in minibatch)
        if text is not None and settings.ptx_coef > 0:
            windows = text.for_episodes(seen, count)
            text_losses.append(add_ptx_gradient(actor_critic, windows, settings=settings))
        sums += add_gradients(
            trajectories,
            minibatch,
            training=training,
            actor_critic=actor_critic,
            update_weight=1 / len(updates),
            comparison=comparison if number == 0 else None,
            kl_coef=kl_coef,
        )
        grad_norm += training.update("policy", learning_rate=rate) / len(updates)
        if actor_critic.value is not None:
            training.update("value", learning_rate=rate * actor_critic.value_lr_ratio)
        seen += count
    stats = UpdateStats.of(sums, text_losses, updates=len(updates)).over_processes(actor_critic.device)
    if not math.isfinite(stats.policy_loss + stats.value_loss):
        raise Diverged("The policy's loss is not a finite number: training diverged. Try a smaller learning_rate.")
    check_metrics = logprob_check.recheck(comparison) if logprob_check is not None else {}
    metrics = reported_metrics(stats, settings, has_text=text is not None)
    return metrics | {"gradient_norm": grad_norm, "learning_rate": rate} | check_metrics


def reported_metrics(stats: UpdateStats, settings: PPOConfig, *, has_text: bool) -> dict[str, float]:
    """Metrics that this algorithm reports."""
    absent = {
        "ppo": {"kl_loss"},
        "rloo": {"kl_loss", "value_loss", "value_clip_fraction"},
        "grpo": {"value_loss", "value_clip_fraction"},
    }[settings.algorithm] | (set() if has_text else {"ptx_loss"})
    return {name: value for name, value in vars(stats).items() if name not in absent}


def add_gradients(
    trajectories: Trajectories,
    minibatch: Sequence[int],
    *,
    training: Training,
    actor_critic: ActorCritic,
    update_weight: float,
    comparison: LogprobComparison | None,
    kl_coef: float,
) -> list[MicroBatchSums]:
    """Add one minibatch's gradients to those of policy and value model; returns its metrics.

    `minibatch`: indices of prompt groups; `update_weight`: 1 / number of updates. `comparison` is given for the first
    minibatch only, before which no weight has moved.
    """
    settings = actor_critic.settings
    weights = token_weights(trajectories, minibatch, settings=settings)
    tokens = sum(trajectories.lengths[row] for index in minibatch for row in trajectories.prompt_groups[index].rows)
    sums: list[MicroBatchSums] = []
    costs = [trajectories.prompt_groups[index].cost for index in minibatch]
    for share in distributed.micro_batches_for_rank(costs, budget=settings.max_tokens_per_forward):
        members = [trajectories.prompt_groups[minibatch[position]] for position in share.rows]
        rows = [row for member in members for row in member.rows]
        packed = pack([member.group for member in members], device=actor_critic.device)
        log_probs, values = (
            actor_critic.log_probs_and_values(packed)
            if actor_critic.shares_trunk
            else (actor_critic.log_probs(packed), None)
        )
        at = trajectories.places(rows)
        loss_weights = share.weight * weights[at]
        if trajectories.importance_weights is not None:
            loss_weights = loss_weights * trajectories.importance_weights[at]
        old_log_probs = trajectories.log_probs[at]
        policy = policy_loss(
            log_probs,
            old_log_probs,
            trajectories.advantages[at],
            clip_range=settings.clip_range,
            weights=loss_weights,
        )
        loss = policy.loss
        kl = value_sum = value_clipped = error = torch.zeros_like(policy.clipped)
        if settings.algorithm == "grpo":
            kl = kl_loss(log_probs, trajectories.reference_log_probs[at], loss_weights)
            loss = loss + kl_coef * kl
        if not actor_critic.shares_trunk:
            training.backward(loss, "policy", is_last=share.is_last)
            if actor_critic.value is not None:
                values = actor_critic.values(packed)
        if values is not None:
            value = value_loss(
                values,
                trajectories.values[at],
                trajectories.returns[at],
                clip_range=settings.value_clip_range,
            )
            weighted_value_loss = share.weight * settings.vf_coef / tokens * value.loss
            if actor_critic.shares_trunk:
                training.backward(loss + weighted_value_loss, "policy", "value", is_last=share.is_last)
            else:
                training.backward(weighted_value_loss, "value", is_last=share.is_last)
            value_sum, value_clipped = value.loss.detach(), value.clipped
        if comparison is not None:
            comparison.add(
                log_probs=log_probs,
                rollout_log_probs=old_log_probs,
                values=values if actor_critic.shares_trunk else None,
                rollout_values=trajectories.values[at],
            )
            error = (log_probs.detach() - old_log_probs).exp().sub(1).abs().max()
        sums.append(
            MicroBatchSums(
                policy.loss.detach(),
                kl.detach(),
                policy.clipped,
                policy.approx_kl,
                value_sum,
                value_clipped,
                error,
                update_weight=update_weight,
                metric_weight=share.weight * update_weight,
                tokens=tokens,
            )
        )
    return sums


def token_weights(trajectories: Trajectories, minibatch: Sequence[int], *, settings: PPOConfig) -> Tensor:
    """Weight of each token in the minibatch's loss, 1 in sum over the minibatch: (batch, tokens).

    All tokens alike; in GRPO all responses alike (Shao et al. 2024, 2402.03300, equation 3).
    """
    rows = [row for index in minibatch for row in trajectories.prompt_groups[index].rows]
    like = trajectories.log_probs
    lengths = trajectories.mask.sum(1, keepdim=True).to(like)
    tokens = sum(trajectories.lengths[row] for row in rows)
    counts = lengths * len(rows) if settings.algorithm == "grpo" else like.new_full((), tokens)
    return (1 / counts).expand_as(like)


def add_ptx_gradient(actor_critic: ActorCritic, windows: Sequence[Group], *, settings: PPOConfig) -> Tensor:
    """Add ptx_coef times the gradient of the mean next-token loss over windows of text; returns this process's loss.

    At temperature 1, whatever the sampling temperature. It precedes the minibatch's own gradients, whose last backward
    pass sums all gradients over the processes.
    """
    tokens = sum(len(window.responses[0]) for window in windows)
    total = torch.zeros((), dtype=torch.float64, device=actor_critic.device)
    if not windows:
        return total
    for share in distributed.micro_batches_for_rank(
        [window.tokens for window in windows], budget=settings.max_tokens_per_forward
    ):
        packed = pack([windows[position] for position in share.rows], device=actor_critic.device)
        loss = -share.weight * actor_critic.log_probs(packed, temperature=1.0).sum() / tokens
        (settings.ptx_coef * loss).backward()
        total += loss.detach()
    return total
