"""The closed loop: judgments -> snapshot -> reward model -> PPO -> new answers in the queue -> judgments.

An iteration is one round. `advance` moves it on when the step it waits for has ended; it may be called at any time, any
number of times, by several workers at once: each move is one conditional update in the transaction that starts the next
step. Every round's reward model is trained from the SFT or base model on all judgments so far, PPO goes on from the
active policy, and the reference of its KL penalty stays the SFT or base model.
"""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import TextChoices
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from annotate.data import snapshots
from annotate.data.stored_messages import in_readers_language
from annotate.errors import Refused
from annotate.models import Project, Snapshot, User
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
    "reward_accuracy": (gettext_lazy("Accuracy of the reward model, at least"), "below"),
    "kl": (gettext_lazy("KL divergence of the policy, at most"), "above"),
}
"""Numbers a round may not pass, with what passing means."""
GATE_MESSAGES = {
    "reward_accuracy": gettext_noop("The reward model’s accuracy of %(value)s is below the gate of %(bound)s."),
    "kl": gettext_noop("The policy’s KL divergence of %(value)s is above the gate of %(bound)s."),
}
REPORT_GATE = "reward_report"


class ReportGate(TextChoices):
    """What the reward model's report may not say, for PPO to begin."""

    NONE = "", gettext_lazy("Go on whatever it says")
    NO = "no", gettext_lazy("Stop where it says that the model isn’t good enough")
    UNSURE = "unsure", gettext_lazy("Stop unless it says that the model is good enough")


def start(*, project: Project, rounds: int, by: User | None) -> Iteration:
    """Start a round, with `rounds - 1` to follow it. Raises Refused when one is under way or nothing is judged yet."""
    if not 1 <= rounds <= 100:
        raise Refused(_("Choose from 1 to 100 rounds."), status=400)
    if not project.judgments.filter(latest__isnull=False).exists():
        raise Refused(_("There are no judgments to learn from yet. Rank some answers first."))
    versions.base(project)
    number = (project.iterations.order_by("-number").values_list("number", flat=True).first() or 0) + 1
    try:
        with transaction.atomic():
            iteration = Iteration.objects.create(project=project, number=number, rounds_left=rounds - 1, started_by=by)
            iteration.snapshot = snapshots.request(project=project, kind=Snapshot.Kind.RANKINGS, by=by)
            iteration.save(update_fields=["snapshot"])
            audit.record(verb="loop.started", actor=by, subject=iteration, project=project, round=number)
    except IntegrityError:
        raise Refused(_("A round is under way already. Wait for it or cancel it.")) from None
    return iteration


def cancel(*, iteration: Iteration, by: User | None) -> None:
    """End the round and the run it waits for. Raises Refused when it has ended."""
    with transaction.atomic():
        if not _close(iteration, State.CANCELLED, reason=gettext_noop("Cancelled by hand.")):
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
    """Move a round on as far as it can go; does nothing when the step it waits for has not ended."""
    iteration = Iteration.objects.select_related("project", "snapshot", "started_by").get(pk=iteration_id)
    if iteration.state != State.ACTIVE:
        return
    try:
        with transaction.atomic():
            STEP_HANDLERS[Step(iteration.step)](iteration)
    except _AlreadyMoved:
        return  # somebody else has moved it
    except _RoundEnded as closing:
        _close(iteration, closing.state, reason=closing.reason, numbers=iteration.numbers)
    except Refused as error:
        _close(iteration, State.FAILED, reason=str(error))


def why_ended(iteration: Iteration) -> str:
    """Why a round stopped or failed, in the reader's language; empty where there is nothing to say."""
    if "verdict" in iteration.numbers:
        return verdict_of(iteration.numbers).text
    return in_readers_language(iteration.reason)


def new_judgments(project: Project) -> int:
    """Judgments given since the last round began, without those that their labelers took back."""
    last = project.iterations.order_by("-number").first()
    judgments = project.judgments.filter(latest__isnull=False)
    return (judgments.filter(created_at__gt=last.started_at) if last else judgments).count()


def start_due() -> list[Iteration]:
    """Start a round in every project whose policy asks for it and that got enough new judgments since the last one."""
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
    """The round is not where it was thought to be."""


class _RoundEnded(Exception):
    """The round ends here, with a state and a sentence."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


def _after_snapshot(iteration: Iteration) -> None:
    snapshot = iteration.snapshot
    if snapshot is None or snapshot.state in (Snapshot.State.PENDING, Snapshot.State.BUILDING):
        return
    if snapshot.state == Snapshot.State.FAILED:
        raise _RoundEnded(State.FAILED, _("Its snapshot could not be made: %(error)s") % {"error": snapshot.error})
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
    """Several, where their disagreement is to choose what is labeled next."""
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
    # Before PPO, which takes long: labelers go on meanwhile, by what is known now.
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
    # What the run measured of the very weights it kept, where it measured: the last phase's may be other ones.
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
        values = {"stage": run.get_stage_display(), "error": run.error}
        raise _RoundEnded(State.FAILED, _("Its run failed (%(stage)s): %(error)s") % values)
    if run.status == TrainingRun.Status.CANCELLED:
        raise _RoundEnded(State.CANCELLED, _("Its run was cancelled (%(stage)s).") % {"stage": run.get_stage_display()})
    return run


def _check_gate(iteration: Iteration, name: str, value: float | None) -> None:
    bound = LoopSettings.of(iteration.project).gates.get(name)
    if bound is None:
        return
    if value is None:
        raise _RoundEnded(State.STOPPED, _("The gate %(gate)s needs a number, and the run has none.") % {"gate": name})
    passed = value < bound if GATES[name][1] == "below" else value > bound
    if passed:
        measured = {"value": f"{value:.3g}", "bound": f"{bound:g}"}
        raise _RoundEnded(State.STOPPED, _(GATE_MESSAGES[name]) % measured)


def _check_report(iteration: Iteration, run: TrainingRun) -> None:
    """Stop where the reward model's report says no, or, where the gate asks for that, doesn't say yes.

    The verdict is kept with the round as data too, so that each reader has it in words of his own (`why_ended`).
    """
    gate = LoopSettings.of(iteration.project).gates.get(REPORT_GATE)
    is_ready = run.result.get("ready_for_ppo")
    if (gate == ReportGate.NO and is_ready is False) or (gate == ReportGate.UNSURE and is_ready is not True):
        if (report := stored.load(run)) is not None:
            iteration.numbers |= {"verdict": {name: report["verdict"][name] for name in ("code", "values", "sentence")}}
        raise _RoundEnded(State.STOPPED, run.result.get("verdict") or gettext_noop("The reward model has no report."))


def _move(iteration: Iteration, *, to: str, **values: Any) -> None:
    rows = Iteration.objects.filter(pk=iteration.pk, state=State.ACTIVE, step=iteration.step)
    if rows.update(step=to, numbers=iteration.numbers, **values) != 1:
        raise _AlreadyMoved


def _close(iteration: Iteration, state: str, *, reason: str, **values: Any) -> bool:
    """End a round that is under way; False when it has ended already."""
    rows = Iteration.objects.filter(pk=iteration.pk, state=State.ACTIVE)
    return rows.update(state=state, reason=reason, finished_at=timezone.now(), **values) == 1
