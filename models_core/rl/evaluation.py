"""What PPO's loop calls between its steps: measurements, guards, and which weights become the model."""

from collections.abc import Mapping
from typing import Any

import torch

from models_core.contract import json_lines, processes
from models_core.contract.run_folder import write_text
from models_core.modeling import adapters
from models_core.rl import reward_kl_plot
from models_core.rl.actor_critic import Networks
from models_core.rl.early_stopping import Guards, Trip
from models_core.rl.evaluation_rewards import Answers, of_policy
from models_core.rl.prompts import Practice
from models_core.rl.rewards.pipeline import Raw, Rewards
from models_core.training import distributed
from models_core.training.ema import MovingAverage
from models_core.training.loop import Training

SEEDS = 2**31 + 2**30
"""What is added to the run's seed: watched prompts are answered with the same numbers at every measurement."""


class Watch:
    """Measured is the policy as it would be saved: its average, where there is one.

    `trip` says why the run should end, once it should. What is remembered is part of every checkpoint.
    """

    def __init__(
        self,
        practice: Practice,
        *,
        is_held_out: bool,
        training: Training,
        networks: Networks,
        rewards: Rewards,
        average: MovingAverage,
    ) -> None:
        """`practice`: the watched prompts; where they are not held out, what they score chooses no weights."""
        self.practice = practice
        self.is_held_out = is_held_out
        self.training = training
        self.networks = networks
        self.settings = networks.settings
        self.rewards = rewards
        self.average = average
        self.guards = Guards()
        self.trip: Trip | None = None
        self.measured = -1
        self.start: dict[str, float] = {}
        self.latest: dict[str, float] = {}
        self.scale = 1.0
        self.good: dict[str, torch.Tensor] = {}

    # ---- measuring ---------------------------------------------------------------------------------------------------

    def is_due(self, step: int, *, total: int) -> bool:
        """Whether step `step` of `total` ends with a measurement that has not been made: 0 is before the first one."""
        every = self.settings.eval_every
        return self.measured < step and (step in (0, total) or bool(every and step % every == 0))

    def measure(self, step: int) -> None:
        """Answer the watched prompts, write that down, and keep the weights where they are the best so far.

        Raises Stopped and Halted, with nothing changed.
        """
        with self.average.applied(adapters.trainable(self.networks.policy)):
            answers = of_policy(
                self.practice, networks=self.networks, seed=self.settings.seed * 2**32 + SEEDS, stop=self.training.stop
            )
        raw = self.rewards.judged(answers.answered)
        if step == 0 and self.settings.reward_normalise != "none":
            self.scale = float(raw.scores.double().std(correction=0)) or 1.0
        measures = self._measures(answers, raw)
        if not self.start:
            self.start = measures
        self.measured = step
        self._write(step, answers, raw)
        if self.is_held_out:
            self.latest = measures
            self.training.run.log(step, **measures)
            if step:
                self._judge(step, measures)
        if processes.is_main():
            write_text(self.training.run.frontier, reward_kl_plot.svg(reward_kl_plot.read(self.training.run.metrics)))

    def _measures(self, answers: Answers, raw: Raw) -> dict[str, float]:
        worth = self.rewards.worth(answers.answered, raw, scale=self.scale)
        found = answers.answered
        return {
            "eval_score": raw.scores.mean().item(),
            "eval_reward": worth.mean().item(),
            "eval_kl": answers.kl.mean().item(),
            "eval_length": sum(len(answer.ids) for answer in found) / len(found),
            "eval_eos_rate": sum(answer.ended for answer in found) / len(found),
        }

    def _judge(self, step: int, measures: Mapping[str, float]) -> None:
        """Keep the weights where they earn most, within the ceiling; notice where they have not for too long."""
        best, ceiling = self.training.best, self.settings.max_kl
        is_within = not ceiling or measures["eval_kl"] <= ceiling
        lost = -measures["eval_reward"]
        if not is_within:
            best.stale += 1
        else:
            is_best = best.update({**measures, "lost": lost}, by="lost", step=step)
            if is_best and self.settings.load_best_at_end and processes.is_main():
                best.save(self.training.run.checkpoints, {"policy": self._weights()})
        self.trip = self.trip or self.guards.of_measurements(best.stale, settings=self.settings)

    def _write(self, step: int, answers: Answers, raw: Raw) -> None:
        """A line a watched prompt: what it was answered, and how good and how likely that is."""
        if not processes.is_main():
            return
        numbers = zip(
            raw.scores.tolist(), answers.log_probs.tolist(), answers.reference_log_probs.tolist(), strict=True
        )
        with self.training.run.samples.open("a", encoding="utf-8") as file:
            for answer, (score, log_prob, reference) in zip(answers.answered, numbers, strict=True):
                row = {
                    "step": step,
                    "episodes": min(step * self.settings.batch_size, self.settings.episodes),
                    "id": answer.prompt.id,
                    "prompt": list(answer.prompt.messages),
                    "response": answer.text,
                    "finish_reason": "stop" if answer.ended else "length",
                    "score": score,
                    "logprob": log_prob,
                    "reference_logprob": reference,
                    "held_out": self.is_held_out,
                }
                file.write(json_lines.line(row))

    # ---- guarding ----------------------------------------------------------------------------------------------------

    def passes(self, metrics: Mapping[str, float], scores: torch.Tensor) -> bool:
        """Whether the policy that gave a phase's answers should learn from them; its weights are then good ones."""
        self.trip = self.guards.of_phase(metrics, scores, settings=self.settings)
        if self.trip is None:
            self.good = {name: weight.detach().clone() for name, weight in self._weights().items()}
        return self.trip is None

    def _weights(self) -> Mapping[str, torch.Tensor]:
        """The policy's weights as they would be saved, fp32."""
        return self.average.average or self.training.optimizers["policy"].weights()

    # ---- the end -----------------------------------------------------------------------------------------------------

    def take(self) -> dict[str, Any]:
        """Put the weights that become the model into the policy; what they measured, and why the run ended early.

        The best ones by held-out reward; where nothing chose, the last ones, or after a guard the last good ones.
        """
        best = self.training.best
        chosen, measures = self._weights(), dict(self.latest)
        if best.step and self.settings.load_best_at_end:
            distributed.wait()  # the first process writes them
            chosen = best.load(self.training.run.checkpoints).tensors("policy")
            measures = {name: value for name, value in best.measures.items() if name != "lost"}
            measures["best_step"] = best.step
        elif self.trip is not None and self.trip.setting != "patience" and self.good:
            chosen, measures = self.good, {}
        self.training.optimizers["policy"].load_weights({name: weight.clone() for name, weight in chosen.items()})
        start = {f"{name}_start": self.start[name] for name in ("eval_score", "eval_reward") if self.latest}
        trip = {"stopped_early": self.trip.reason, "stopped_by": self.trip.setting} if self.trip else {}
        return {**start, **measures, "stopped_early": None, **trip}

    # ---- resuming ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "guards": self.guards.state(),
            "measured": self.measured,
            "start": self.start,
            "latest": self.latest,
            "scale": self.scale,
        }

    def groups(self) -> dict[str, dict[str, torch.Tensor]]:
        """For a checkpoint: {"good": named tensors}, or nothing."""
        return {"good": self.good} if self.good else {}

    def restore(self, state: Mapping[str, Any], good: Mapping[str, torch.Tensor]) -> None:
        """Go on from a checkpoint; an empty state is a fresh start, whose files begin anew."""
        if not state:
            self.training.run.rewind(-1)
            return
        self.guards = Guards.of(state["guards"])
        self.measured, self.start, self.latest = state["measured"], state["start"], state["latest"]
        self.scale = state["scale"]
        self.good = {name: weight.to(self.networks.device) for name, weight in good.items()}
        self.trip = self.guards.of_measurements(self.training.best.stale, settings=self.settings)
