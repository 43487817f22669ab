"""Train a policy by PPO against a reward, with a KL penalty towards its reference model.

This is the PPO of Ziegler et al. 2019, Stiennon et al. 2020 and InstructGPT (Ouyang et al. 2022, section 3.5); with a
--ptx text it is PPO-ptx, and RLOO and GRPO share the loop. An episode is one response: its tokens are the actions, the
score arrives at the last token, and every token has a KL penalty. A step of the run is a rollout iteration: sample
`batch_size` episodes, score them, compute their advantages, then update from them in `minibatches` minibatches,
`ppo_epochs` times. docs/ppo.md has the equations and the memory plans.

    python -m models_core ppo --model SFT --reward RM --data prompts.jsonl --out RUN
"""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models_core.contract.errors import Diverged
from models_core.contract.reports.reward_names import Kind, kind_of
from models_core.contract.rows import row_parser
from models_core.contract.rows.records import Prompt
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import PPOConfig
from models_core.modeling import adapters, loading
from models_core.rl import prompts
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.advantages import KLController
from models_core.rl.early_stopping import StopReason
from models_core.rl.evaluation import Evaluator
from models_core.rl.ptx import PtxText
from models_core.rl.rewards.pipeline import RewardPipeline, make_source
from models_core.rl.rollout_logprobs import RolloutLogprobCheck
from models_core.rl.rollout_server.sampler import RolloutSampler
from models_core.rl.rollouts import ended_by_eos, sample_reference
from models_core.rl.state import PPOState
from models_core.rl.trajectories import Trajectories, compute_advantages
from models_core.rl.update import ppo_update
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
    """Train a policy on prompts, save it in OUT/model, and return the metrics of result.json.

    `evaluation`: prompts to evaluate on (default: a part of `data`); `reference`: the model that the KL is measured
    against (default: `model`). Raises BadInput, Stopped, Diverged, and Halted where the reward source fails.
    """
    # 1. Read the prompts that the reward model was not trained on.
    reference = reference or model
    reward_models = loading.several(reward) if kind_of(reward) == Kind.MODELS else []
    given: list[Prompt] = row_parser.read(data, "prompts")
    files = {"prompts": data, "evaluation": evaluation, "ptx": ptx}
    training = Training(
        out=out,
        stage="ppo",
        settings=settings,
        models={"model": model, "reference": reference, "reward": reward},
        data={name: Path(path) for name, path in files.items() if path is not None},
        device=device,
        stop=stop,
        resume=resume,
    )
    split, seen = read_prompts(given, evaluation=evaluation, rewards=reward_models, settings=settings)

    # 2. Load the models, and turn the prompts into tokens.
    actor_critic = ActorCritic.load(
        settings,
        model=model,
        reference=reference,
        rewards=reward_models,
        device=device,
        loading_device=training.loading_device,
        dtype=training.dtype,
        shard=training.shard,
    )
    policy, tokenizer = actor_critic.policy, actor_critic.tokenizer
    encode = partial(prompts.encode, policy=policy, tokenizer=tokenizer, settings=settings)
    train_prompts, eval_prompts = encode(split.training), encode(split.evaluation)
    plan = prompts.rollout_batches(len(train_prompts.prompts), settings=settings)
    sampler = RolloutSampler(actor_critic, train_prompts, plan, run=training.run.path, stop=stop)
    max_length = min(settings.max_length, loading.context_length(policy))
    text = None if ptx is None else PtxText.read(ptx, tokenizer, settings=settings, max_length=max_length)
    rewards = RewardPipeline(
        make_source(reward, reward_models=actor_critic.rewards, settings=settings, stop=stop),
        settings=settings,
        sample_reference=partial(sample_reference, actor_critic=actor_critic, stop=stop),
        baseline_file=training.run.baseline,
    )
    rewards.smoke_test(train_prompts.prompts)
    every_prompt = [*train_prompts.prompts, *eval_prompts.prompts]
    actor_critic.rewards.check_templates(prompt.messages for prompt in every_prompt)

    # 3. Make the optimizers and the state of the run, or restore them.
    for name, (network, weights) in actor_critic.trained_weights.items():
        training.optimizer(name, network, learning_rate=settings.learning_rate, eps=ADAM_EPS, weights=weights)
    done, saved = training.restore()
    # Where the base weights are trained, a moving average would be one more copy of them.
    average = MovingAverage(
        training.optimizers["policy"], decay=settings.ema_decay if adapters.keeps_base(settings.method) else 0
    )
    evaluator = Evaluator(
        eval_prompts,
        is_held_out=split.is_held_out,
        training=training,
        actor_critic=actor_critic,
        rewards=rewards,
        average=average,
        sampler=sampler,
    )
    state = PPOState(
        total=len(plan),
        kl_controller=KLController(settings.kl_coef, target=settings.kl_target or None, horizon=settings.kl_horizon),
        average=average,
        rewards=rewards,
        evaluator=evaluator,
        logprob_check=RolloutLogprobCheck(actor_critic),
        sampler=sampler,
    )
    if saved:
        groups = {name: training.saved_tensors(name) for name in ("average", "good")}
        state.load_state_dict(saved, groups, step=done)
    else:
        training.run.rewind(-1)  # drop the evaluation before the first step too: it is made again
    training.run.progress(state.step, state.total)

    # 4. Train. A rollout iteration that a stop interrupts is dropped: the same seeds sample it again.
    with closing(sampler):
        evaluate(state, training)
        while not state.is_finished:
            iterate(state, training=training, actor_critic=actor_critic, text=text)

    # 5. Choose the weights and save them.
    episodes = settings.group_size * sum(map(len, plan[: state.step]))
    metrics = {
        **state.metrics,
        "episodes": episodes,
        "prompts": len(train_prompts.prompts),
        "reward_train_overlap": seen,
        **train_prompts.counts,
        **evaluator.load_final_weights(),
        "trained_parameters": adapters.trainable_parameters(policy),
        "precision": training.precision,
        "sampler_log_probs": "reused" if state.logprob_check.enabled else "recomputed",
        **sampler.finish(),
        "seconds": training.seconds,
        "episodes_per_s": episodes / training.seconds,
    }
    training.store_learned_weights()
    finished = actor_critic.finished_policy()
    training.gather(finished)
    loading.save_policy(training.run.model, finished, tokenizer)
    return training.finish(metrics)


