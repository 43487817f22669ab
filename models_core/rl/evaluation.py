"""Evaluation of a PPO policy on fixed prompts: metrics, samples to read, early stopping, and the choice of weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models_core.contract.atomic_write import write_text
from models_core.contract.rows import json_lines
from models_core.contract.runs import processes
from models_core.modeling import adapters
from models_core.rl import reward_kl_plot, trajectories
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.early_stopping import EarlyStopping, StopReason
from models_core.rl.prompts import EncodedPrompts
from models_core.rl.rewards.base import Completion
from models_core.rl.rewards.pipeline import RawScores, RewardPipeline
from models_core.rl.rollout_server.sampler import RolloutSampler
from models_core.training import distributed
from models_core.training.ema import MovingAverage
from models_core.training.loop import Training
from models_core.training.optimizer import MasterAdamW

SEED_OFFSET = 2**31 + 2**30
"""Added to the run's seed: evaluation prompts are sampled with the same random numbers every time."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSamples:
    """One completion of each evaluation prompt, and sums over its tokens in nats: (batch,), fp64."""

    completions: Sequence[Completion]
    log_probs: torch.Tensor
    reference_log_probs: torch.Tensor

    @property
    def kl(self) -> torch.Tensor:
        """log pi(y) - log pi_ref(y), whose mean is an unbiased estimate of the KL: (batch,)."""
        return self.log_probs - self.reference_log_probs


