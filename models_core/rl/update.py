"""All updates of one rollout phase: policy and value model, on the same minibatches, and the text that is mixed in.

Losses are divided by the token count of the minibatch, so its cut into micro-batches, or over processes, changes
nothing. GRPO alone weighs tokens otherwise: every answer counts the same, however long it is.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models_core.contract import processes
from models_core.contract.errors import Diverged
from models_core.contract.settings import PPOConfig
from models_core.modeling.packing import Group, pack
from models_core.rl.actor_critic import Networks
from models_core.rl.losses import divergence_loss, policy_loss, value_loss
from models_core.rl.ptx import MixedText
from models_core.rl.rollout_logprobs import Comparison, Sampler
from models_core.rl.trajectories import Episodes
from models_core.training import distributed, schedule
from models_core.training.batching import minibatches
from models_core.training.loop import Training


@dataclass
class Sums:
    """What the updates of a phase came to, added up over minibatches and, at the end, over processes."""

    policy_loss: float = 0.0
    value_loss: float = 0.0
    divergence_loss: float = 0.0
    clip_fraction: float = 0.0
    value_clip_fraction: float = 0.0
    approx_kl: float = 0.0
    ptx_loss: float = 0.0
    first_ratio_error: float = 0.0

    def over_processes(self, device: torch.device) -> "Sums":
        """The sums of all processes; of the ratio the worst."""
        parts = {name: value for name, value in vars(self).items() if name != "first_ratio_error"}
        totals = distributed.all_reduce_sum(
            torch.tensor(list(parts.values()), dtype=torch.float64, device=device)
        ).tolist()
        worst = max(distributed.all_gather({processes.rank(): self.first_ratio_error}).values())
        return replace(self, first_ratio_error=worst, **dict(zip(parts, totals, strict=True)))


def learn(
    phase: Episodes,
    *,
    training: Training,
    networks: Networks,
    text: MixedText | None,
    step: int,
    steps: int,
    kl_coef: float,
    sampler: Sampler | None = None,
) -> dict[str, float]:
    """Take every update of phase `step` (from 1) of `steps`; returns their mean metrics. Raises Diverged.

    `sampler`: whose word was taken for the policy's, and is held against the first update. With text the gradient of
    the language-model loss joins the policy's before the one optimizer step (Ouyang et al. 2022, equation 2).
    """
    settings = networks.settings
    episodes = len(phase.mask)
    rate = schedule.rate(step - 1, steps=steps, peak=settings.learning_rate, warmup=settings.warmup_ratio, decay=False)
    updates = minibatches(
        len(phase.bundles),
        size=math.ceil(episodes / settings.minibatches),
        epochs=settings.ppo_epochs,
        seed=settings.seed * 2**32 + step,
        counts=[len(bundle.episodes) for bundle in phase.bundles],
    )
    sums, norm, comparison = Sums(), 0.0, Comparison()
    seen = (step - 1) * settings.ppo_epochs * settings.batch_size  # episodes learned from, for the place in the text
    for number, minibatch in enumerate(updates):
        count = sum(len(phase.bundles[place].episodes) for place in minibatch)
        if text is not None and settings.ptx_coef > 0:
            windows = text.beside(seen, count)
            sums.ptx_loss += add_ptx_gradient(networks, windows, settings=settings) / len(updates)
        add_gradients(
            phase,
            minibatch,
            training=training,
            networks=networks,
            sums=sums,
            share_of_phase=1 / len(updates),
            first=comparison if number == 0 else None,
            kl_coef=kl_coef,
        )
        norm += training.update("policy", learning_rate=rate) / len(updates)
        if networks.value is not None:
            training.update("value", learning_rate=rate * networks.value_rate)
        seen += count
    found = sums.over_processes(networks.device)
    if not math.isfinite(found.policy_loss + found.value_loss):
        raise Diverged("The policy's loss is not a finite number: training diverged. Try a smaller learning_rate.")
    checked = sampler.check(comparison) if sampler is not None else {}
    return (
        measured(found, settings, has_text=text is not None) | {"gradient_norm": norm, "learning_rate": rate} | checked
    )


def measured(sums: Sums, settings: PPOConfig, *, has_text: bool) -> dict[str, float]:
    """Those of the metrics that the algorithm has."""
    left_out = {
        "ppo": {"divergence_loss"},
        "rloo": {"divergence_loss", "value_loss", "value_clip_fraction"},
        "grpo": {"value_loss", "value_clip_fraction"},
    }[settings.algorithm] | (set() if has_text else {"ptx_loss"})
    return {name: value for name, value in vars(sums).items() if name not in left_out}


def add_gradients(
    phase: Episodes,
    minibatch: list[int],
    *,
    training: Training,
    networks: Networks,
    sums: Sums,
    share_of_phase: float,
    first: Comparison | None,
    kl_coef: float,
) -> None:
    """Add the gradients of one minibatch of bundles to those of policy and value model, and what they come to.

    Of the first one, before which no weight has moved, note how far it is from what the phase has.
    """
    settings = networks.settings
    weights = token_weights(phase, minibatch, settings=settings)
    tokens = int(sum(phase.lengths(list(phase.bundles[place].episodes)).sum() for place in minibatch))
    costs = [phase.bundles[place].cost for place in minibatch]
    for share in distributed.micro_batches_for_rank(costs, budget=settings.max_tokens_per_forward):
        bundles = [phase.bundles[minibatch[place]] for place in share.rows]
        rows = [row for bundle in bundles for row in bundle.episodes]
        packed = pack([bundle.group for bundle in bundles], device=networks.device)
        log_probs, values = (
            networks.log_probs_and_values(packed) if networks.is_one_trunk else (networks.log_probs(packed), None)
        )
        of_tokens = share.weight * phase.tokens(rows, weights)
        old_log_probs = phase.tokens(rows, phase.log_probs)
        policy = policy_loss(
            log_probs,
            old_log_probs,
            phase.tokens(rows, phase.advantages),
            clip_range=settings.clip_range,
            weights=of_tokens,
        )
        loss = policy.loss
        part = share.weight * share_of_phase
        if settings.algorithm == "grpo":
            left = divergence_loss(log_probs, phase.tokens(rows, phase.reference_log_probs), of_tokens)
            loss = loss + kl_coef * left
            sums.divergence_loss += share_of_phase * left.item()
        if not networks.is_one_trunk:
            training.backward(loss, "policy", is_last=share.is_last)
            if networks.value is not None:
                values = networks.values(packed)
        if values is not None:
            value = value_loss(
                values,
                phase.tokens(rows, phase.values),
                phase.tokens(rows, phase.returns),
                clip_range=settings.value_clip_range,
            )
            of_value = share.weight * settings.vf_coef / tokens * value.loss
            if networks.is_one_trunk:
                training.backward(loss + of_value, "policy", "value", is_last=share.is_last)
            else:
                training.backward(of_value, "value", is_last=share.is_last)
            sums.value_loss += part * value.loss.item() / tokens
            sums.value_clip_fraction += part * value.clipped.item() / tokens
        sums.policy_loss += share_of_phase * policy.loss.item()
        sums.clip_fraction += part * policy.clipped.item() / tokens
        sums.approx_kl += part * policy.approx_kl.item() / tokens
        if first is not None:
            first.add(
                log_probs=log_probs,
                told_log_probs=old_log_probs,
                values=values if networks.is_one_trunk else None,
                told_values=phase.tokens(rows, phase.values),
            )
            error = (log_probs.detach() - old_log_probs).exp().sub(1).abs().max().item()
            sums.first_ratio_error = max(sums.first_ratio_error, error)


def token_weights(phase: Episodes, minibatch: list[int], *, settings: PPOConfig) -> Tensor:
    """What each token of the minibatch counts in its loss, in sum 1: [B, T].

    Every token alike; in GRPO every answer alike (Shao et al. 2024, equation 3).
    """
    rows = [row for place in minibatch for row in phase.bundles[place].episodes]
    like = phase.log_probs
    lengths = phase.mask.sum(1, keepdim=True).to(like)
    counts = lengths * len(rows) if settings.algorithm == "grpo" else phase.lengths(rows).sum().to(like)
    return (1 / counts).expand_as(like)


def add_ptx_gradient(networks: Networks, windows: list[Group], *, settings: PPOConfig) -> float:
    """Add ptx_coef times the gradient of the mean next-token loss over windows of text.

    At temperature 1, whatever the policy is sampled with: this is a model of text. Returns this process's part of the
    loss. It comes before the minibatch's own gradients, in whose last pass all are summed over the processes.
    """
    tokens = sum(len(window.responses[0]) for window in windows)
    total = 0.0
    if not windows:
        return total
    for share in distributed.micro_batches_for_rank(
        [window.tokens for window in windows], budget=settings.max_tokens_per_forward
    ):
        packed = pack([windows[place] for place in share.rows], device=networks.device)
        loss = -share.weight * networks.log_probs(packed, temperature=1.0).sum() / tokens
        (settings.ptx_coef * loss).backward()
        total += loss.item()
    return total
