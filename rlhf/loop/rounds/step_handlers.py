"""The steps of a round: what each waits for, how it begins, and what follows where it is skipped.

`HANDLERS` and `SKIP` are called in a transaction of rlhf.loop.loop, with the round locked.
"""

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import snapshots
from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import Project, Snapshot, User
from rlhf.human_evaluation import evaluations
from rlhf.loop import active_learning, sampling, versions
from rlhf.loop.rounds import gates, new_data, sampling_mix, transitions
from rlhf.models import HumanEvaluation, Iteration, LoopSettings, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import runs

Step = Iteration.Step
State = Iteration.State
Role = RunInput.Role
STAGE_OF = {Step.SFT: Stage.SFT, Step.REWARD: Stage.REWARD, Step.PPO: Stage.PPO, Step.SAMPLE: Stage.SAMPLE}


# What a step waits for, and the step that it then begins.


def _while_waiting(iteration: Iteration) -> None:
    if new_data.new_judgments(iteration.project) >= iteration.judgments_wanted:
        freeze(iteration)


def _after_snapshot(iteration: Iteration) -> None:
    snapshot = iteration.snapshot
    if snapshot is None or snapshot.state in (Snapshot.State.PENDING, Snapshot.State.BUILDING):
        return
    if snapshot.state == Snapshot.State.FAILED:
        reason = StoredMessage("snapshot_failed", {"error": snapshot.failure or snapshot.error})
        raise transitions.RoundEnded(State.FAILED, reason)
    iteration.numbers |= {"judgments": snapshot.rows}
    wanted = LoopSettings.of(iteration.project).sft_demonstrations
    num_new = new_data.new_demonstrations(iteration.project) if wanted else 0
    if wanted and num_new >= wanted:
        iteration.numbers |= {"demonstrations": num_new}
        _begin_sft(iteration)
    else:
        _begin_reward(iteration)


def _after_sft(iteration: Iteration) -> None:
    run = _ended_run(iteration, Stage.SFT)
    if run is not None and run.produced is not None:
        iteration.sft_version = run.produced
        _begin_reward(iteration)


def _after_reward(iteration: Iteration) -> None:
    run = _ended_run(iteration, Stage.REWARD)
    if run is None or run.produced is None:
        return
    settings = LoopSettings.of(iteration.project)
    newest = gates.newest_accuracy(run)
    iteration.numbers |= {"reward_accuracy": run.result.get("accuracy"), "newest_accuracy": newest}
    gates.check(iteration, settings, "reward_accuracy", run.result.get("accuracy"))
    gates.check(iteration, settings, "newest_accuracy", newest)
    gates.check_report(iteration, settings, run)
    transitions.move(iteration, to=Step.PPO, reward_version=run.produced)
    versions.promote(run.produced, by=iteration.started_by)
    # Before PPO, which takes long: meanwhile labelers work in the order of the new reward model.
    active_learning.start_if_due(iteration.project)
    _enqueue_ppo(iteration, reward=run.produced)


def _after_ppo(iteration: Iteration) -> None:
    run = _ended_run(iteration, Stage.PPO)
    if run is None or run.produced is None:
        return
    settings = LoopSettings.of(iteration.project)
    numbers = {name: run.result.get(name) for name in ("kl", "score", "reward", "length")}
    # Metrics of the weights that were kept, if they were evaluated: the last iteration's may be of other weights.
    kept = {name: run.result[f"eval_{name}"] for name in ("kl", "score", "length") if f"eval_{name}" in run.result}
    iteration.numbers |= numbers | kept
    for name in ("kl", "length"):
        gates.check(iteration, settings, name, iteration.numbers[name])
    iteration.policy_version = run.produced
    if gates.bound_of(settings, "win_rate") is not None:
        transitions.move(iteration, to=Step.EVALUATE, policy_version=run.produced)
    else:
        _begin_promotion(iteration)


def _while_evaluating(iteration: Iteration) -> None:
    """Start the evaluation once no other one is open, then wait for its end."""
    settings, evaluation = LoopSettings.of(iteration.project), iteration.evaluation
    policy = iteration.policy_version
    assert policy is not None  # as PPO left it
    if evaluation is None:
        if iteration.project.human_evaluations.filter(state__in=HumanEvaluation.OPEN).exists():
            return
        transitions.move(iteration, to=Step.EVALUATE, evaluation=_started_evaluation(iteration, policy, settings))
        return
    if evaluation.is_open:
        return
    if evaluation.state == HumanEvaluation.State.FAILED:
        reason = StoredMessage("round_evaluation_failed", {"error": evaluation.failure})
        raise transitions.RoundEnded(State.FAILED, reason)
    if evaluation.state == HumanEvaluation.State.CANCELLED:
        reason = StoredMessage("round_evaluation_cancelled", {"number": evaluation.number})
        raise transitions.RoundEnded(State.CANCELLED, reason)
    # Its bounds hold whenever one looks: it ended at a moment that its own judgments chose.
    pair = (evaluation.figures.get("pairs") or [{}])[0]
    iteration.numbers |= {"win_rate": pair.get("rate"), "win_rate_low": pair.get("anytime_low")}
    gates.check(iteration, settings, "win_rate", pair.get("anytime_low") if pair.get("tested") else None)
    _begin_promotion(iteration)


