"""Improve a policy by PPO against a reward model, with a KL penalty that holds it near its reference.

This is the PPO of Ziegler et al. 2019, Stiennon et al. 2020 and InstructGPT (Ouyang et al. 2022, section 3.5); with a
--ptx text it is PPO-ptx. An episode is one response: its tokens are the actions, the score arrives at its last token,
and every token pays for leaving the reference. A step of the run is a rollout phase: sample `batch_size` episodes,
measure them, then learn from them in `minibatches` updates, `ppo_epochs` times over. Left out: choosing a checkpoint by
held-out reward; every phase's score and KL are in metrics.jsonl.

    python -m models_core ppo --model SFT --reward RM --data prompts.jsonl --out RUN
"""

import math
from pathlib import Path
from typing import Any

import torch

from models_core import chat, language_models, methods, records, rollout, schedule
from models_core.averaging import WeightAverage
from models_core.batching import epoch_order, micro_batches, minibatches
from models_core.config import BadInput, PPOConfig
from models_core.losses import policy_loss, value_loss
from models_core.packing import Group, pack
from models_core.policies import episodes
from models_core.policies.advantages import KLController
from models_core.policies.episodes import Episodes
from models_core.policies.networks import Networks
from models_core.policies.ptx import PretrainingText
from models_core.records import Prompt
from models_core.stopping import StopSignal
from models_core.training import Diverged, Training

ADAM_EPS = 1e-5
"""As in OpenAI's code; 1e-8 makes the first updates larger (Huang et al. 2024, the N implementation details)."""


def train(
    settings: PPOConfig,
    *,
    model: str,
    reward: str,
    data: str | Path,
    out: str | Path,
    reference: str | None = None,
    ptx: str | Path | None = None,
    device: torch.device,
    stop: StopSignal,
    resume: bool = False,
) -> dict[str, Any]:
    """Train a policy on prompts, leave it in OUT/model, and return what result.json says of it.

    `reference` (by default the model itself) is what the KL is measured against. Raises BadInput, Stopped, Diverged.
    """
    # 1. Read the prompts, load the four networks.
    prompts: list[Prompt] = records.read(data, "prompts")
    reference = reference or model
    training = Training(
        out=out,
        stage="ppo",
        settings=settings,
        models={"model": model, "reference": reference, "reward": reward},
        data={"prompts": Path(data)} | ({"ptx": Path(ptx)} if ptx is not None else {}),
        device=device,
        stop=stop,
        resume=resume,
    )
    networks = Networks.load(
        settings, model=model, reference=reference, reward=reward, device=device, dtype=training.dtype
    )
    prompt_ids = encode_prompts(prompts, networks=networks, settings=settings)
    text = PretrainingText.read(ptx, networks.tokenizer, seed=settings.seed) if ptx is not None else None

    # 2. One optimizer for the policy, one for the value model: a large value loss must not scale the policy's step.
    for name, network in (("policy", networks.policy), ("value", networks.value)):
        training.optimizer(name, network, learning_rate=settings.learning_rate, eps=ADAM_EPS)
    done, state = training.restore()
    controller = KLController(
        coef=state.get("kl_coef", settings.kl_coef), target=settings.kl_target or None, horizon=settings.kl_horizon
    )
    # Where the model's own weights learn, the average would be one more copy of them.
    average = WeightAverage(
        training.optimizers["policy"].masters, decay=settings.ema if methods.keeps_base(settings.method) else 0
    )
    average.restore(training.saved_tensors("average"), updates=state.get("averaged", 0))

    plan = episode_plan(len(prompts), settings=settings)
    latest: dict[str, float] = state.get("latest", {})
    step, broken = done, None

    def resumable() -> dict[str, Any]:
        return {"kl_coef": controller.coef, "averaged": average.updates, "latest": latest}

    for step, rows in enumerate(plan[done:], start=done + 1):
        with training.step(step, total=len(plan), state=resumable(), tensors=average.groups()):
            # 3. Sample one response to each prompt of this phase. A rollout cut short by a stop is thrown away: the
            #    same seeds will sample it again.
            with methods.merged_for_sampling(networks.policy):
                sampled = rollout.sample(
                    networks.policy,
                    [prompt_ids[row] for row in rows],
                    samples=1,
                    max_new_tokens=settings.max_new_tokens,
                    temperature=settings.temperature,
                    stop_ids=networks.stop_ids,
                    seed=settings.seed * 2**32 + step,
                    batch_size=settings.batch_size,
                    stop=stop,
                )
            groups = [Group(prompt_ids[row], [answer.ids]) for row, (answer,) in zip(rows, sampled, strict=True)]
            ended = torch.tensor([answer.finish_reason == "stop" for (answer,) in sampled], device=device)

            # 4. Score the episodes and work out what each token gained.
            opinions = networks.opinions(groups, [prompts[row].messages for row in rows])
            phase = episodes.measure(groups, opinions, ended, networks=networks, kl_coef=controller.coef)
            stop.check()

            # 5. Learn: policy and value model, on the same minibatches.
            latest = phase.metrics | learn(phase, training=training, networks=networks, text=text, step=step, plan=plan)
            average.update()

        # 6. Note what happened, steer the penalty, stop where it makes no sense to go on.
        training.run.log(step, **latest, kl_coef=controller.coef)
        controller.update(kl=latest["kl"], episodes=len(rows))
        training.between_steps(step, total=len(plan), state=resumable(), tensors=average.groups())
        broken = broken_guard(latest, settings)
        if broken is not None:
            break

    # 7. Save the averaged policy.
    metrics = {
        **latest,
        "episodes": sum(map(len, plan[:step])),
        "stopped_early": broken,
        "trained_parameters": methods.trainable_parameters(networks.policy),
        "precision": training.precision,
        "seconds": training.seconds,
        "episodes_per_s": sum(map(len, plan[:step])) / training.seconds,
    }
    training.take_best()  # no held-out measure chooses here: the last weights stay, in fp32
    average.apply(methods.trainable(networks.policy))
    language_models.save_policy(training.run.model, methods.settled(networks.policy), networks.tokenizer)
    return training.finish(metrics)


