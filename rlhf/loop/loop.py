"""The closed loop: judgments -> snapshot -> reward model -> PPO -> sampled responses in the queue -> judgments.

An iteration is one round:

    wait -> snapshot -> sft -> reward -> ppo -> evaluate -> promote -> sample -> done

`wait` is for new judgments, in rounds that follow another one. `sft` comes when enough demonstrations are new,
`evaluate` when the win rate by people is a gate, `promote` when policies are promoted by hand.

`advance` starts the next step when the current one has ended. It may be called at any time, by several workers at once:
each step is one conditional update in the transaction that starts the next step's work, so a process that is killed
leaves the step before or the one after. Every round's reward model is trained from the SFT or base model on all
judgments so far. PPO continues from the active policy, its reference model stays the SFT or base model; after an `sft`
step it begins anew from the new SFT model, which is the reference from then on.
"""

from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import snapshots, stored_messages
from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import Demonstration, Judgment, Project, Prompt, Snapshot, User
from annotate.people import audit
from rlhf.human_evaluation import evaluations
from rlhf.loop import active_learning, sampling, versions
from rlhf.loop.rounds import gates, sampling_mix
from rlhf.loop.rounds.gates import GateFailed
from rlhf.models import HumanEvaluation, Iteration, LoopSettings, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.reports.page import verdict_of
from rlhf.runs import runs
from rlhf.runs.stages import ppo

Step = Iteration.Step
State = Iteration.State
Role = RunInput.Role
MOST_ROUNDS = 100
STAGE_OF = {Step.SFT: Stage.SFT, Step.REWARD: Stage.REWARD, Step.PPO: Stage.PPO, Step.SAMPLE: Stage.SAMPLE}


def start(*, project: Project, rounds: int, by: User | None) -> Iteration:
    """Start a round, followed by `rounds - 1` more, each when enough is judged that is new to it.

    Raises Refused when one is active, nothing is judged yet, the loop is paused, or its PPO needs a server that is
    not there.
    """
    if not 1 <= rounds <= MOST_ROUNDS:
        raise Refused(_("Choose from 1 to %(most)s rounds.") % {"most": MOST_ROUNDS}, status=400)
    if LoopSettings.of(project).paused_at is not None:
        raise Refused(_("The loop is paused. Resume it first."))
    if not project.judgments.filter(Judgment.COUNTED | Judgment.ADJUDICATED).exists():
        raise Refused(_("There are no judgments to train on yet. Rank some responses first."))
    versions.base(project)
    ppo.refuse_servers(LoopSettings.of(project).ppo_config)  # the operator may have taken the server away since
    try:
        with transaction.atomic():
            iteration = _create(project, rounds_left=rounds - 1, by=by)
            _freeze(iteration)
            audit.record(verb="loop.started", actor=by, subject=iteration, project=project, round=iteration.number)
    except IntegrityError:
        raise Refused(_("A round is in progress. Wait for it or cancel it.")) from None
    return iteration


def cancel(*, iteration: Iteration, by: User | None) -> None:
    """Cancel the round, its unfinished runs and its evaluation. Raises Refused when it has ended."""
    with transaction.atomic():
        if not _close(iteration, State.CANCELLED, StoredMessage("round_cancelled")):
            _refuse_ended(iteration)
        audit.record(
            verb="loop.cancelled", actor=by, subject=iteration, project=iteration.project, round=iteration.number
        )
        _cancel_work(iteration, by=by)


