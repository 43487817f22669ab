"""The closed loop: judgments -> snapshot -> reward model -> PPO -> sampled responses in the queue -> judgments.

An iteration is one round. `advance` starts the next step when the current one has ended. It may be called at any time,
by several workers at once: each step is one conditional update in the transaction that starts the next run. Every
round's reward model is trained from the SFT or base model on all judgments so far, PPO continues from the active
policy, and its reference model stays the SFT or base model.
"""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import TextChoices
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.data import snapshots, stored_messages
from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import Judgment, Project, Snapshot, User
from annotate.people import audit
from rlhf.loop import active_learning, sampling, versions
from rlhf.models import Iteration, LoopSettings, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.reports import stored
from rlhf.reports.page import verdict_of
from rlhf.runs import runs

Step = Iteration.Step
State = Iteration.State
Role = RunInput.Role

GATES = {
    "reward_accuracy": (gettext_lazy("Minimum accuracy of the reward model"), "below"),
    "kl": (gettext_lazy("Maximum KL divergence of the policy"), "above"),
}
"""{metric: (label, the side of the bound that stops a round)}."""
REPORT_GATE = "reward_report"


class ReportGate(TextChoices):
    """Verdicts of the reward model's report that stop a round before PPO."""

    NONE = "", gettext_lazy("None")
    NO = "no", gettext_lazy("Stop on a negative verdict")
    UNSURE = "unsure", gettext_lazy("Stop unless the verdict is positive")


def start(*, project: Project, rounds: int, by: User | None) -> Iteration:
    """Start a round, followed by `rounds - 1` more. Raises Refused when one is active or nothing is judged yet."""
    if not 1 <= rounds <= 100:
        raise Refused(_("Choose from 1 to 100 rounds."), status=400)
    if not project.judgments.filter(Judgment.COUNTED | Judgment.ADJUDICATED).exists():
        raise Refused(_("There are no judgments to train on yet. Rank some responses first."))
    versions.base(project)
    number = (project.iterations.order_by("-number").values_list("number", flat=True).first() or 0) + 1
    try:
        with transaction.atomic():
            iteration = Iteration.objects.create(project=project, number=number, rounds_left=rounds - 1, started_by=by)
            iteration.snapshot = snapshots.request(
                project=project, kind=Snapshot.Kind.RANKINGS, by=by, aggregation=LoopSettings.of(project).aggregation
            )
            iteration.save(update_fields=["snapshot"])
            audit.record(verb="loop.started", actor=by, subject=iteration, project=project, round=number)
    except IntegrityError:
        raise Refused(_("A round is in progress. Wait for it or cancel it.")) from None
    return iteration


def cancel(*, iteration: Iteration, by: User | None) -> None:
    """Cancel the round and its unfinished runs. Raises Refused when it has ended."""
    with transaction.atomic():
        if not _close(iteration, State.CANCELLED, StoredMessage("round_cancelled")):
            iteration.refresh_from_db()
            raise Refused(
                _("This round has ended already: %(state)s.") % {"state": iteration.get_state_display().lower()}
            )
        audit.record(
            verb="loop.cancelled", actor=by, subject=iteration, project=iteration.project, round=iteration.number
        )
        for run in iteration.runs.exclude(status__in=TrainingRun.ENDED):
            runs.request_cancel(run=run, by=by)


def advance(iteration_id: int) -> None:
    """Start the next step of a round if the current one has ended."""
    iteration = Iteration.objects.select_related("project", "snapshot", "started_by").get(pk=iteration_id)
    if iteration.state != State.ACTIVE:
        return
    try:
        with transaction.atomic():
            STEP_HANDLERS[Step(iteration.step)](iteration)
    except _AlreadyMoved:
        return  # somebody else has moved it
    except _RoundEnded as ended:
        _close(iteration, ended.state, ended.reason, numbers=iteration.numbers)
    except Refused as error:
        _close(iteration, State.FAILED, StoredMessage.parsed(stored_messages.of_exception(error)))


