"""How many rows a run will learn from: of its snapshot, or of the data that a new one would freeze now."""

from collections.abc import Callable

from django.db.models import QuerySet

from annotate.data import snapshots
from annotate.models import Demonstration, Judgment, Project, Prompt, Snapshot, Task

MOST_COUNTED = 100_000
"""A form asks while one types: beyond these the newest snapshot of the kind stands for the data."""
TRAIN = Prompt.Split.TRAIN
Rows = QuerySet[Judgment] | QuerySet[Demonstration] | QuerySet[Prompt]


def expected(project: Project, *, kind: str, snapshot: Snapshot | None, aggregation: str = "") -> int | None:
    """Of train prompts. kind: of the snapshot that the stage reads; None without one, and where nothing is known."""
    if snapshot is not None and snapshot.state == Snapshot.State.READY:
        return _frozen(snapshot)
    if kind not in _CURRENT:
        return None
    if aggregation == Snapshot.Aggregation.CONSENSUS:
        counted = _judgments(project).order_by().values("task").distinct()[: MOST_COUNTED + 1].count()
    else:
        counted = _CURRENT[kind](project)[: MOST_COUNTED + 1].count()
    if counted <= MOST_COUNTED:
        return counted or None
    ready = project.snapshots.filter(kind=kind, format="hone", state=Snapshot.State.READY)
    newest = ready.filter(aggregation=aggregation or Snapshot.Aggregation.RAW).order_by("-pk").first()
    return counted if newest is None else max(counted, _frozen(newest))


def _frozen(snapshot: Snapshot) -> int:
    file = snapshot.files.get(snapshots.file_name(snapshot, TRAIN)) or {}
    return int(file.get("rows") or snapshot.rows)


def _judgments(project: Project) -> QuerySet[Judgment]:
    return project.judgments.filter(Judgment.COUNTED, task__kind=Task.Kind.COMPARE, task__prompt__split=TRAIN)


def _demonstrations(project: Project) -> QuerySet[Demonstration]:
    return Demonstration.for_training(project).filter(prompt__split=TRAIN)


def _prompts(project: Project) -> QuerySet[Prompt]:
    return project.prompts.filter(split=TRAIN)


_CURRENT: dict[str, Callable[[Project], Rows]] = {
    Snapshot.Kind.RANKINGS: _judgments,
    Snapshot.Kind.DEMONSTRATIONS: _demonstrations,
    Snapshot.Kind.PROMPTS: _prompts,
}
