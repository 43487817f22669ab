"""Improve a policy by PPO against a reward, with a KL penalty that holds it near its reference.

This is the PPO of Ziegler et al. 2019, Stiennon et al. 2020 and InstructGPT (Ouyang et al. 2022, section 3.5); with a
--ptx text it is PPO-ptx, and RLOO and GRPO run in the same loop. An episode is one response: its tokens are the
actions, the score arrives at its last token, and every token pays for leaving the reference. A step of the run is a
phase: sample `batch_size` episodes, score them, work out their advantages, then learn from them in `minibatches`
updates, `ppo_epochs` times over. docs/ppo.md has the equations and the memory plans.

    python -m models_core ppo --model SFT --reward RM --data prompts.jsonl --out RUN
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from models_core.contract import records
from models_core.contract.errors import Diverged
from models_core.contract.reward_names import Kind, kind_of
from models_core.contract.settings import PPOConfig
from models_core.contract.stopping import StopSignal
from models_core.modeling import adapters, loading
from models_core.rl import evaluation_rewards, evaluation_split, prompts, rollouts, trajectories
from models_core.rl.actor_critic import Networks
from models_core.rl.advantages import KLController
from models_core.rl.early_stopping import Trip
from models_core.rl.evaluation import Watch
from models_core.rl.ptx import MixedText
from models_core.rl.rewards.pipeline import Rewards, source_of
from models_core.rl.rollout_logprobs import Sampler
from models_core.rl.update import learn
from models_core.training.ema import MovingAverage
from models_core.training.loop import Training

ADAM_EPS = 1e-5
"""As in OpenAI's code; 1e-8 makes the first updates larger (Huang et al. 2024, the N implementation details)."""