def _while_promoting(iteration: Iteration) -> None:
    if iteration.policy_version == versions.active_policy(iteration.project):
        _begin_sampling(iteration)


def _after_sample(iteration: Iteration) -> None:
    found = list(iteration.runs.filter(stage=Stage.SAMPLE).order_by("pk"))
    for run in found:
        _refuse_unsuccessful(run)
    if not found or not all(run.ended for run in found):
        return
    sums = {name: [run.result[name] for run in found if name in run.result] for name in ("responses", "tasks")}
    iteration.numbers |= {name: sum(values) if values else None for name, values in sums.items()}
    _finish(iteration)


HANDLERS: dict[Step, Callable[[Iteration], None]] = {
    Step.WAIT: _while_waiting,
    Step.SNAPSHOT: _after_snapshot,
    Step.SFT: _after_sft,
    Step.REWARD: _after_reward,
    Step.PPO: _after_ppo,
    Step.EVALUATE: _while_evaluating,
    Step.PROMOTE: _while_promoting,
    Step.SAMPLE: _after_sample,
}


# Each begins a step: one conditional update, and the row of the work to do, in the transaction of the caller.


def freeze(iteration: Iteration) -> None:
    aggregation = LoopSettings.of(iteration.project).aggregation
    frozen_at = timezone.now()
    snapshot = snapshots.request(
        project=iteration.project, kind=Snapshot.Kind.RANKINGS, by=iteration.started_by, aggregation=aggregation
    )
    transitions.move(iteration, to=Step.SNAPSHOT, snapshot=snapshot, frozen_at=frozen_at)


def _begin_sft(iteration: Iteration) -> None:
    transitions.move(iteration, to=Step.SFT)
    project = iteration.project
    snapshot = snapshots.request(project=project, kind=Snapshot.Kind.DEMONSTRATIONS, by=iteration.started_by)
    _enqueue(
        iteration,
        Stage.SFT,
        config=LoopSettings.of(project).sft_config,
        inputs={Role.MODEL: versions.before_sft(versions.reference(versions.active_policy(project)))},
        snapshot=snapshot,
    )


def _begin_reward(iteration: Iteration) -> None:
    transitions.move(iteration, to=Step.REWARD, sft_version=iteration.sft_version)
    project = iteration.project
    inputs: dict[str, ModelVersion] = {
        Role.MODEL: iteration.sft_version or versions.reference(versions.active_policy(project))
    }
    if (before := _reward_of_last_round(project)) is not None:
        inputs[Role.PREVIOUS] = before
    _enqueue(
        iteration,
        Stage.REWARD,
        config=active_learning.ensemble_settings(project) | LoopSettings.of(project).reward_config,
        inputs=inputs,
        snapshot=iteration.snapshot,
    )


def _enqueue_ppo(iteration: Iteration, *, reward: ModelVersion) -> None:
    policy = iteration.sft_version or versions.active_policy(iteration.project)
    _enqueue(
        iteration,
        Stage.PPO,
        config=LoopSettings.of(iteration.project).ppo_config,
        inputs={Role.MODEL: policy, Role.REFERENCE: versions.reference(policy), Role.REWARD: reward},
    )


def _begin_promotion(iteration: Iteration) -> None:
    policy = iteration.policy_version
    assert policy is not None  # as PPO left it
    if LoopSettings.of(iteration.project).promotion == LoopSettings.PromotionBy.HAND:
        transitions.move(iteration, to=Step.PROMOTE, policy_version=policy)
        return
    _begin_sampling(iteration, promoted=policy)


