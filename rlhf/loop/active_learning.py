"""Active learning: open comparisons are ordered by the disagreement of the reward ensemble.

A run scores the next tasks of the queue, which then exchange positions in the order of disagreement. A random share
of the tasks keeps its position, and so do all tasks of held-out prompts and gold tasks: their judgments remain an
unbiased sample of the policy's responses, on which reward models and labelers can be measured. A keyed hash of the
task draws the share, so that it is the same every time, and no task shows whether it is in it.
"""

import hmac
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Count, Q
from django.utils.translation import gettext as _

from annotate.data.pacing import Pace
from annotate.data.stored_messages import refusal
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import Project, Prompt, Task, TaskResponse, User
from annotate.people import audit
from annotate.quality import measures
from models_core.contract.rows import json_lines
from rlhf.loop import versions
from rlhf.models import AcquisitionScore, LoopSettings, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.runs import Lease

Row = dict[str, Any]
HEADS = 5
"""Ensemble size of the loop's reward models when the loop settings prioritise uncertain comparisons."""


@dataclass(frozen=True, kw_only=True)
class QueueSummary:
    """Numbers of open comparisons without a judgment.

    scored: ordered by a reward model's disagreement.
    random: kept at random positions: the random share, and held-out prompts.
    unscored: the others.
    first: scores of the next comparisons in the queue.
    """

    scored: int
    random: int
    unscored: int
    first: list[AcquisitionScore]


def start(*, project: Project, by: User | None, tasks: int | None = None) -> TrainingRun:
    """Queue a run in which the active reward ensemble scores the next open tasks and orders them.

    Reward models of other seeds belong to it. Raises Refused without an ensemble, and for fewer than two tasks.
    """
    policy = LoopSettings.of(project)
    reward = versions.active_reward(project)
    if reward is None:
        raise Refused(_("%(project)s has no reward model in use. Train and promote one first.") % {"project": project})
    if not can_disagree(reward):
        raise Refused(
            _(
                "%(reward)s is no ensemble. Train a reward model with the setting ensemble=5, or several that differ "
                "in their seed alone."
            )
            % {"reward": reward.label}
        )
    wanted = policy.tasks_scored if tasks is None else tasks
    if not 2 <= wanted <= queue.MOST_TASKS:
        raise Refused(_("Choose from 2 to %(most)d tasks.") % {"most": queue.MOST_TASKS}, status=400)
    if len(list(itertools.islice(_candidates(project, share=policy.random_share), 2))) < 2:
        raise refusal("too_few_comparisons")
    return runs.enqueue(
        project=project,
        stage=Stage.SCORE,
        config={"long_responses": "null"},
        options={"tasks": wanted, "random_share": policy.random_share},
        inputs={RunInput.Role.MODEL: reward},
        ensemble=versions.other_seeds(reward),
        by=by,
    )


def start_due() -> list[TrainingRun]:
    """Start the runs that are due."""
    started = []
    for policy in LoopSettings.objects.filter(uncertain_first=True).select_related("project"):
        if (run := start_if_due(policy.project)) is not None:
            started.append(run)
    return started


def start_if_due(project: Project) -> TrainingRun | None:
    """Start a run if the project prioritises uncertain comparisons, and a reward model was promoted or responses were
    sampled since the last one. Idempotent.
    """
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        if not _is_due(project):
            return None
        try:
            return start(project=project, by=None)
        except Refused:
            return None  # fewer than two tasks yet


def _is_due(project: Project) -> bool:
    reward = versions.active_reward(project)
    if not LoopSettings.of(project).uncertain_first or reward is None or not can_disagree(reward):
        return False
    of_stage = project.training_runs.order_by("-pk")
    last = of_stage.filter(stage=Stage.SCORE).first()
    if last is None:
        return True
    sampled = project.training_runs.filter(stage=Stage.SAMPLE, status=TrainingRun.Status.SUCCEEDED)
    sampled_at = sampled.order_by("-finished_at").values_list("finished_at", flat=True).first()
    news = [moment for moment in (reward.promoted_at, sampled_at) if moment is not None]
    return last.ended and any(moment > last.created_at for moment in news)


def ensemble_settings(project: Project) -> dict[str, Any]:
    """Of the loop's reward models: an ensemble, if its disagreement orders the queue."""
    return {"ensemble": HEADS} if LoopSettings.of(project).uncertain_first else {}