def skip(*, iteration: Iteration, step: str, by: User | None) -> None:
    """Go on without the rest of a step: its run or evaluation is cancelled.

    Without `reward` PPO uses the reward model in use; without `ppo` the policy in use is sampled; without `evaluate`
    its gate is not measured; without `promote` the new policy is not put into use. Raises Refused when the round is at
    another step by now, and for a step that can't be skipped.
    """
    try:
        with transaction.atomic():
            # As it is now, and nobody moves it meanwhile.
            current = Iteration.objects.select_for_update(of=("self",)).select_related("project").get(pk=iteration.pk)
            if current.state != State.ACTIVE:
                _refuse_ended(current)
            if current.step != step:
                raise Refused(
                    _("The round has moved on: %(step)s. Look again before you skip.")
                    % {"step": current.get_step_display().lower()}
                )
            if step not in _SKIP:
                raise Refused(_("This step can’t be skipped: the models of the round are trained on its snapshot."))
            current.skipped = [*current.skipped, step]
            Iteration.objects.filter(pk=current.pk).update(skipped=current.skipped)
            audit.record(
                verb="loop.step_skipped",
                actor=by,
                subject=current,
                project=current.project,
                round=current.number,
                step=step,
            )
            _cancel_work(current, by=by)
            _SKIP[Step(step)](current)
    except _AlreadyMoved:
        raise Refused(_("The round has moved on. Look again before you skip.")) from None


def promote(*, iteration: Iteration, by: User | None) -> None:
    """Put the policy into use that a round waits with. Raises Refused when it doesn't wait for that."""
    if iteration.state != State.ACTIVE or iteration.step != Step.PROMOTE or iteration.policy_version is None:
        raise Refused(_("This round doesn’t wait for a promotion."))
    versions.promote(iteration.policy_version, by=by)
    advance(iteration.pk)


def pause(*, project: Project, by: User | None) -> None:
    """Let no step begin until somebody resumes the loop; runs that have begun go on. Idempotent."""
    with transaction.atomic():
        settings, _made = LoopSettings.objects.get_or_create(project=project)
        if LoopSettings.objects.filter(pk=settings.pk, paused_at=None).update(paused_at=timezone.now()):
            audit.record(verb="loop.paused", actor=by, subject=settings, project=project)


def resume(*, project: Project, by: User | None) -> None:
    """Go on where the loop was paused. Idempotent."""
    with transaction.atomic():
        settings = LoopSettings.objects.filter(project=project).exclude(paused_at=None).first()
        if settings is None:
            return
        LoopSettings.objects.filter(pk=settings.pk).update(paused_at=None)
        audit.record(verb="loop.resumed", actor=by, subject=settings, project=project)
        runs.send("rlhf.advance_loops")


def advance(iteration_id: int) -> None:
    """Start the next step of a round if the current one has ended and the loop isn't paused."""
    try:
        with transaction.atomic():
            # Locked: two workers do not begin the same step, of which one would then be refused.
            active = Iteration.objects.select_for_update(of=("self",)).filter(pk=iteration_id, state=State.ACTIVE)
            found = active.select_related("project", "snapshot", "started_by", "evaluation").first()
            if found is None or LoopSettings.of(found.project).paused_at is not None:
                return
            iteration = found
            STEP_HANDLERS[Step(iteration.step)](iteration)
    except _AlreadyMoved:
        return  # somebody else has moved it
    except GateFailed as failed:
        _close(iteration, State.STOPPED, failed.reason, **_measured(iteration))
    except _RoundEnded as ended:
        _close(iteration, ended.state, ended.reason, **_measured(iteration))
    except Refused as error:
        _close(iteration, State.FAILED, StoredMessage.parsed(stored_messages.of_exception(error)))


def why_ended(iteration: Iteration) -> str:
    """Why a round stopped or failed, in the reader's language; empty while it is active or after success."""
    if "verdict" in iteration.numbers:
        return verdict_of(iteration.numbers).text
    return stored_messages.text(iteration.failure or iteration.reason)


def new_judgments(project: Project) -> int:
    """Number of judgments that count since those of the last round were frozen."""
    frozen = project.iterations.aggregate(last=Max("frozen_at"))["last"]
    judgments = project.judgments.filter(Judgment.COUNTED)
    return (judgments.filter(created_at__gt=frozen) if frozen else judgments).count()


