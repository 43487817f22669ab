"""Consensus of a project's tasks and reliability of its labelers: stored beside the judgments, computed by a job.

A new judgment or revision sets `Task.consensus_stale_at`, in an update that its transaction makes anyway. `refresh`
then computes the marked tasks from their own judgments and the stored estimates of the project; a task that a reviewer
has adjudicated gets the adjudicated order. With it is stored what the review queue is ordered by. The estimates
themselves (reliabilities, confusion matrices) are renewed when there are a twentieth more judgments than the last time;
where that moves them, it marks the tasks that they bear on. No judgment is ever altered.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.db.models import Exists, Min, OuterRef, QuerySet
from django.utils import timezone

from annotate.data.pacing import Pace
from annotate.labeling import task_kinds
from annotate.labeling.ordering import Ordering
from annotate.models import (
    AggregationEstimate,
    Judgment,
    JudgmentReturn,
    LabelerReliability,
    Project,
    Task,
    TaskConsensus,
    User,
)
from annotate.quality.aggregation import borda, crowd_bt, dawid_skene, majority
from annotate.quality.aggregation.crowd_bt import CrowdBT
from annotate.quality.aggregation.dawid_skene import DawidSkene
from annotate.quality.aggregation.task_votes import MOST_CATEGORIES, Subject, TaskVotes, of_tasks
from annotate.quality.aggregation.votes import Consensus
from annotate.quality.agreement import task_agreement
from annotate.quality.measures import hand_over

Method = Project.ConsensusMethod
LATEST_TASKS = 2_000
"""Estimates rest on the latest tasks that two or more labelers judged, at most so many."""
GROWTH = 1.05
"""Estimates are renewed when there are so many times as many judgments."""
MOVED = 0.02
"""A reliability that moved less changes nothing worth computing again."""
BATCH = 200
SECONDS = 30.0
"""Of work in one run of the job; the next one goes on."""
DIGITS = 6
COMPUTED = [
    *("method", "tiers", "confidence", "labels", "judgments"),
    *("agreement", "certainty", "for_review", "computed_at"),
]
"""Fields of a stored consensus that the job writes."""


@dataclass(frozen=True, kw_only=True)
class ConsensusView:
    """A task's consensus beside one of its judgments, whose letters its line has.

    others: (judgment, its line) of the task's other judgments. adjudicated_by: who decided. is_stale: a judgment came
    since.
    """

    stored: TaskConsensus
    line: str
    others: list[tuple[Judgment, str]]
    adjudicated_by: User | None
    is_stale: bool

    @classmethod
    def beside(cls, judgment: Judgment) -> "ConsensusView | None":
        """None before the job has computed it, and for tasks whose responses are not ordered."""
        stored = TaskConsensus.objects.filter(task=judgment.task_id).exclude(tiers=[]).first()
        if stored is None:
            return None
        presentation = judgment.assignment.presentation
        others = Judgment.objects.filter(Judgment.COUNTED, task=judgment.task_id).exclude(pk=judgment.pk)
        decided = Judgment.objects.filter(Judgment.ADJUDICATED, task=judgment.task_id).select_related("labeler").first()
        return cls(
            stored=stored,
            line=Ordering.stored(stored.tiers).in_letters(presentation),
            others=[
                (other, Ordering.stored(other.latest.tiers).in_letters(presentation))
                for other in others.select_related("labeler", "latest").order_by("pk")
                if other.latest is not None
            ],
            adjudicated_by=decided.labeler if decided is not None else None,
            is_stale=judgment.task.consensus_stale_at is not None,
        )


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """What the consensus of a task is computed with."""

    crowd_bt: CrowdBT = field(default_factory=CrowdBT)
    labels: Mapping[Subject, "DawidSkene[Any]"] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Project) -> "Estimates":
        """Those that are stored; of a project that has none yet, those of nothing learned."""
        stored = AggregationEstimate.objects.filter(project=project).first()
        if stored is None:
            return cls()
        labelers = list(LabelerReliability.objects.filter(project=project))
        return cls(
            crowd_bt=CrowdBT(
                reliability={row.labeler_id: row.reliability for row in labelers if row.comparisons},
                comparisons={row.labeler_id: row.comparisons for row in labelers if row.comparisons},
                tie=stored.tie,
                spread=stored.spread,
            ),
            labels={
                (part, name): DawidSkene(
                    categories=tuple(values["categories"]),
                    priors=np.array(values["priors"]),
                    typical=np.array(values["typical"]),
                    confusion={
                        row.labeler_id: np.array(row.confusion[part][name])
                        for row in labelers
                        if name in row.confusion.get(part, {})
                    },
                )
                for part, names in stored.labels.items()
                for name, values in names.items()
            },
        )

    @classmethod
    def from_votes(cls, tasks: Iterable[TaskVotes], *, heartbeat: Callable[[], None] = lambda: None) -> "Estimates":
        """Estimated from tasks; those with one judgment say nothing."""
        orderings: list[dict[int, Ordering]] = []
        items: dict[Subject, list[dict[int, Any]]] = {}
        for task in tasks:
            orderings.append(task.orderings)
            for (subject, _), votes in task.votes.items():
                if len(votes) > 1:
                    items.setdefault(subject, []).append(votes)
        return cls(
            crowd_bt=crowd_bt.estimate(orderings, heartbeat=heartbeat),
            labels={
                subject: dawid_skene.estimate(votes)
                for subject, votes in sorted(items.items())
                if len({vote for item in votes for vote in item.values()}) <= MOST_CATEGORIES
            },
        )


def orders(tasks: list[TaskVotes], *, method: str, estimates: Estimates) -> list[Consensus]:
    """The consensus order of each task."""
    if method == Method.CROWD_BT:
        return crowd_bt.consensus([task.orderings for task in tasks], estimates.crowd_bt)
    count = {Method.MAJORITY: majority.consensus, Method.BORDA: borda.consensus}[Method(method)]
    return [count(task.orderings) for task in tasks]


def labels(task: TaskVotes, *, estimates: Estimates) -> dict[str, dict[str, dict[str, Any]]]:
    """Flags with their probability and ratings with value and probability, as TaskConsensus.labels has them.

    A flag that nobody set is left out.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for ((part, name), response_id), votes in sorted(task.votes.items()):
        if part == "flags" and not any(votes.values()):
            continue
        model = estimates.labels.get((part, name)) or dawid_skene.estimate([votes], categories=_categories(part))
        of_response = found.setdefault(str(response_id), {}).setdefault(part, {})
        if part == "flags":
            posterior = model.posterior(votes)
            yes = model.categories.index(True) if True in model.categories else None
            of_response[name] = round(float(posterior[yes]), DIGITS) if yes is not None else 0.0
        else:
            value, probability = model.label(votes)
            of_response[name] = [value, round(probability, DIGITS)]
    return found