def train(
    settings: PPOConfig,
    *,
    model: str,
    reward: str,
    data: str | Path,
    out: str | Path,
    evaluation: str | Path | None = None,
    reference: str | None = None,
    ptx: str | Path | None = None,
    device: torch.device,
    stop: StopSignal,
    resume: bool = False,
) -> dict[str, Any]:
    """Train a policy on prompts, leave it in OUT/model, and return what result.json says of it.

    `evaluation` holds prompts to measure on (by default a part of those in `data`), `reference` (by default the model
    itself) is what the KL is measured against. Raises BadInput, Stopped, Diverged, and Halted where the reward's source
    cannot be asked.
    """
    # 0. Read the prompts that the reward model has not learned from, and load the networks.
    given: list[records.Prompt] = records.read(data, "prompts")
    reference = reference or model
    rewards_by = loading.several(reward) if kind_of(reward) == Kind.MODELS else []
    training = Training(
        out=out,
        stage="ppo",
        settings=settings,
        models={"model": model, "reference": reference, "reward": reward},
        data={"prompts": Path(data)}
        | ({"evaluation": Path(evaluation)} if evaluation is not None else {})
        | ({"ptx": Path(ptx)} if ptx is not None else {}),
        device=device,
        stop=stop,
        resume=resume,
    )
    measured_on = records.read(evaluation, "prompts") if evaluation is not None else None
    new, seen = prompts.unseen(given, rewards=rewards_by, settings=settings)
    if measured_on is not None:
        measured_on = prompts.measurable(measured_on, rewards=rewards_by, settings=settings)
    parts = evaluation_split.split(new, settings=settings, evaluation=measured_on)
    networks = Networks.load(
        settings, model=model, reference=reference, rewards=rewards_by, device=device, dtype=training.dtype
    )
    practice = prompts.encoded(parts.training, policy=networks.policy, tokenizer=networks.tokenizer, settings=settings)
    watched = prompts.encoded(parts.watched, policy=networks.policy, tokenizer=networks.tokenizer, settings=settings)
    plan = prompts.phases(len(practice.prompts), settings=settings)
    max_length = min(settings.max_length, loading.context_length(networks.policy))
    text = (
        MixedText.read(ptx, networks.tokenizer, settings=settings, max_length=max_length) if ptx is not None else None
    )
    rewards = Rewards(
        source_of(reward, opinions=networks.opinions, settings=settings, stop=stop),
        settings=settings,
        baseline=partial(evaluation_rewards.of_reference, networks=networks, stop=stop),
        baseline_file=training.run.baseline,
    )
    rewards.rehearse(practice.prompts)
    networks.judges.check_templates(prompt.messages for prompt in [*practice.prompts, *watched.prompts])

    for name, (network, weights) in networks.learning.items():
        training.optimizer(name, network, learning_rate=settings.learning_rate, eps=ADAM_EPS, weights=weights)
    done, state = training.restore()
    rewards.restore(state.get("rewards", {}))
    controller = KLController(
        coef=state.get("kl_coef", settings.kl_coef), target=settings.kl_target or None, horizon=settings.kl_horizon
    )
    # Where the model's own weights learn, the average would be one more copy of them.
    average = MovingAverage(
        training.optimizers["policy"].masters, decay=settings.ema_decay if adapters.keeps_base(settings.method) else 0
    )
    average.restore(training.saved_tensors("average"), updates=state.get("averaged", 0))
    watch = Watch(
        watched,
        is_held_out=parts.is_held_out,
        training=training,
        networks=networks,
        rewards=rewards,
        average=average,
    )
    watch.restore(state.get("watch", {}), training.saved_tensors("good"))
    sampler = Sampler(networks, state.get("sampler", {}))
    latest: dict[str, float] = state.get("latest", {})
    step, total = done, len(plan)
    training.run.progress(done, total)

    def resumable() -> dict[str, Any]:
        """What a checkpoint holds beside the optimizers, as it is now."""
        state = {
            "kl_coef": controller.coef,
            "averaged": average.updates,
            "rewards": rewards.state(),
            "watch": watch.state(),
            "sampler": sampler.state(),
            "latest": latest,
        }
        return {"total": total, "state": state, "tensors": average.groups() | watch.groups()}

    def measure() -> None:
        if watch.is_due(step, total=total):
            with training.after(step, **resumable()):
                watch.measure(step)

    measure()
    for step, rows in enumerate(plan[done:], start=done + 1):
        if watch.trip is not None:
            step -= 1
            break
        with training.step(step, **resumable()):
            # 1. Sample. A phase cut short by a stop is thrown away: the same seeds will sample it again.
            sampled = rollouts.answers(networks, practice, rows, seed=settings.seed * 2**32 + step, stop=stop)

            # 2. Score.
            scored = rewards.score(sampled, step=step)

            # 3. Advantages: what each token gained.
            phase = trajectories.measure(
                [answer.group for answer in sampled],
                scored.total,
                rollouts.ended(sampled),
                networks=networks,
                kl_coef=controller.coef,
                samples=settings.group_size,
                told=sampler.told(sampled),
            )
            stop.check()
            latest = scored.metrics | phase.metrics | sampler.test(sampled, phase)
            if not watch.passes(latest, scored.raw.scores):
                training.run.log(step, **latest, kl_coef=controller.coef)
                break

            # 4. Optimise.
            try:
                learned = learn(
                    phase,
                    training=training,
                    networks=networks,
                    text=text,
                    step=step,
                    steps=total,
                    kl_coef=controller.coef,
                    sampler=sampler,
                )
            except Diverged as error:
                if step == 1:
                    raise
                watch.trip = Trip("diverged", str(error))  # the weights that gave this phase's answers were good
                training.run.log(step, **latest, kl_coef=controller.coef)
                break
            average.update()

        # 5. Measure: note what happened, steer the penalty, look at held-out prompts.
        latest |= learned
        training.run.log(step, **latest, kl_coef=controller.coef)
        controller.update(kl=latest["kl"], episodes=len(sampled))
        measure()

        # 6. Save.
        training.between_steps(step, **resumable())

    count = settings.group_size * sum(map(len, plan[:step]))
    metrics = {
        **latest,
        "episodes": count,
        "prompts": len(practice.prompts),
        "reward_train_overlap": seen,
        **practice.counts,
        **watch.take(),
        "trained_parameters": adapters.trainable_parameters(networks.policy),
        "precision": training.precision,
        "sampler_log_probs": "reused" if sampler.is_trusted else "recomputed",
        "seconds": training.seconds,
        "episodes_per_s": count / training.seconds,
    }
    training.store_learned_weights()
    loading.save_policy(training.run.model, networks.finished_policy(), networks.tokenizer)
    return training.finish(metrics)
