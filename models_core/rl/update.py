"""The updates of one rollout iteration: policy and value model on the same minibatches, and the ptx text.

Losses are divided by the token count of the minibatch, so its cut into micro-batches, or over processes, changes
nothing. Only GRPO weighs tokens otherwise: each response counts the same, however long it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models_core.contract.errors import Diverged
from models_core.contract.runs import processes
from models_core.contract.settings import PPOConfig
from models_core.modeling.packing import Group, pack
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.losses import kl_loss, policy_loss, value_loss
from models_core.rl.ptx import PtxText
from models_core.rl.rollout_logprobs import LogprobComparison, RolloutLogprobCheck
from models_core.rl.trajectories import Trajectories
from models_core.training import distributed, schedule
from models_core.training.batching import minibatches
from models_core.training.loop import Training


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

    def over_processes(self, device: torch.device) -> "UpdateStats":
        """Sums over all processes; the maximum of the ratio error."""
        parts = {name: value for name, value in vars(self).items() if name != "first_ratio_error"}
        totals = distributed.all_reduce_sum(
            torch.tensor(list(parts.values()), dtype=torch.float64, device=device)
        ).tolist()
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
    stats, grad_norm, comparison = UpdateStats(), 0.0, LogprobComparison()
    # Episodes that the run has trained on so far, each epoch counted: the position in the ptx text.
    seen = (step - 1) * settings.ppo_epochs * settings.batch_size
    for number, minibatch in enumerate(updates):
        count = sum(len(trajectories.prompt_groups[index].rows) for index in minibatch)
        if text is not None and settings.ptx_coef > 0:
            windows = text.for_episodes(seen, count)
            stats.ptx_loss += add_ptx_gradient(actor_critic, windows, settings=settings) / len(updates)
        add_gradients(
            trajectories,
            minibatch,
            training=training,
            actor_critic=actor_critic,
            stats=stats,
            update_weight=1 / len(updates),
            comparison=comparison if number == 0 else None,
            kl_coef=kl_coef,
        )
        grad_norm += training.update("policy", learning_rate=rate) / len(updates)
        if actor_critic.value is not None:
            training.update("value", learning_rate=rate * actor_critic.value_lr_ratio)
        seen += count
    stats = stats.over_processes(actor_critic.device)
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
    stats: UpdateStats,
    update_weight: float,
    comparison: LogprobComparison | None,
    kl_coef: float,
) -> None:
    """Add one minibatch's gradients to those of policy and value model, and its metrics to `stats`.

    `minibatch`: indices of prompt groups; `update_weight`: 1 / number of updates. `comparison` is given for the first
    minibatch only, before which no weight has moved.
    """
    settings = actor_critic.settings
    weights = token_weights(trajectories, minibatch, settings=settings)
    tokens = int(sum(trajectories.lengths(trajectories.prompt_groups[index].rows).sum() for index in minibatch))
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
        loss_weights = share.weight * trajectories.select(rows, weights)
        if trajectories.importance_weights is not None:
            loss_weights = loss_weights * trajectories.select(rows, trajectories.importance_weights)
        old_log_probs = trajectories.select(rows, trajectories.log_probs)
        policy = policy_loss(
            log_probs,
            old_log_probs,
            trajectories.select(rows, trajectories.advantages),
            clip_range=settings.clip_range,
            weights=loss_weights,
        )
        loss = policy.loss
        metric_weight = share.weight * update_weight
        if settings.algorithm == "grpo":
            kl = kl_loss(log_probs, trajectories.select(rows, trajectories.reference_log_probs), loss_weights)
            loss = loss + kl_coef * kl
            stats.kl_loss += update_weight * kl.item()
        if not actor_critic.shares_trunk:
            training.backward(loss, "policy", is_last=share.is_last)
            if actor_critic.value is not None:
                values = actor_critic.values(packed)
        if values is not None:
            value = value_loss(
                values,
                trajectories.select(rows, trajectories.values),
                trajectories.select(rows, trajectories.returns),
                clip_range=settings.value_clip_range,
            )
            weighted_value_loss = share.weight * settings.vf_coef / tokens * value.loss
            if actor_critic.shares_trunk:
                training.backward(loss + weighted_value_loss, "policy", "value", is_last=share.is_last)
            else:
                training.backward(weighted_value_loss, "value", is_last=share.is_last)
            stats.value_loss += metric_weight * value.loss.item() / tokens
            stats.value_clip_fraction += metric_weight * value.clipped.item() / tokens
        stats.policy_loss += update_weight * policy.loss.item()
        stats.clip_fraction += metric_weight * policy.clipped.item() / tokens
        stats.approx_kl += metric_weight * policy.approx_kl.item() / tokens
        if comparison is not None:
            comparison.add(
                log_probs=log_probs,
                rollout_log_probs=old_log_probs,
                values=values if actor_critic.shares_trunk else None,
                rollout_values=trajectories.select(rows, trajectories.values),
            )
            error = (log_probs.detach() - old_log_probs).exp().sub(1).abs().max().item()
            stats.first_ratio_error = max(stats.first_ratio_error, error)


def token_weights(trajectories: Trajectories, minibatch: Sequence[int], *, settings: PPOConfig) -> Tensor:
    """Weight of each token in the minibatch's loss, 1 in sum over the minibatch: (batch, tokens).

    All tokens alike; in GRPO all responses alike (Shao et al. 2024, 2402.03300, equation 3).
    """
    rows = [row for index in minibatch for row in trajectories.prompt_groups[index].rows]
    like = trajectories.log_probs
    lengths = trajectories.mask.sum(1, keepdim=True).to(like)
    counts = lengths * len(rows) if settings.algorithm == "grpo" else trajectories.lengths(rows).sum().to(like)
    return (1 / counts).expand_as(like)


def add_ptx_gradient(actor_critic: ActorCritic, windows: Sequence[Group], *, settings: PPOConfig) -> float:
    """Add ptx_coef times the gradient of the mean next-token loss over windows of text; returns this process's loss.

    At temperature 1, whatever the sampling temperature. It precedes the minibatch's own gradients, whose last backward
    pass sums all gradients over the processes.
    """
    tokens = sum(len(window.responses[0]) for window in windows)
    total = 0.0
    if not windows:
        return total
    for share in distributed.micro_batches_for_rank(
        [window.tokens for window in windows], budget=settings.max_tokens_per_forward
    ):
        packed = pack([windows[position] for position in share.rows], device=actor_critic.device)
        loss = -share.weight * actor_critic.log_probs(packed, temperature=1.0).sum() / tokens
        (settings.ptx_coef * loss).backward()
        total += loss.item()
    return total