def adjudicated(task: TaskVotes) -> tuple[Consensus, dict[str, dict[str, dict[str, Any]]]]:
    """Order and labels of an adjudication, which stand alone and are certain."""
    (ordering,) = task.orderings.values()
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for ((part, name), response_id), votes in sorted(task.votes.items()):
        (value,) = votes.values()
        if part == "ratings" or value:
            of_response = found.setdefault(str(response_id), {}).setdefault(part, {})
            of_response[name] = [value, 1.0] if part == "ratings" else 1.0
    return Consensus(tuple(tuple(sorted(tier)) for tier in ordering.tiers), 1.0), found


def _categories(part: str) -> tuple[bool, ...]:
    return (False, True) if part == "flags" else ()


def mark_stale(tasks: QuerySet[Task]) -> None:
    """Have the consensus of tasks computed again, in short transactions."""
    keys, pace = list(tasks.order_by().values_list("pk", flat=True)), Pace(largest=BATCH)
    for batch in pace.batches(keys):
        with pace.transaction():
            Task.objects.filter(pk__in=batch).update(consensus_stale_at=timezone.now())


def refresh_due(*, seconds: float = SECONDS) -> int:
    """The job: refresh every project that has marked tasks, for so long; how many tasks were computed.

    The project with the oldest mark comes first, and each has its share of the time that is left: one with more than
    the job can do keeps no other from its turn. What the others leave is for those that were cut short.
    """
    end, computed = time.monotonic() + seconds, 0
    waiting = _projects_by_oldest_mark()
    while waiting:
        cut_short = []
        for place, project in enumerate(waiting):
            now = time.monotonic()
            share = now + (end - now) / (len(waiting) - place)
            computed += refresh(project, end=share)
            if time.monotonic() > end:
                return computed
            if time.monotonic() > share:
                cut_short.append(project)
        waiting = cut_short
    return computed