def encode_prompts(prompts: list[Prompt], *, networks: Networks, settings: PPOConfig) -> list[list[int]]:
    """Every prompt as token ids, cut from the left so that a whole response fits behind it. Raises BadInput."""
    longest = min(settings.max_length, language_models.context_length(networks.policy)) - settings.max_new_tokens
    if longest < 1:
        raise BadInput("max_new_tokens leaves no room for a prompt: it must be less than max_length.")
    return [chat.encode_prompt(networks.tokenizer, prompt.messages, max_tokens=longest) for prompt in prompts]


def episode_plan(prompts: int, *, settings: PPOConfig) -> list[list[int]]:
    """Prompt numbers of every rollout phase: shuffled passes over the prompts until there are enough episodes."""
    passes = range(math.ceil(settings.episodes / prompts))
    endless = [row for epoch in passes for row in epoch_order(prompts, epoch=epoch, seed=settings.seed)]
    wanted = endless[: settings.episodes]
    return [wanted[start : start + settings.batch_size] for start in range(0, len(wanted), settings.batch_size)]


def learn(
    phase: Episodes,
    *,
    training: Training,
    networks: Networks,
    text: PretrainingText | None,
    step: int,
    plan: list[list[int]],
) -> dict[str, float]:
    """All updates of one phase; returns their mean metrics, and how far the first minibatch's ratios were from 1.

    Losses are divided by the token count of the minibatch, so the cut into micro-batches changes nothing. With --ptx
    the gradient of the language-model loss joins PPO's before the one optimizer step (Ouyang et al. 2022, equation 2).
    """
    settings = networks.settings
    count = len(phase.groups)
    size = math.ceil(count / settings.minibatches)
    rate = schedule.rate(step - 1, steps=len(plan), peak=settings.learning_rate, warmup=settings.warmup, decay=False)
    updates = minibatches(count, size=size, epochs=settings.ppo_epochs, seed=settings.seed * 2**32 + step)
    sums: dict[str, float] = dict.fromkeys(("policy_loss", "value_loss", "clip_fraction", "approx_kl"), 0.0)
    ptx_loss, first_ratio_error, norm = 0.0, 0.0, 0.0
    for number, minibatch in enumerate(updates):
        tokens = int(phase.mask[torch.tensor(minibatch, device=phase.mask.device)].sum())
        lengths = [phase.groups[row].tokens for row in minibatch]
        for micro in micro_batches(lengths, budget=settings.micro_batch_tokens):
            rows = [minibatch[position] for position in micro]
            packed = pack([phase.groups[row] for row in rows], device=networks.device)

            log_probs = networks.log_probs(packed)
            old_log_probs = phase.tokens(rows, phase.log_probs)
            policy = policy_loss(
                log_probs, old_log_probs, phase.tokens(rows, phase.advantages), clip_range=settings.clip_range
            )
            (policy.loss / tokens).backward()

            value = value_loss(
                networks.values(packed),
                phase.tokens(rows, phase.values),
                phase.tokens(rows, phase.returns),
                clip_range=settings.value_clip_range,
            )
            (settings.vf_coef * value.loss / tokens).backward()

            share = 1 / (tokens * len(updates))
            sums["policy_loss"] += policy.loss.item() * share
            sums["value_loss"] += value.loss.item() * share
            sums["clip_fraction"] += policy.clipped.item() * share
            sums["approx_kl"] += policy.approx_kl.item() * share
            if number == 0:
                error = (log_probs.detach() - old_log_probs).exp().sub(1).abs().max().item()
                first_ratio_error = max(first_ratio_error, error)
        if text is not None and settings.ptx_coef > 0:
            start = ((step - 1) * settings.ppo_epochs * settings.batch_size) + number * size
            ptx_loss += add_ptx_gradient(networks, text.take(start, len(minibatch)), settings=settings) / len(updates)
        norm += training.update("policy", learning_rate=rate) / len(updates)
        training.update("value", learning_rate=rate)
    if not math.isfinite(sums["policy_loss"]):
        raise Diverged("The policy's loss is not a finite number: training diverged. Try a smaller learning_rate.")
    measured = sums | {"first_ratio_error": first_ratio_error, "gradient_norm": norm, "learning_rate": rate}
    return measured | ({"ptx_loss": ptx_loss} if text is not None else {})