def read_prompts(
    given: Sequence[Prompt], *, evaluation: str | Path | None, rewards: Sequence[str], settings: PPOConfig
) -> tuple[prompts.PromptSplit, int]:
    """Training and evaluation prompts that no reward model was trained on, and how many of `given` one was."""
    eval_prompts = None if evaluation is None else row_parser.read(evaluation, "prompts")
    new, seen = prompts.drop_trained(given, rewards=rewards, settings=settings)
    if eval_prompts is not None:
        eval_prompts = prompts.drop_trained_from_evaluation(eval_prompts, rewards=rewards, settings=settings)
    return prompts.split(new, settings=settings, evaluation=eval_prompts), seen


def evaluate(state: PPOState, training: Training) -> None:
    """Evaluate the policy where it is due; a stop meanwhile saves the step before."""
    if state.evaluator.is_due(state.step, total=state.total):
        with training.after(state.step, **state.checkpoint()):
            state.evaluator.evaluate(state.step)


def iterate(state: PPOState, *, training: Training, actor_critic: ActorCritic, text: PtxText | None) -> None:
    """One rollout iteration: sample, score, compute advantages, update, evaluate. Raises Stopped, Halted, Diverged."""
    step, settings, evaluator = state.step + 1, actor_critic.settings, state.evaluator
    with training.step(step, **state.checkpoint()):
        rollouts = state.sampler.rollouts(step)
        completions = rollouts.completions
        check = None if rollouts.is_served else state.logprob_check
        state.sampler.begin_next(step + 1)
        shaped = state.rewards.shaped_rewards(completions, step=step)
        trajectories = compute_advantages(
            [item.group for item in completions],
            shaped.total,
            ended_by_eos(completions),
            actor_critic=actor_critic,
            kl_coef=state.kl_controller.coef,
            group_size=settings.group_size,
            reused=rollouts.reused if check is None else check.reused_logprobs(completions),
            behaviour=rollouts.behaviour,
        )
        training.stop.check()
        first_check = {} if check is None else check.first_check(completions, trajectories)
        state.metrics = shaped.metrics | trajectories.metrics | rollouts.metrics | first_check
        if evaluator.accepts(state.metrics, shaped.raw.scores):
            update(state, trajectories, check, step=step, training=training, actor_critic=actor_critic, text=text)
    state.step = step
    training.run.log(step, **state.metrics, kl_coef=state.kl_controller.coef)
    if evaluator.stop_reason is None:
        state.kl_controller.update(kl=state.metrics["kl"], episodes=len(completions))
        if settings.rollouts_ahead:
            with training.after(step, **state.checkpoint()):
                state.sampler.collect()
        evaluate(state, training)
        training.between_steps(step, **state.checkpoint())


def update(
    state: PPOState,
    trajectories: Trajectories,
    logprob_check: RolloutLogprobCheck | None,
    *,
    step: int,
    training: Training,
    actor_critic: ActorCritic,
    text: PtxText | None,
) -> None:
    """Update policy and value model from one iteration's trajectories; `logprob_check`: of this process's sampler.

    A divergence ends the run with the weights that sampled them. Raises Diverged in the first step, where there are no
    weights to keep.
    """
    try:
        state.metrics |= ppo_update(
            trajectories,
            training=training,
            actor_critic=actor_critic,
            text=text,
            step=step,
            steps=state.total,
            kl_coef=state.kl_controller.coef,
            logprob_check=logprob_check,
        )
    except Diverged as error:
        if step == 1:
            raise
        state.stop(StopReason("diverged", str(error)))
    else:
        state.average.update()
