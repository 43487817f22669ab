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

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import stored_messages
from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import Judgment, Project, User
from annotate.people import audit
from rlhf.loop import versions
from rlhf.loop.rounds import new_data, step_handlers, transitions
from rlhf.loop.rounds.gates import GateFailed
from rlhf.models import Iteration, LoopSettings
from rlhf.reports.page import verdict_of
from rlhf.runs import runs
from rlhf.runs.stages import ppo

Step = Iteration.Step
State = Iteration.State
MOST_ROUNDS = 100


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
            iteration = transitions.create(project, rounds_left=rounds - 1, by=by)
            step_handlers.freeze(iteration)
            audit.record(verb="loop.started", actor=by, subject=iteration, project=project, round=iteration.number)
    except IntegrityError:
        raise Refused(_("A round is in progress. Wait for it or cancel it.")) from None
    return iteration


def cancel(*, iteration: Iteration, by: User | None) -> None:
    """Cancel the round, its unfinished runs and its evaluation. Raises Refused when it has ended."""
    with transaction.atomic():
        if not transitions.close(iteration, State.CANCELLED, StoredMessage("round_cancelled")):
            transitions.refuse_ended(iteration)
        audit.record(
            verb="loop.cancelled", actor=by, subject=iteration, project=iteration.project, round=iteration.number
        )
        step_handlers.cancel_work(iteration, by=by)


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
                transitions.refuse_ended(current)
            if current.step != step:
                raise Refused(
                    _("The round has moved on: %(step)s. Look again before you skip.")
                    % {"step": current.get_step_display().lower()}
                )
            if step not in step_handlers.SKIP:
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
            step_handlers.cancel_work(current, by=by)
            step_handlers.SKIP[Step(step)](current)
    except transitions.AlreadyMoved:
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
            step_handlers.HANDLERS[Step(iteration.step)](iteration)
    except transitions.AlreadyMoved:
        return  # somebody else has moved it
    except GateFailed as failed:
        transitions.close(iteration, State.STOPPED, failed.reason, **transitions.measured(iteration))
    except transitions.RoundEnded as ended:
        transitions.close(iteration, ended.state, ended.reason, **transitions.measured(iteration))
    except Refused as error:
        transitions.close(iteration, State.FAILED, StoredMessage.parsed(stored_messages.of_exception(error)))


def why_ended(iteration: Iteration) -> str:
    """Why a round stopped or failed, in the reader's language; empty while it is active or after success."""
    if "verdict" in iteration.numbers:
        return verdict_of(iteration.numbers).text
    return stored_messages.text(iteration.failure or iteration.reason)


def start_due() -> list[Iteration]:
    """Start a round in every project whose settings enable it and that has enough new judgments."""
    started = []
    for policy in LoopSettings.objects.filter(enabled=True, paused_at=None).select_related("project"):
        project = policy.project
        if project.iterations.filter(state=State.ACTIVE).exists():
            continue
        if new_data.new_judgments(project) >= policy.judgments_per_round:
            try:
                started.append(start(project=project, rounds=1, by=None))
            except Refused:
                continue  # a round was started by hand at this moment
    return started