def _begin_sampling(iteration: Iteration, *, promoted: ModelVersion | None = None) -> None:
    """Queue a sampling run for each part of the mix, after the promotion of a policy if there is one."""
    transitions.move(iteration, to=Step.SAMPLE, policy_version=iteration.policy_version)
    if promoted is not None:
        versions.promote(promoted, by=iteration.started_by)
    project = iteration.project
    settings = LoopSettings.of(project)
    parts = sampling_mix.of_stored(settings.sampling_mix)
    counts = sampling_mix.allocated(parts, prompts=settings.prompts_per_round)
    for part, count in zip(parts, counts, strict=True):
        if count:
            temperature = {} if part.temperature is None else {"temperature": part.temperature}
            sampling.start(
                project=project,
                version=part.version.of(project),
                prompt_count=count,
                order=part.prompts,
                config=settings.sampling | temperature,
                iteration=iteration,
                by=iteration.started_by,
            )


def _finish(iteration: Iteration) -> None:
    """End the round well; a round that is to follow waits for new judgments."""
    transitions.move(iteration, to=Step.DONE, state=State.SUCCEEDED, finished_at=timezone.now())
    if iteration.rounds_left:
        transitions.create(
            iteration.project,
            rounds_left=iteration.rounds_left - 1,
            by=iteration.started_by,
            judgments_wanted=LoopSettings.of(iteration.project).judgments_per_round,
        )


def _without_reward(iteration: Iteration) -> None:
    reward = versions.active_reward(iteration.project)
    if reward is None:
        raise Refused(_("There is no reward model in use, so PPO needs the one of this step."))
    transitions.move(iteration, to=Step.PPO, reward_version=reward)
    _enqueue_ppo(iteration, reward=reward)


SKIP: dict[Step, Callable[[Iteration], None]] = {
    Step.WAIT: freeze,
    Step.SFT: _begin_reward,
    Step.REWARD: _without_reward,
    Step.PPO: _begin_sampling,
    Step.EVALUATE: _begin_promotion,
    Step.PROMOTE: _begin_sampling,
    Step.SAMPLE: _finish,
}


def can_be_skipped(step: str) -> bool:
    return step in SKIP


def _started_evaluation(iteration: Iteration, policy: ModelVersion, settings: LoopSettings) -> HumanEvaluation:
    """The new policy against the one in use, on test prompts. Raises Refused."""
    project, rivals = iteration.project, [policy, versions.active_policy(iteration.project)]
    plan = evaluations.Plan(
        versions=rivals,
        prompt_count=settings.evaluation_prompts,
        share=settings.evaluation_share,
        responses_per_version=evaluations.usual_responses(project, versions=len(rivals)),
        sampling=settings.sampling,
    )
    return evaluations.start(plan, project=project, by=iteration.started_by)


def _reward_of_last_round(project: Project) -> ModelVersion | None:
    """The reward model that was trained by a round before: its snapshot says which judgments are new.

    Else the latest one.
    """
    trained = project.model_versions.filter(kind=ModelVersion.Kind.REWARD, run__iteration__isnull=False)
    return trained.order_by("-number").first() or versions.latest_reward(project)


def _enqueue(
    iteration: Iteration,
    stage: str,
    *,
    config: dict[str, Any],
    inputs: dict[str, ModelVersion],
    snapshot: Snapshot | None = None,
) -> None:
    runs.enqueue(
        project=iteration.project,
        stage=stage,
        config={"seed": iteration.number} | config,
        inputs=inputs,
        snapshot=snapshot,
        iteration=iteration,
        by=iteration.started_by,
    )


def _ended_run(iteration: Iteration, stage: str) -> TrainingRun | None:
    """The round's run of a stage once it has succeeded, None while it goes on. Raises RoundEnded otherwise."""
    run = iteration.runs.filter(stage=stage).select_related("produced").order_by("-pk").first()
    if run is None or not run.ended:
        return None
    _refuse_unsuccessful(run)
    return run


def _refuse_unsuccessful(run: TrainingRun) -> None:
    if run.status == TrainingRun.Status.FAILED:
        failed = {"stage": {"message": str(Stage(run.stage).label)}, "error": run.failure or run.error}
        raise transitions.RoundEnded(State.FAILED, StoredMessage("round_run_failed", failed))
    if run.status == TrainingRun.Status.CANCELLED:
        cancelled = {"stage": {"message": str(Stage(run.stage).label)}}
        raise transitions.RoundEnded(State.CANCELLED, StoredMessage("round_run_cancelled", cancelled))


def cancel_work(iteration: Iteration, *, by: User | None) -> None:
    """Cancel the unfinished runs of the round, and its evaluation."""
    for run in iteration.runs.exclude(status__in=TrainingRun.ENDED):
        try:
            runs.request_cancel(run=run, by=by)
        except Refused:
            continue  # it has just ended
    evaluation = iteration.evaluation
    if evaluation is not None and evaluation.is_open:
        try:
            evaluations.cancel(evaluation, by=by)
        except Refused:
            return  # it has just ended
