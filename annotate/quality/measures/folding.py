"""The job that keeps the sums: contributions of changed tasks are computed again and the difference is added.

Which tasks changed is known without a statement in a submit. A judgment, a revision and a withdrawal set their task's
`consensus_stale_at`; the job looks at the marks of the last minutes. Where the consensus clears a mark that is not in
the sums yet (an import that became visible late, a job that was down), it leaves a MeasureChange in its transaction,
and so does everything else that bears on a task (`judgments_changed`). Nothing depends on the order of primary keys,
so a transaction that commits late is found whenever it does.

Folding a task twice adds nothing the second time: what it contributes is stored with it and taken out first. One job a
project, by a lease; all writing is in short transactions that carry its token.
"""

import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from annotate.data.pacing import Pace
from annotate.models import (
    Judgment,
    MeasureChange,
    MeasuresState,
    Project,
    ResponseScore,
    Task,
    TaskMeasures,
    TaskResponse,
)
from annotate.quality.measures import facts, sums
from annotate.quality.measures.contributions import contribution
from annotate.quality.measures.row_writes import RowWrite
from annotate.quality.preference_analysis.counted_authors import CountedAuthors

LEASE = timedelta(seconds=60)
RECENT = timedelta(minutes=3)
"""Marks that are this old are left to the consensus, which hands them over."""
BATCH = 500
SECONDS = 30.0
"""Of work in one run of the job; the next one goes on."""


class LeaseLost(Exception):
    """Another job works on the project's sums."""


class _Lease:
    """The right to change a project's sums. Raises LeaseLost when it can't be had."""

    def __init__(self, project: Project) -> None:
        self.token, now = uuid.uuid4(), timezone.now()
        self.project = project
        self._state = MeasuresState.objects.filter(project=project)
        free = Q(token=None) | Q(lease_until__lt=now)
        self._state.get_or_create(project=project)
        if not self._state.filter(free).update(token=self.token, lease_until=now + LEASE):
            raise LeaseLost
        self.authors = CountedAuthors(self.read().counted_authors)

    def read(self) -> MeasuresState:
        return self._state.get()

    def update(self, **values: object) -> None:
        """Renews the lease, and locks it until the end of the transaction."""
        if not self._state.filter(token=self.token).update(lease_until=timezone.now() + LEASE, **values):
            raise LeaseLost

    def release(self) -> None:
        self._state.filter(token=self.token).update(token=None, lease_until=None)


def judgments_changed(tasks: Iterable[int]) -> None:
    """Have these tasks folded again: their judgments were left out or came back, or something else bears on them.

    In the caller's transaction, if there is one. A submit, a revision and a withdrawal need no call.
    """
    judged = Judgment.objects.filter(task=OuterRef("pk"))
    pace = Pace()
    for batch in pace.batches(tasks):
        found = list(Task.objects.filter(Exists(judged), pk__in=batch).order_by().values_list("pk", "project"))
        if found:
            with pace.transaction():
                MeasureChange.objects.bulk_create(MeasureChange(task_id=key, project_id=of) for key, of in found)


def hand_over(project: Project, marks: Mapping[int, object]) -> None:
    """Note the tasks whose mark ({task: consensus_stale_at}) is being cleared and not in the sums yet.

    For whoever clears marks, in the same transaction.
    """
    known = dict(TaskMeasures.objects.filter(task__in=list(marks)).order_by().values_list("task", "stale_at"))
    MeasureChange.objects.bulk_create(
        MeasureChange(task_id=key, project=project) for key, mark in marks.items() if known.get(key) != mark
    )


def store_scores(scores: Mapping[int, float], *, scorer: str) -> None:
    """Keep a reward model's scores of responses ({response: score}); a later score takes an earlier one's place."""
    now, pace = timezone.now(), Pace()
    for batch in pace.batches(sorted(scores)):
        with pace.transaction():
            ResponseScore.objects.bulk_create(
                [
                    ResponseScore(response_id=key, score=scores[key], scorer=scorer[:200], created_at=now)
                    for key in batch
                ],
                update_conflicts=True,
                unique_fields=["response"],
                update_fields=["score", "scorer", "created_at"],
            )
        shown = TaskResponse.objects.filter(response__in=batch).order_by().values_list("task", flat=True)
        judgments_changed(sorted(set(shown)))


def fold_due(*, seconds: float = SECONDS) -> int:
    """The job: fold what changed in every project, for so long; how many tasks were folded."""
    end, folded = time.monotonic() + seconds, 0
    recent = Task.objects.filter(consensus_stale_at__gt=timezone.now() - RECENT)
    waiting = (
        Q(measures_state=None)
        | Q(measures_state__recompute_after__isnull=False)
        | Q(pk__in=MeasureChange.objects.order_by().values("project").distinct())
        | Exists(recent.filter(project=OuterRef("pk")))
    )
    for project in Project.objects.filter(waiting).order_by("pk"):
        folded += fold(project, end=end)
        if time.monotonic() > end:
            break
    return folded