def why_ended(iteration: Iteration) -> str:
    """Why a round stopped or failed, in the reader's language; empty while it is active or after success."""
    if "verdict" in iteration.numbers:
        return verdict_of(iteration.numbers).text
    return stored_messages.text(iteration.failure or iteration.reason)


def new_judgments(project: Project) -> int:
    """Number of judgments that count since the last round began."""
    last = project.iterations.order_by("-number").first()
    judgments = project.judgments.filter(Judgment.COUNTED)
    return (judgments.filter(created_at__gt=last.started_at) if last else judgments).count()


def start_due() -> list[Iteration]:
    """Start a round in every project whose settings enable it and that has enough new judgments."""
    started = []
    for policy in LoopSettings.objects.filter(enabled=True).select_related("project"):
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


def _after_snapshot(iteration: Iteration) -> None:
    snapshot = iteration.snapshot
    if snapshot is None or snapshot.state in (Snapshot.State.PENDING, Snapshot.State.BUILDING):
        return
    if snapshot.state == Snapshot.State.FAILED:
        reason = StoredMessage("snapshot_failed", {"error": snapshot.failure or snapshot.error})
        raise _RoundEnded(State.FAILED, reason)
    project = iteration.project
    iteration.numbers |= {"judgments": snapshot.rows}
    _move(iteration, to=Step.REWARD)
    before = versions.latest_reward(project)
    inputs: dict[str, ModelVersion] = {Role.MODEL: versions.reference(versions.active_policy(project))}
    if before is not None:
        inputs[Role.PREVIOUS] = before
    runs.enqueue(
        project=project,
        stage=Stage.REWARD,
        config={"seed": iteration.number} | _heads(project) | LoopSettings.of(project).reward_config,
        snapshot=snapshot,
        inputs=inputs,
        iteration=iteration,
        by=iteration.started_by,
    )


def _heads(project: Project) -> dict[str, Any]:
    """An ensemble, if its disagreement orders the queue."""
    return {"ensemble": active_learning.HEADS} if LoopSettings.of(project).uncertain_first else {}


def _after_reward(iteration: Iteration) -> None:
    run = _ended_run(iteration, Stage.REWARD)
    if run is None or run.produced is None:
        return
    project, reward = iteration.project, run.produced
    iteration.numbers |= {"reward_accuracy": run.result.get("accuracy")}
    _check_gate(iteration, "reward_accuracy", run.result.get("accuracy"))
    _check_report(iteration, run)
    policy = versions.active_policy(project)
    _move(iteration, to=Step.PPO, reward_version=reward)
    versions.promote(reward, by=iteration.started_by)
    # Before PPO, which takes long: meanwhile labelers work in the order of the new reward model.
    active_learning.start_if_due(project)
    runs.enqueue(
        project=project,
        stage=Stage.PPO,
        config={"seed": iteration.number} | LoopSettings.of(project).ppo_config,
        inputs={Role.MODEL: policy, Role.REFERENCE: versions.reference(policy), Role.REWARD: reward},
        iteration=iteration,
        by=iteration.started_by,
    )


def _after_ppo(iteration: Iteration) -> None:
    run = _ended_run(iteration, Stage.PPO)
    if run is None or run.produced is None:
        return
    project, policy = iteration.project, run.produced
    numbers = {name: run.result.get(name) for name in ("kl", "score", "reward", "length")}
    # Metrics of the weights that were kept, if they were evaluated: the last iteration's may be of other weights.
    kept = {name: run.result[f"eval_{name}"] for name in ("kl", "score", "length") if f"eval_{name}" in run.result}
    iteration.numbers |= numbers | kept
    _check_gate(iteration, "kl", iteration.numbers["kl"])
    _move(iteration, to=Step.SAMPLE, policy_version=policy)
    versions.promote(policy, by=iteration.started_by)
    settings = LoopSettings.of(project)
    sampling.start(
        project=project,
        version=policy,
        prompt_count=settings.prompts_per_round,
        config=settings.sampling,
        iteration=iteration,
        by=iteration.started_by,
    )