def _projects_by_oldest_mark() -> list[Project]:
    marked = Task.objects.filter(consensus_stale_at__isnull=False).order_by()
    oldest = dict(marked.values_list("project").annotate(oldest=Min("consensus_stale_at")))
    return sorted(Project.objects.filter(pk__in=oldest), key=lambda project: oldest[project.pk])


def refresh(project: Project, *, end: float | None = None) -> int:
    """Renew the estimates if they are due, then the consensus of every marked task; how many tasks were computed."""
    if _is_due(project):
        estimate(project)
    estimates, computed = Estimates.of(project), 0
    marked = Task.objects.filter(project=project, consensus_stale_at__isnull=False)
    # The oldest marks first, up to the newest one there is now: a task that is marked again meanwhile comes next time.
    newest = marked.order_by("-consensus_stale_at").values_list("consensus_stale_at", flat=True).first()
    oldest = marked.filter(consensus_stale_at__lte=newest).order_by("consensus_stale_at", "pk") if newest else None
    while oldest is not None and (found := list(oldest.values_list("pk", "consensus_stale_at")[:BATCH])):
        computed += _store(project, dict(sorted(found)), estimates=estimates)
        if end is not None and time.monotonic() > end:
            break
    return computed


def _store(project: Project, marked: Mapping[int, Any], *, estimates: Estimates) -> int:
    """Compute and store some tasks. A task that was marked again since stays marked, and what is stored of it too."""
    decided = {task_id: votes for task_id, votes in of_tasks(marked, chosen=Judgment.ADJUDICATED) if votes.orderings}
    tasks = [(task_id, votes) for task_id, votes in of_tasks(marked) if votes.orderings or task_id in decided]
    ordered = orders([votes for _, votes in tasks], method=project.consensus_method, estimates=estimates)
    reviewable = _reviewable(marked)
    rows = {}
    for (task_id, votes), consensus in zip(tasks, ordered, strict=True):
        agreement = task_agreement(votes.orderings, none_acceptable=votes.none_acceptable)
        # Without an order there is no confidence in one.
        confidence = consensus.confidence if consensus.tiers else None
        known = [share for share in (agreement, confidence) if share is not None]
        order, of_responses = consensus, labels(votes, estimates=estimates)
        if task_id in decided:
            order, of_responses = adjudicated(decided[task_id])
        rows[task_id] = TaskConsensus(
            task_id=task_id,
            project=project,
            method=project.consensus_method,
            tiers=[list(tier) for tier in order.tiers],
            confidence=round(order.confidence, DIGITS),
            labels=of_responses,
            judgments=len(votes.orderings),
            agreement=None if agreement is None else round(agreement, DIGITS),
            certainty=round(min(known), DIGITS) if known else None,
            for_review=task_id in reviewable and task_id not in decided and bool(known),
            computed_at=timezone.now(),
        )
    pace, stored = Pace(largest=BATCH), 0
    for batch in pace.batches(marked):
        with pace.transaction():
            # The row is locked here: a judgment that comes now is either in what was read, or marks the task anew.
            current = [
                task_id
                for task_id in batch
                if Task.objects.filter(pk=task_id, consensus_stale_at=marked[task_id]).update(consensus_stale_at=None)
            ]
            hand_over(project, {task_id: marked[task_id] for task_id in current})
            TaskConsensus.objects.filter(task__in=[task_id for task_id in current if task_id not in rows]).delete()
            TaskConsensus.objects.bulk_create(
                [rows[task_id] for task_id in current if task_id in rows],
                update_conflicts=True,
                unique_fields=["task"],
                update_fields=COMPUTED,
            )
            stored += len(current)
    return stored