class Evaluator:
    """Evaluates the policy as it would be saved (its moving average, if there is one) and remembers the result.

    `stop_reason` is set once the run should end. The state is part of every checkpoint.
    """

    def __init__(
        self,
        prompts: EncodedPrompts,
        *,
        is_held_out: bool,
        training: Training,
        actor_critic: ActorCritic,
        rewards: RewardPipeline,
        average: MovingAverage,
        sampler: RolloutSampler,
    ) -> None:
        """`is_held_out`: whether `prompts` are not trained on; else their scores choose no weights."""
        self.prompts = prompts
        self.is_held_out = is_held_out
        self.training = training
        self.actor_critic = actor_critic
        self.settings = actor_critic.settings
        self.rewards = rewards
        self.average = average
        self.sampler = sampler
        self.early_stopping = EarlyStopping()
        self.stop_reason: StopReason | None = None
        self.last_step = -1
        self.initial: dict[str, float] = {}
        self.latest: dict[str, float] = {}
        self.penalty_scale = 1.0
        self.last_good_weights: dict[str, torch.Tensor] = {}

    # ---- evaluation --------------------------------------------------------------------------------------------------

    def is_due(self, step: int, *, total: int) -> bool:
        """Whether step `step` of `total` is due for an evaluation and has none yet; 0 is before the first step."""
        every = self.settings.eval_every
        return self.last_step < step and (step in (0, total) or bool(every and step % every == 0))

    def evaluate(self, step: int) -> None:
        """Sample and score the evaluation prompts, write them down, and save the weights where they are the best.

        Raises Stopped and Halted, with nothing changed.
        """
        with self.average.applied(adapters.trainable(self.actor_critic.policy)):
            samples = self._sample(step)
        raw = self.rewards.raw_scores(samples.completions)
        if step == 0 and self.settings.reward_normalise != "none":
            self.penalty_scale = float(raw.scores.double().std(correction=0)) or 1.0
        metrics = self._metrics(samples, raw)
        if not self.initial:
            self.initial = metrics
        self.last_step = step
        self._write_samples(step, samples, raw)
        if self.is_held_out:
            self.latest = metrics
            self.training.run.log(step, **metrics)
            if step:
                self._compare_with_best(step, metrics)
        if processes.is_main():
            write_text(
                self.training.run.reward_kl_plot, reward_kl_plot.svg(reward_kl_plot.read(self.training.run.metrics))
            )

    def _sample(self, step: int) -> EvaluationSamples:
        actor_critic = self.actor_critic
        seed = self.settings.seed * 2**32 + SEED_OFFSET
        completions = self.sampler.evaluation(self.prompts, step=step, seed=seed)
        rows = trajectories.per_token(
            trajectories.group_by_prompt(
                [item.group for item in completions], budget=self.settings.max_tokens_per_forward
            ),
            lambda packed: [actor_critic.log_probs(packed), actor_critic.reference_log_probs(packed)],
            actor_critic=actor_critic,
        )
        log_probs, reference_log_probs = (tokens.double().sum(1).cpu() for tokens in rows)
        return EvaluationSamples(completions=completions, log_probs=log_probs, reference_log_probs=reference_log_probs)

    def _metrics(self, samples: EvaluationSamples, raw: RawScores) -> dict[str, float]:
        completions = samples.completions
        selection_scores = self.rewards.selection_scores(completions, raw, penalty_scale=self.penalty_scale)
        return {
            "eval_score": raw.scores.mean().item(),
            "eval_reward": selection_scores.mean().item(),
            "eval_kl": samples.kl.mean().item(),
            "eval_length": sum(len(item.ids) for item in completions) / len(completions),
            "eval_eos_rate": sum(item.ended for item in completions) / len(completions),
        }

    def _compare_with_best(self, step: int, metrics: Mapping[str, float]) -> None:
        """Save the weights of the highest reward within the KL bound; stop after `patience` evaluations without one."""
        best, bound = self.training.best, self.settings.max_kl
        if bound and not metrics["eval_kl"] <= bound:
            best.stale += 1
        else:
            loss = -metrics["eval_reward"]
            is_best = best.update({**metrics, "lost": loss}, by="lost", step=step)
            if is_best and self.settings.load_best_at_end:
                weights = self._optimizer.whole(self._shares())
                if processes.is_main():
                    best.save(self.training.run.checkpoints, {"policy": weights})
        self.stop_reason = self.stop_reason or self.early_stopping.check_evaluations(best.stale, settings=self.settings)

    def _write_samples(self, step: int, samples: EvaluationSamples, raw: RawScores) -> None:
        """Append a line a prompt to samples.jsonl: the completion with its score and log-probabilities."""
        if not processes.is_main():
            return
        numbers = zip(
            raw.scores.tolist(), samples.log_probs.tolist(), samples.reference_log_probs.tolist(), strict=True
        )
        with self.training.run.samples.open("a", encoding="utf-8") as file:
            for item, (score, log_prob, reference) in zip(samples.completions, numbers, strict=True):
                row = {
                    "step": step,
                    "episodes": min(step * self.settings.batch_size, self.settings.episodes),
                    "id": item.prompt.id,
                    "prompt": list(item.prompt.messages),
                    "response": item.text,
                    "finish_reason": "stop" if item.ended else "length",
                    "score": score,
                    "logprob": log_prob,
                    "reference_logprob": reference,
                    "held_out": self.is_held_out,
                }
                file.write(json_lines.line(row))

    # ---- early stopping ----------------------------------------------------------------------------------------------

    def accepts(self, metrics: Mapping[str, float], scores: torch.Tensor) -> bool:
        """Whether the policy that sampled an iteration may be updated from it; its weights then become the last good.

        scores: (batch,). Sets `stop_reason` where not.
        """
        self.stop_reason = self.early_stopping.check_rollouts(metrics, scores, settings=self.settings)
        if self.stop_reason is None:
            # In host memory: a GPU would hold a copy of all that learns for the sake of a run that ends early.
            self.last_good_weights = {
                name: weight.detach().to("cpu", copy=True) for name, weight in self._shares().items()
            }
        return self.stop_reason is None

    def _shares(self) -> Mapping[str, torch.Tensor]:
        """The policy's weights as they would be saved, fp32: this process's shares where they are split."""
        return self.average.average or self._optimizer.masters

    @property
    def _optimizer(self) -> MasterAdamW:
        return self.training.optimizers["policy"]

    # ---- the end of a run --------------------------------------------------------------------------------------------

    def load_final_weights(self) -> dict[str, Any]:
        """Put the weights to be saved into the policy; returns their metrics, and why the run ended early.

        The best ones by held-out reward, else the last ones, or the last good ones after an early stop.
        """
        best = self.training.best
        shares, metrics = self._shares(), dict(self.latest)
        chosen: Mapping[str, torch.Tensor] = {}
        if best.step and self.settings.load_best_at_end:
            distributed.wait()  # the first process writes them
            chosen = best.load(self.training.run.checkpoints).tensors("policy")
            metrics = {name: value for name, value in best.measures.items() if name != "lost"}
            metrics["best_step"] = best.step
        elif self.stop_reason is not None and self.stop_reason.setting != "patience" and self.last_good_weights:
            shares, metrics = self.last_good_weights, {}
        if chosen:
            self._optimizer.load_weights({name: weight.clone() for name, weight in chosen.items()})
        else:
            self._optimizer.load_shares(shares)
        initial = {f"{name}_start": self.initial[name] for name in ("eval_score", "eval_reward") if self.latest}
        reason = self.stop_reason
        stopped = {"stopped_early": reason.reason, "stopped_by": reason.setting} if reason else {}
        return {**initial, **metrics, "stopped_early": None, **stopped}

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            "early_stopping": self.early_stopping.state_dict(),
            "last_step": self.last_step,
            "initial": self.initial,
            "latest": self.latest,
            "penalty_scale": self.penalty_scale,
        }

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Tensors of a checkpoint by group: {"good": the last good weights}, or {}."""
        return {"good": self._optimizer.whole(self.last_good_weights)} if self.last_good_weights else {}

    def load_state_dict(self, state: Mapping[str, Any], good: Mapping[str, torch.Tensor]) -> None:
        """`good`: the group of that name from `tensors`."""
        self.early_stopping.load_state_dict(state["early_stopping"])
        self.last_step, self.initial, self.latest = state["last_step"], state["initial"], state["latest"]
        self.penalty_scale = state["penalty_scale"]
        self.last_good_weights = {name: weight.cpu() for name, weight in self._optimizer.shares(good).items()}
        self.stop_reason = self.early_stopping.check_evaluations(self.training.best.stale, settings=self.settings)
