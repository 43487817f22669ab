"""The rolling mode: every N judgments or M minutes the reward model is trained on, and put into use.

    training -> in_use      its scores order the queue
    training -> rejected    below the gate, or another reward model was put into use meanwhile
    training -> failed      its run failed or was cancelled

The default is a warm start: the reward model in use is trained for one epoch on the judgments that are new to it and as
many older ones, drawn anew. Each judgment is then learned about twice, and an update costs what was judged since the
last one, not what was ever judged, so that it fits into the hour however old the project is. The older ones keep what
was learned before. MOST_WARM updates later, or when a round has trained one, it begins from all judgments again, which
also takes up judgments that were revised. docs/loop.md has what was measured.

A prompt's split decides where its judgments go (a hash of the prompt), so that what is held out is held out in every
update. An update is measured on the newest held-out judgments.
"""

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotate.data import snapshots
from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import Judgment, Project, Prompt, Snapshot
from annotate.people import audit
from rlhf.loop import active_learning, versions
from rlhf.loop.rolling import version_retention
from rlhf.loop.rounds import gates
from rlhf.models import Iteration, LoopSettings, ModelVersion, RollingUpdate, RunInput, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.runs import Origin

State = RollingUpdate.State
MOST_WARM = 20
"""Warm starts one after the other: then all judgments again."""
LATE = timedelta(minutes=2)
"""A judgment may be committed so long after the time that it carries: it is looked for in the next snapshot too."""


def start_due() -> list[RollingUpdate]:
    """End the updates whose runs have ended, and start those that are due."""
    for update in RollingUpdate.objects.filter(state=State.TRAINING).select_related("run", "project"):
        conclude(update)
    enabled = LoopSettings.objects.filter(rolling=True, paused_at=None).select_related("project")
    return [started for settings in enabled if (started := start_if_due(settings)) is not None]


def start_if_due(settings: LoopSettings) -> RollingUpdate | None:
    """Queue an update if the project's judgments are enough or old enough; None otherwise. One at a time."""
    project = settings.project
    if _is_held_up(project):
        return None
    reward = versions.active_reward(project)
    new = new_to(reward, project)
    num_new = new.count()
    if not _is_due(settings, new, num_new=num_new, reward=reward):
        return None
    source = reward if settings.rolling_start == LoopSettings.RollingStart.WARM and _is_warm(reward) else None
    try:
        with transaction.atomic():
            run = _queued_run(settings, source=source)
            update = RollingUpdate.objects.create(project=project, run=run, source=source, new_judgments=num_new)
            audit.record(
                verb="rolling.started", actor=None, subject=update, project=project, judgments=num_new, run=run.pk
            )
    except (IntegrityError, Refused):
        return None  # another one has begun at this moment; or the machine has no room for it now
    return update


def conclude(update: RollingUpdate) -> None:
    """Put an ended update's model into use, or note why not. Idempotent."""
    with transaction.atomic():
        rows = RollingUpdate.objects.select_for_update(of=("self",)).filter(pk=update.pk, state=State.TRAINING)
        found = rows.select_related("run__produced", "project").first()
        if found is None or not found.run.ended:
            return
        state, reason = _outcome(found)
        rows.update(state=state, reason=reason, finished_at=timezone.now())
        if state == State.IN_USE and found.run.produced is not None:
            versions.promote(found.run.produced, by=None)
            active_learning.start_if_due(found.project)
    version_retention.prune(update.project)


def of_train_prompts(project: Project) -> QuerySet[Judgment]:
    """The judgments that reward models learn from."""
    return project.judgments.filter(Judgment.COUNTED, task__prompt__split=Prompt.Split.TRAIN)


def new_to(reward: ModelVersion | None, project: Project) -> QuerySet[Judgment]:
    """Judgments of train prompts that a reward model has not learned from, the oldest first."""
    judged, frozen = of_train_prompts(project).order_by("created_at"), frozen_at(reward)
    return judged.filter(created_at__gte=frozen) if frozen else judged


def frozen_at(reward: ModelVersion | None) -> datetime | None:
    """When the judgments that a reward model has learned from were frozen; None for one that was not trained here."""
    run = getattr(reward, "run", None)
    snapshot = run.snapshot if run is not None else None
    return snapshot.created_at if snapshot is not None else None