def _reviewable(tasks: Iterable[int]) -> set[int]:
    """Those of the tasks that a reviewer may decide: complete, ordered, not of a chat, with nothing returned."""
    with_order = [kind.name for kind in task_kinds.registered() if kind.has_order]
    complete = Task.objects.filter(pk__in=list(tasks), state=Task.State.COMPLETE, kind__in=with_order)
    judgments = Judgment.objects.filter(task=OuterRef("pk"))
    returned = JudgmentReturn.objects.filter(JudgmentReturn.OPEN, judgment__task=OuterRef("pk"))
    chosen = complete.filter(~Exists(judgments.filter(chat_turn__isnull=False)), ~Exists(returned))
    return set(chosen.values_list("pk", flat=True))


def _is_due(project: Project) -> bool:
    stored = AggregationEstimate.objects.filter(project=project).first()
    return stored is None or _judgments(project).count() >= max(stored.judgments * GROWTH, stored.judgments + 1)


def _judgments(project: Project) -> QuerySet[Judgment]:
    return Judgment.objects.filter(Judgment.COUNTED, project=project)


def estimate(project: Project) -> Estimates:
    """Estimate and store the reliabilities of a project; where they moved, mark the tasks that they bear on."""
    before, counted = Estimates.of(project), _judgments(project).count()
    shared = Task.objects.filter(project=project, judgments_given__gt=1).order_by("-pk")
    latest = sorted(shared.values_list("pk", flat=True)[:LATEST_TASKS])
    found = Estimates.from_votes(votes for _, votes in of_tasks(latest))
    now = timezone.now()
    confusion: dict[int, dict[str, dict[str, Any]]] = {}
    parameters: dict[str, dict[str, Any]] = {}
    for (part, name), model in found.labels.items():
        parameters.setdefault(part, {})[name] = {
            "categories": list(model.categories),
            "priors": _rounded(model.priors),
            "typical": _rounded(model.typical),
        }
        for labeler, matrix in model.confusion.items():
            confusion.setdefault(labeler, {}).setdefault(part, {})[name] = _rounded(matrix)
    labelers = sorted({*found.crowd_bt.reliability, *confusion})
    pace = Pace()
    for batch in pace.batches(labelers):
        with pace.transaction():
            LabelerReliability.objects.bulk_create(
                [
                    LabelerReliability(
                        project=project,
                        labeler_id=labeler,
                        reliability=round(found.crowd_bt.of(labeler), DIGITS),
                        comparisons=found.crowd_bt.comparisons.get(labeler, 0),
                        confusion=confusion.get(labeler, {}),
                        computed_at=now,
                    )
                    for labeler in batch
                ],
                update_conflicts=True,
                unique_fields=["project", "labeler"],
                update_fields=["reliability", "comparisons", "confusion", "computed_at"],
            )
    LabelerReliability.objects.filter(project=project).exclude(labeler__in=labelers).delete()
    values = {
        "tie": round(found.crowd_bt.tie, DIGITS),
        "spread": found.crowd_bt.spread,
        "labels": parameters,
        "judgments": counted,
        "computed_at": now,
    }
    AggregationEstimate.objects.update_or_create(project=project, defaults=values)
    _mark_moved(project, before=before, now=found)
    return found


def _mark_moved(project: Project, *, before: Estimates, now: Estimates) -> None:
    """Mark the tasks of several judgments on which the new estimates bear."""
    tasks = Task.objects.filter(project=project, judgments_given__gt=1)
    old, new = before.crowd_bt, now.crowd_bt
    if old.spread != new.spread or abs(old.tie - new.tie) > 5 * MOVED or set(before.labels) != set(now.labels):
        return mark_stale(tasks)
    moved = [
        labeler
        for labeler in {*old.reliability, *new.reliability}
        if abs(old.of(labeler) - new.of(labeler)) >= MOVED or _confusion_moved(before, now, labeler)
    ]
    if moved:
        judged = _judgments(project).filter(labeler__in=moved)
        mark_stale(tasks.filter(pk__in=judged.order_by().values("task")))
    return None


def _confusion_moved(before: Estimates, now: Estimates, labeler: int) -> bool:
    for subject, model in now.labels.items():
        old, new = before.labels[subject].confusion.get(labeler), model.confusion.get(labeler)
        if (old is None) != (new is None):
            return True
        if old is not None and new is not None and (old.shape != new.shape or np.abs(old - new).max() >= 5 * MOVED):
            return True
    return False


def _rounded(values: np.ndarray) -> Any:
    return np.round(values, DIGITS).tolist()