def fold(project: Project, *, end: float | None = None) -> int:
    """Bring a project's sums up to date, unless another job is at it; how many tasks were folded."""
    folded = 0
    with suppress(LeaseLost):
        lease = _Lease(project)
        try:
            if lease.read().recompute_after is not None:
                folded += _recompute(lease, end=end)
            if lease.read().recompute_after is None:
                folded += _fold_changes(lease, end=end)
                lease.update(folded_at=timezone.now())
        finally:
            lease.release()
    return folded


def request_recompute(project: Project) -> None:
    """Have all sums of a project computed from scratch. The present ones stay in use until that is done."""
    MeasuresState.objects.get_or_create(project=project)
    MeasuresState.objects.filter(project=project, recompute_after=None).update(recompute_after=0)


def _fold_changes(lease: _Lease, *, end: float | None) -> int:
    rows, folded = sums.SumRows(lease.project, generation=lease.read().generation), 0
    pace = Pace(largest=BATCH)
    # What is marked again meanwhile is left to the next run, so that this one ends.
    looked_at: set[int] = set()
    while True:
        changes = list(
            MeasureChange.objects.filter(project=lease.project).order_by("pk").values_list("pk", "task")[:BATCH]
        )
        marked = [key for key in _recently_marked(lease.project) if key not in looked_at]
        looked_at |= set(marked)
        tasks = {task for _, task in changes} | set(marked)
        if not tasks:
            return folded
        for batch in pace.batches(sorted(tasks)):
            folded += _fold_tasks(lease, pace, batch, rows)
        with pace.transaction():
            lease.update()
            MeasureChange.objects.filter(pk__in=[key for key, _ in changes]).delete()
        if end is not None and time.monotonic() > end:
            return folded


def _recently_marked(project: Project) -> "list[int]":
    """Tasks with a new mark that is not in the sums, the latest first."""
    in_sums = TaskMeasures.objects.filter(task=OuterRef("pk"), stale_at=OuterRef("consensus_stale_at"))
    marked = Task.objects.filter(~Exists(in_sums), project=project, consensus_stale_at__gt=timezone.now() - RECENT)
    return list(marked.order_by("-consensus_stale_at").values_list("pk", flat=True)[:BATCH])


def _recompute(lease: _Lease, *, end: float | None) -> int:
    """Fold every task into the next generation of sums, then use that one. What is begun is gone on with."""
    state, folded, pace = lease.read(), 0, Pace(largest=BATCH)
    generation = state.generation + 1
    if not state.recompute_after:
        # What an earlier attempt may have left behind.
        sums.remove_but(lease.project, generation=state.generation, renew=lease.update)
    after, rows = state.recompute_after or 0, sums.SumRows(lease.project, generation=generation)
    tasks = Task.objects.filter(project=lease.project).order_by("pk").values_list("pk", flat=True)
    while found := list(tasks.filter(pk__gt=after)[:BATCH]):
        for batch in pace.batches(found):
            folded += _fold_tasks(lease, pace, batch, rows, recompute_after=batch[-1])
            after = batch[-1]
            if end is not None and time.monotonic() > end:
                return folded
    lease.update(generation=generation, recompute_after=None)
    sums.remove_but(lease.project, generation=generation, renew=lease.update)
    return folded


def _fold_tasks(lease: _Lease, pace: Pace, tasks: list[int], sum_rows: sums.SumRows, **progress: int) -> int:
    """Take the former contributions of some tasks out of the sums and add the present ones, in one transaction."""
    generation = sum_rows.generation
    read, stale = facts.read(tasks, lease.authors)
    known = {
        key: (of, mark)
        for key, of, mark in TaskMeasures.objects.filter(task__in=list(read)).values_list(
            "task", "generation", "stale_at"
        )
    }
    in_sums = [key for key, (of, _mark) in known.items() if of == generation]
    before = dict(TaskMeasures.objects.filter(task__in=in_sums).values_list("task", "contribution"))
    rows, change = [], sums.Change()
    for key, task in read.items():
        now, former = contribution(task), before.get(key, {})
        if key not in known and not now and stale[key] is None:
            continue  # nobody has judged it
        if now != former:
            change.subtract(former)
            change.add(now)
        if now != former or known.get(key) != (generation, stale[key]):
            rows.append(
                {
                    "task_id": key,
                    "project_id": lease.project.pk,
                    "generation": generation,
                    "stale_at": stale[key],
                    "contribution": now,
                }
            )
    write_tasks, write_sums = _TASK_WRITE.upserts(rows), sum_rows.prepare(change)
    authors = {"counted_authors": lease.authors.numbers} if lease.authors.grew else {}
    with pace.transaction():
        lease.update(**progress, **authors)
        write_tasks()
        write_sums()
    lease.authors.grew = False
    return len(rows)


_TASK_WRITE = RowWrite(TaskMeasures, key=["task_id"], values=["project_id", "generation", "stale_at", "contribution"])