def _is_held_up(project: Project) -> bool:
    """Whether a reward model is being trained that brings the same: an update's, or a round's on all judgments."""
    if project.rolling_updates.filter(state=State.TRAINING).exists():
        return True
    steps = (Iteration.Step.SNAPSHOT, Iteration.Step.SFT, Iteration.Step.REWARD)
    return project.iterations.filter(state=Iteration.State.ACTIVE, step__in=steps).exists()


def _is_due(settings: LoopSettings, new: QuerySet[Judgment], *, num_new: int, reward: ModelVersion | None) -> bool:
    """Whether the judgments that are new to the reward model in use are enough, or the first of them is old enough."""
    project = settings.project
    last = project.rolling_updates.first()
    if last is not None and last.state != State.IN_USE:
        # What it was to learn is still new: not the same again at once.
        given_since = project.judgments.filter(Judgment.COUNTED, created_at__gte=last.created_at).count()
        if given_since < settings.rolling_judgments and not _is_old(last, settings):
            return False
    if num_new >= settings.rolling_judgments:
        return True
    if not num_new or reward is None:
        return False
    first = new.values_list("created_at", flat=True).first()
    return first is not None and first <= timezone.now() - timedelta(minutes=settings.rolling_minutes)


def _is_old(last: RollingUpdate, settings: LoopSettings) -> bool:
    return last.created_at <= timezone.now() - timedelta(minutes=settings.rolling_minutes)


def _is_warm(reward: ModelVersion | None) -> bool:
    """Whether a reward model can be trained on: its run and files are there, and not too many updates led to it."""
    if reward is None or not reward.has_files or frozen_at(reward) is None:
        return False
    return len(versions.reward_chain(reward)) <= MOST_WARM


def _queued_run(settings: LoopSettings, *, source: ModelVersion | None) -> TrainingRun:
    project = settings.project
    filters = {}
    if source is not None and (since := frozen_at(source)) is not None:
        filters["after"] = (since - LATE).isoformat()
    snapshot = snapshots.request(
        project=project,
        kind=Snapshot.Kind.RANKINGS,
        by=None,
        filters=filters,
        aggregation=Snapshot.Aggregation.RAW if source is not None else settings.aggregation,
    )
    model = source or versions.reference(versions.active_policy(project))
    own = settings.reward_config | ({"epochs": 1} if source is not None else {})
    return runs.enqueue(
        project=project,
        stage=Stage.REWARD,
        config={"seed": project.rolling_updates.count()} | active_learning.ensemble_settings(project) | own,
        options={"rolling": True},
        inputs={RunInput.Role.MODEL: model},
        snapshot=snapshot,
        by=None,
        # Before whatever waits: a few minutes' work, and labelers give its judgments now.
        origin=Origin(priority=TrainingRun.Priority.HIGH),
    )


def _outcome(update: RollingUpdate) -> tuple[str, dict[str, object]]:
    """The state that an ended update comes to, and why, as a stored message."""
    run = update.run
    if run.status != TrainingRun.Status.SUCCEEDED or run.produced is None:
        return State.FAILED, run.failure
    reward = versions.active_reward(update.project)
    if reward is not None and update.source is not None and reward != update.source:
        return State.REJECTED, StoredMessage("rolling_superseded", {"version": reward.label}).as_json()
    if reward is not None and (newer := frozen_at(reward)) and (own := frozen_at(run.produced)) and newer > own:
        return State.REJECTED, StoredMessage("rolling_superseded", {"version": reward.label}).as_json()
    settings = LoopSettings.of(update.project)
    bounds = [bound for name in ("reward_accuracy", "newest_accuracy") if (bound := gates.bound_of(settings, name))]
    if not bounds:
        return State.IN_USE, {}
    accuracy, bound = run.result.get("accuracy"), max(bounds)
    if accuracy is None:
        return State.REJECTED, StoredMessage("rolling_not_measured").as_json()
    if accuracy < bound:
        values = {"value": f"{accuracy:.3g}", "bound": f"{bound:g}"}
        return State.REJECTED, StoredMessage("rolling_gate", values).as_json()
    return State.IN_USE, {}