def _after_sample(iteration: Iteration) -> None:
    run = _ended_run(iteration, Stage.SAMPLE)
    if run is None:
        return
    iteration.numbers |= {name: run.result.get(name) for name in ("responses", "tasks")}
    _move(iteration, to=Step.DONE, state=State.SUCCEEDED, finished_at=timezone.now())
    if iteration.rounds_left:
        start(project=iteration.project, rounds=iteration.rounds_left, by=iteration.started_by)


STEP_HANDLERS = {
    Step.SNAPSHOT: _after_snapshot,
    Step.REWARD: _after_reward,
    Step.PPO: _after_ppo,
    Step.SAMPLE: _after_sample,
}


def _ended_run(iteration: Iteration, stage: str) -> TrainingRun | None:
    """The round's run of a stage once it has succeeded, None while it goes on. Raises _Closing otherwise."""
    run = iteration.runs.filter(stage=stage).select_related("produced").order_by("-pk").first()
    if run is None or not run.ended:
        return None
    if run.status == TrainingRun.Status.FAILED:
        failed = {"stage": {"message": str(Stage(run.stage).label)}, "error": run.failure or run.error}
        raise _RoundEnded(State.FAILED, StoredMessage("round_run_failed", failed))
    if run.status == TrainingRun.Status.CANCELLED:
        cancelled = {"stage": {"message": str(Stage(run.stage).label)}}
        raise _RoundEnded(State.CANCELLED, StoredMessage("round_run_cancelled", cancelled))
    return run


def _check_gate(iteration: Iteration, name: str, value: float | None) -> None:
    bound = LoopSettings.of(iteration.project).gates.get(name)
    if bound is None:
        return
    if value is None:
        raise _RoundEnded(State.STOPPED, StoredMessage("gate_without_number", {"gate": name}))
    passed = value < bound if GATES[name][1] == "below" else value > bound
    if passed:
        measured = {"value": f"{value:.3g}", "bound": f"{bound:g}"}
        raise _RoundEnded(State.STOPPED, StoredMessage(f"gate_{name}", measured))


def _check_report(iteration: Iteration, run: TrainingRun) -> None:
    """End the round on a negative verdict, or, if the gate requires it, on any verdict that isn't positive.

    The verdict is stored with the round as data, so that `why_ended` words it in the reader's language.
    """
    gate = LoopSettings.of(iteration.project).gates.get(REPORT_GATE)
    is_ready = run.result.get("ready_for_ppo")
    if (gate == ReportGate.NO and is_ready is False) or (gate == ReportGate.UNSURE and is_ready is not True):
        if (report := stored.load(run)) is not None:
            iteration.numbers |= {"verdict": {name: report["verdict"][name] for name in ("code", "values", "sentence")}}
        verdict = run.result.get("verdict")
        reason = StoredMessage("as_written", {"sentence": verdict}) if verdict else StoredMessage("no_report")
        raise _RoundEnded(State.STOPPED, reason)


def _move(iteration: Iteration, *, to: str, **values: Any) -> None:
    rows = Iteration.objects.filter(pk=iteration.pk, state=State.ACTIVE, step=iteration.step)
    if rows.update(step=to, numbers=iteration.numbers, **values) != 1:
        raise _AlreadyMoved


def _close(iteration: Iteration, state: str, reason: StoredMessage, **values: Any) -> bool:
    """End an active round; False when it has ended already."""
    stored = reason.as_json()
    values |= {"reason": stored_messages.in_english(stored), "failure": stored, "finished_at": timezone.now()}
    rows = Iteration.objects.filter(pk=iteration.pk, state=State.ACTIVE)
    return rows.update(state=state, **values) == 1