def new_demonstrations(project: Project) -> int:
    """Number of demonstrations of train prompts since those of the last SFT step were frozen."""
    found = Demonstration.for_training(project).filter(prompt__split=Prompt.Split.TRAIN)
    steps = project.training_runs.filter(
        stage=Stage.SFT, iteration__isnull=False, status=TrainingRun.Status.SUCCEEDED, snapshot__isnull=False
    )
    trained = steps.aggregate(last=Max("snapshot__created_at"))["last"]
    return (found.filter(created_at__gt=trained) if trained else found).count()


def start_due() -> list[Iteration]:
    """Start a round in every project whose settings enable it and that has enough new judgments."""
    started = []
    for policy in LoopSettings.objects.filter(enabled=True, paused_at=None).select_related("project"):
        project = policy.project
        if project.iterations.filter(state=State.ACTIVE).exists():
            continue
        if new_judgments(project) >= policy.judgments_per_round:
            try:
                started.append(start(project=project, rounds=1, by=None))
            except Refused:
                continue  # a round was started by hand at this moment
    return started


class _AlreadyMoved(Exception):
    """Another worker has moved the round to its next step."""


class _RoundEnded(Exception):
    """The round ends here in a state, for a reason."""

    def __init__(self, state: str, reason: StoredMessage) -> None:
        super().__init__(state, reason)
        self.state = state
        self.reason = reason


def _create(project: Project, *, rounds_left: int, by: User | None, judgments_wanted: int = 0) -> Iteration:
    number = (project.iterations.order_by("-number").values_list("number", flat=True).first() or 0) + 1
    return Iteration.objects.create(
        project=project,
        number=number,
        step=Step.WAIT if judgments_wanted else Step.SNAPSHOT,
        step_since=timezone.now(),
        judgments_wanted=judgments_wanted,
        rounds_left=rounds_left,
        started_by=by,
    )


# What a step waits for, and the step that it then begins.


def _while_waiting(iteration: Iteration) -> None:
    if new_judgments(iteration.project) >= iteration.judgments_wanted:
        _freeze(iteration)


def _after_snapshot(iteration: Iteration) -> None:
    snapshot = iteration.snapshot
    if snapshot is None or snapshot.state in (Snapshot.State.PENDING, Snapshot.State.BUILDING):
        return
    if snapshot.state == Snapshot.State.FAILED:
        reason = StoredMessage("snapshot_failed", {"error": snapshot.failure or snapshot.error})
        raise _RoundEnded(State.FAILED, reason)
    iteration.numbers |= {"judgments": snapshot.rows}
    wanted = LoopSettings.of(iteration.project).sft_demonstrations
    num_new = new_demonstrations(iteration.project) if wanted else 0
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
    _move(iteration, to=Step.PPO, reward_version=run.produced)
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
        _move(iteration, to=Step.EVALUATE, policy_version=run.produced)
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
        _move(iteration, to=Step.EVALUATE, evaluation=_started_evaluation(iteration, policy, settings))
        return
    if evaluation.is_open:
        return
    if evaluation.state == HumanEvaluation.State.FAILED:
        reason = StoredMessage("round_evaluation_failed", {"error": evaluation.failure})
        raise _RoundEnded(State.FAILED, reason)
    if evaluation.state == HumanEvaluation.State.CANCELLED:
        reason = StoredMessage("round_evaluation_cancelled", {"number": evaluation.number})
        raise _RoundEnded(State.CANCELLED, reason)
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