def can_disagree(reward: ModelVersion) -> bool:
    """Whether a reward model has several heads, or versions of other seeds."""
    return int(reward.metrics.get("ensemble") or 1) > 1 or bool(versions.other_seeds(reward))


def is_random(task_id: int, *, project: Project, share: float) -> bool:
    """Whether a task is in the random share. A larger share is a superset of a smaller one."""
    digest = hmac.digest(project.pseudonym_key.encode(), f"stays at random: {task_id}".encode(), "sha256")
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def rows_of(run: TrainingRun) -> list[Row]:
    """The tasks that a run scores, chosen when it begins: the next ones of the queue. Raises Refused for under two."""
    tasks = list(
        itertools.islice(_candidates(run.project, share=run.options["random_share"]), int(run.options["tasks"]))
    )
    if len(tasks) < 2:
        raise refusal("too_few_comparisons")
    found = Task.objects.filter(pk__in=tasks).select_related("prompt").prefetch_related("task_responses__response")
    return [
        {
            "id": str(task.pk),
            "prompt": task.prompt.messages,
            "responses": [{"text": item.response.text} for item in task.task_responses.all()],
        }
        for task in found.order_by("pk")
        if task.prompt is not None
    ]


def _candidates(project: Project, *, share: float) -> Iterator[int]:
    """Ids of tasks that may move, in queue order."""
    ids = queue.movable(project).filter(prompt__split=Prompt.Split.TRAIN).values_list("pk", flat=True)
    return (pk for pk in ids if not is_random(pk, project=project, share=share))


def store(run: TrainingRun, lease: Lease, path: Path) -> dict[str, Any]:
    """Order the scored tasks and store their scores; returns counts. Idempotent. Raises LeaseLost."""
    rows = json_lines.whole(path)
    urgency = {int(row["id"]): float(row["disagreement"]) for row in rows if row.get("disagreement") is not None}

    def renew() -> None:
        # It locks the run's row: two workers never order the same tasks concurrently.
        runs.renew(lease)

    renew()
    moved = queue.reorder(project=run.project, urgency=urgency, renew=renew)
    order = sorted(urgency, key=lambda pk: -urgency[pk])
    pace = Pace()
    for batch in pace.batches(enumerate(order, 1)):
        with pace.transaction():
            renew()
            AcquisitionScore.objects.bulk_create(
                [AcquisitionScore(task_id=pk, run=run, disagreement=urgency[pk], place=place) for place, pk in batch],
                update_conflicts=True,
                unique_fields=["task"],
                update_fields=["run", "disagreement", "place"],
            )
    _hand_over_scores(run, rows)
    if moved:
        audit.record(
            verb="queue.rearranged", actor=None, subject=run, project=run.project, tasks=len(urgency), moved=moved
        )
    values = list(urgency.values())
    return {
        "tasks": len(values),
        "not_scored": len(rows) - len(values),
        "disagreement": sum(values) / len(values) if values else None,
    }


def _hand_over_scores(run: TrainingRun, rows: list[Row]) -> None:
    """Give annotate the scores of the responses, which labelers' preferences are compared with."""
    reward = run.run_inputs.get(role=RunInput.Role.MODEL).version
    responses: dict[int, list[int]] = {}
    shown = TaskResponse.objects.filter(task__in=[int(row["id"]) for row in rows]).order_by("task", "number")
    for task_id, response_id in shown.values_list("task", "response"):
        responses.setdefault(task_id, []).append(response_id)
    scores = {
        response_id: float(score)
        for row in rows
        for response_id, score in zip(responses.get(int(row["id"]), []), row.get("scores") or [], strict=False)
        if score is not None
    }
    measures.store_scores(scores, scorer=reward.label)


def queue_summary(project: Project, *, first: int = 20) -> QueueSummary:
    """Counts and the first `first` scores, for the manager's page."""
    share = LoopSettings.of(project).random_share
    counts = queue.movable(project).aggregate(
        all=Count("pk"), scored=Count("pk", filter=Q(acquisition_score__isnull=False))
    )
    unscored = queue.movable(project).filter(acquisition_score=None).values_list("pk", "prompt__split")
    random = sum(
        split != Prompt.Split.TRAIN or is_random(pk, project=project, share=share) for pk, split in unscored.order_by()
    )
    coming = AcquisitionScore.objects.filter(task__in=queue.movable(project)).order_by("task__position")
    return QueueSummary(
        scored=counts["scored"],
        random=random,
        unscored=counts["all"] - counts["scored"] - random,
        first=list(coming.select_related("task__prompt", "run")[:first]),
    )