def add_ptx_gradient(networks: Networks, windows: list[Group], *, settings: PPOConfig) -> float:
    """Add ptx_coef times the gradient of the mean next-token loss over windows of text; returns that loss.

    At temperature 1, whatever the policy is sampled with: this is a model of text.
    """
    tokens = sum(len(window.responses[0]) for window in windows)
    total = 0.0
    for batch in micro_batches([window.tokens for window in windows], budget=settings.micro_batch_tokens):
        packed = pack([windows[position] for position in batch], device=networks.device)
        loss = -networks.log_probs(packed, temperature=1.0).sum() / tokens
        (settings.ptx_coef * loss).backward()
        total += loss.item()
    return total


def broken_guard(metrics: dict[str, float], settings: PPOConfig) -> str | None:
    """Why the run should end here, in words, or None: past these bounds a policy only games its reward model."""
    if not math.isfinite(metrics["score"]):
        raise Diverged("The reward model gave a score that is not a finite number.")
    if settings.kl_ceiling and metrics["kl"] > settings.kl_ceiling:
        return f"KL to the reference {metrics['kl']:.1f} above kl_ceiling"
    if settings.min_entropy and metrics["entropy"] < settings.min_entropy:
        return f"entropy {metrics['entropy']:.3f} below min_entropy"
    if settings.min_length and metrics["length"] < settings.min_length:
        return f"mean length {metrics['length']:.1f} tokens below min_length"
    return None