STEP_HANDLERS: dict[Step, Callable[[Iteration], None]] = {
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


def _freeze(iteration: Iteration) -> None:
    aggregation = LoopSettings.of(iteration.project).aggregation
    frozen_at = timezone.now()
    snapshot = snapshots.request(
        project=iteration.project, kind=Snapshot.Kind.RANKINGS, by=iteration.started_by, aggregation=aggregation
    )
    _move(iteration, to=Step.SNAPSHOT, snapshot=snapshot, frozen_at=frozen_at)


def _begin_sft(iteration: Iteration) -> None:
    _move(iteration, to=Step.SFT)
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
    _move(iteration, to=Step.REWARD, sft_version=iteration.sft_version)
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
        _move(iteration, to=Step.PROMOTE, policy_version=policy)
        return
    _begin_sampling(iteration, promoted=policy)


def _begin_sampling(iteration: Iteration, *, promoted: ModelVersion | None = None) -> None:
    """Queue a sampling run for each part of the mix, after the promotion of a policy if there is one."""
    _move(iteration, to=Step.SAMPLE, policy_version=iteration.policy_version)
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
    _move(iteration, to=Step.DONE, state=State.SUCCEEDED, finished_at=timezone.now())
    if iteration.rounds_left:
        _create(
            iteration.project,
            rounds_left=iteration.rounds_left - 1,
            by=iteration.started_by,
            judgments_wanted=LoopSettings.of(iteration.project).judgments_per_round,
        )


def _without_reward(iteration: Iteration) -> None:
    reward = versions.active_reward(iteration.project)
    if reward is None:
        raise Refused(_("There is no reward model in use, so PPO needs the one of this step."))
    _move(iteration, to=Step.PPO, reward_version=reward)
    _enqueue_ppo(iteration, reward=reward)


_SKIP: dict[Step, Callable[[Iteration], None]] = {
    Step.WAIT: _freeze,
    Step.SFT: _begin_reward,
    Step.REWARD: _without_reward,
    Step.PPO: _begin_sampling,
    Step.EVALUATE: _begin_promotion,
    Step.PROMOTE: _begin_sampling,
    Step.SAMPLE: _finish,
}


def can_be_skipped(step: str) -> bool:
    return step in _SKIP


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
    """The round's run of a stage once it has succeeded, None while it goes on. Raises _RoundEnded otherwise."""
    run = iteration.runs.filter(stage=stage).select_related("produced").order_by("-pk").first()
    if run is None or not run.ended:
        return None
    _refuse_unsuccessful(run)
    return run


def _refuse_unsuccessful(run: TrainingRun) -> None:
    if run.status == TrainingRun.Status.FAILED:
        failed = {"stage": {"message": str(Stage(run.stage).label)}, "error": run.failure or run.error}
        raise _RoundEnded(State.FAILED, StoredMessage("round_run_failed", failed))
    if run.status == TrainingRun.Status.CANCELLED:
        cancelled = {"stage": {"message": str(Stage(run.stage).label)}}
        raise _RoundEnded(State.CANCELLED, StoredMessage("round_run_cancelled", cancelled))


def _cancel_work(iteration: Iteration, *, by: User | None) -> None:
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


def _move(iteration: Iteration, *, to: str, **values: Any) -> None:
    rows = Iteration.objects.filter(pk=iteration.pk, state=State.ACTIVE, step=iteration.step)
    if iteration.step != to:
        values["step_since"] = timezone.now()
    if rows.update(step=to, **_measured(iteration), **values) != 1:
        raise _AlreadyMoved
    iteration.step = to
    for name, value in values.items():
        setattr(iteration, name, value)


def _measured(iteration: Iteration) -> dict[str, Any]:
    return {"numbers": iteration.numbers, "gates": iteration.gates}


def _close(iteration: Iteration, state: str, reason: StoredMessage, **values: Any) -> bool:
    """End an active round; False when it has ended already."""
    stored = reason.as_json()
    values |= {"reason": stored_messages.in_english(stored), "failure": stored, "finished_at": timezone.now()}
    rows = Iteration.objects.filter(pk=iteration.pk, state=State.ACTIVE)
    return rows.update(state=state, **values) == 1


def _refuse_ended(iteration: Iteration) -> None:
    iteration.refresh_from_db()
    raise Refused(_("This round has ended already: %(state)s.") % {"state": iteration.get_state_display().lower()})
