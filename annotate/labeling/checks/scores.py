"""The job that scores hidden checks: what a labeler ordered, against what is known, what they said before, or others.

A submit marks the task of a check (`Task.checks_stale_at`) in the update that an ordinary task gets as well, and the
score follows here, so that neither a page nor its time shows the difference. Each score is a share of pairs:

    gold         pairs of the known order that were ordered so; a tie, or a response that was not ranked, is a miss
    repeat       pairs ranked both times on which the labeler said the same; 1 where all were unacceptable both times
    calibration  pairs of the consensus of all others that were ordered so, from two others on

A revision changes the score, and a judgment that was taken back has none; nor has one of a head-to-head evaluation, of
which no order is known.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone

from annotate.data.pacing import Pace
from annotate.labeling.checks import thresholds
from annotate.labeling.ordering import Ordering
from annotate.labeling.queue import adaptive_overlap
from annotate.models import Judgment, Project, QualityCheck, Task
from annotate.quality import consensus, measures
from annotate.quality.aggregation.task_votes import TaskVotes
from annotate.quality.agreement import against_gold, pairwise_agreement

Kind = QualityCheck.Kind
BATCH = 100
SECONDS = 20.0
"""Of work in one run of the job; the next one goes on."""
FEWEST_OTHERS = 2
"""Other labelers of a calibration task, before somebody is compared with their consensus."""
FIELDS = ("pk", "task", "labeler", "created_at", "latest__tiers", "latest__all_unacceptable")


def refresh_due(*, seconds: float = SECONDS) -> int:
    """Score what was judged since, act on thresholds, and adapt overlaps; returns how many tasks were looked at."""
    deadline, done, last = time.monotonic() + seconds, 0, 0
    # In the order of keys, so that a task that is marked again meanwhile waits for the next run.
    marked = Task.objects.filter(checks_stale_at__isnull=False).order_by("pk")
    while tasks := list(marked.filter(pk__gt=last).select_related("project")[:BATCH]):
        by_project: dict[Project, list[Task]] = defaultdict(list)
        for task in tasks:
            by_project[task.project].append(task)
        for project, own in by_project.items():
            done += _refresh(project, own)
        last = tasks[-1].pk
        if time.monotonic() > deadline:
            break
    return done


def _refresh(project: Project, tasks: Sequence[Task]) -> int:
    if project.adaptive_overlap:
        # Before the marks go: a job that dies in between leaves them.
        adaptive_overlap.adapt(project, [task.pk for task in tasks])
    scores = scored(project, tasks)
    marks = {task.pk: task.checks_stale_at for task in tasks}
    labelers: set[tuple[int, str]] = set()
    pace, done = Pace(largest=BATCH), 0
    for batch in pace.batches([task.pk for task in tasks]):
        with pace.transaction():
            current = [task_id for task_id in batch if _unmark(task_id, marks[task_id])]
            rows = [row for task_id in current for row in scores.get(task_id, ())]
            _store(rows, tasks=current)
            labelers |= {(row.labeler_id, row.kind) for row in rows}
            done += len(current)
    for labeler, kind in sorted(labelers):
        thresholds.evaluate(project=project, labeler_id=labeler, kind=kind)
    return done


def _unmark(task_id: int, marked_at: datetime | None) -> bool:
    """Lock a task and take its mark away. False where it was marked again since, for a judgment not read here."""
    return Task.objects.filter(pk=task_id, checks_stale_at=marked_at).update(checks_stale_at=None) == 1


def _store(rows: Sequence[QualityCheck], *, tasks: Sequence[int]) -> None:
    gone = QualityCheck.objects.filter(judgment__task__in=tasks).exclude(judgment__in=[row.judgment_id for row in rows])
    gone.filter(judgment__latest=None).delete()
    QualityCheck.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["judgment"], update_fields=["score", "kind"]
    )
    # Their judgments don't mark the consensus, by which other tasks are found.
    measures.judgments_changed(tasks)


def scored(project: Project, tasks: Sequence[Task]) -> dict[int, list[QualityCheck]]:
    """{task: the checks of its judgments} as they are now, not stored."""
    own = Judgment.objects.filter(task__in=[task.pk for task in tasks], latest__isnull=False)
    checks = own.filter(Q(is_check=True) | Q(task__state=Task.State.CALIBRATION)).order_by("pk")
    judgments: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in list(checks.values(*FIELDS)):
        judgments[row["task"]].append(row)
    before = _said_before(task for task in tasks if task.pk in judgments)
    found: dict[int, list[QualityCheck]] = {}
    for task in tasks:
        rows = judgments.get(task.pk, [])
        kind, scores = _kind_and_scores(project, task, rows, before=before)
        found[task.pk] = [
            QualityCheck(
                judgment_id=row["pk"],
                project=project,
                labeler_id=row["labeler"],
                kind=kind,
                score=score,
                created_at=row["created_at"],
            )
            for row, score in zip(rows, scores, strict=True)
            if score is not None
        ]
    return found


def _kind_and_scores(
    project: Project, task: Task, rows: Sequence[dict[str, Any]], *, before: Mapping[tuple[int, int], dict[str, Any]]
) -> tuple[str, list[float | None]]:
    if task.repeat_of_id is not None:
        return Kind.REPEAT, [_consistency(row, before.get((task.repeat_of_id, row["labeler"]))) for row in rows]
    if task.state == Task.State.CALIBRATION:
        return Kind.CALIBRATION, _against_others(project, rows)
    known = Ordering.stored(task.gold_tiers)
    return Kind.GOLD, [_share(Ordering.stored(row["latest__tiers"]), known) for row in rows]


def _said_before(tasks: Iterable[Task]) -> dict[tuple[int, int], dict[str, Any]]:
    """{(task, labeler): judgment} of the tasks that these repeat."""
    first = [task.repeat_of_id for task in tasks if task.repeat_of_id is not None]
    judged = Judgment.objects.filter(task__in=first, latest__isnull=False).order_by()
    return {(row["task"], row["labeler"]): row for row in judged.values(*FIELDS)}


def _consistency(row: Mapping[str, Any], before: Mapping[str, Any] | None) -> float | None:
    if before is None:
        return None
    share = pairwise_agreement([Ordering.stored(said["latest__tiers"]) for said in (before, row)])
    if share is not None:
        return share
    return float(before["latest__all_unacceptable"] and row["latest__all_unacceptable"])


def _against_others(project: Project, rows: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Of each judgment, the share of pairs as in the consensus of all others."""
    if len(rows) <= FEWEST_OTHERS:
        return [None for _ in rows]
    orderings = {row["labeler"]: Ordering.stored(row["latest__tiers"]) for row in rows}
    others = [
        TaskVotes(orderings={other: said for other, said in orderings.items() if other != row["labeler"]})
        for row in rows
    ]
    estimates = consensus.Estimates.of(project)
    found = consensus.orders(others, method=project.consensus_method, estimates=estimates)
    return [_share(orderings[row["labeler"]], Ordering(order.tiers)) for row, order in zip(rows, found, strict=True)]


def _share(ordering: Ordering, known: Ordering) -> float | None:
    hits, total = against_gold(ordering, known)
    return hits / total if total else None


def mark_stale(tasks: Iterable[int]) -> None:
    """Have the checks of these tasks scored again."""
    Task.objects.filter(pk__in=list(tasks)).update(checks_stale_at=timezone.now())
