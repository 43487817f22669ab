"""Which tasks come sooner, where somebody knows how much each would teach. Here that is a number, wherever from."""

from collections import defaultdict
from collections.abc import Mapping

from django.db import transaction
from django.db.models import QuerySet

from annotate.models import Project, Task

from .leases import raise_epoch

ROWS_AN_UPDATE = 200
MOST_TASKS = 2_000
"""Tasks that may be rearranged at once: their rows are locked for the length of one transaction."""


def movable(project: Project) -> QuerySet[Task]:
    """Comparisons that nobody has judged yet, in the order of the queue. Gold ones keep the places they have."""
    return Task.objects.filter(
        project=project,
        kind=Task.Kind.COMPARE,
        state=Task.State.OPEN,
        gold_tiers__isnull=True,
        judgments_given=0,
        slots_free__gt=0,
    ).order_by("position")


def rearrange(*, project: Project, urgency: Mapping[int, float]) -> int:
    """Let these tasks ({id: urgency}) come in the order of their urgency, the highest first; returns how many moved.

    They trade places among themselves, within a priority: every other task keeps its own. So tasks of other kinds, gold
    ones, and those that are left out of this on purpose, come exactly as often as before, at every point of the queue,
    which a priority above theirs would not allow. Doing it twice moves nothing more; a task that was judged meanwhile
    is left alone. At most MOST_TASKS at once.
    """
    if len(urgency) > MOST_TASKS:
        raise ValueError(f"{len(urgency)} tasks are more than {MOST_TASKS}")
    with transaction.atomic():
        # In the order of their ids, as everywhere in the queue; labelers who ask meanwhile pass them by.
        locked = movable(project).filter(pk__in=list(urgency)).order_by("pk").select_for_update(no_key=True)
        of_priority: dict[int, list[Task]] = defaultdict(list)
        for task in locked:
            of_priority[task.priority].append(task)
        moved = []
        for tasks in of_priority.values():
            places = sorted(task.random_key for task in tasks)
            # Equally urgent ones keep the order they have: it is random.
            wanted = sorted(tasks, key=lambda task: (-urgency[task.pk], task.random_key))
            for task, place in zip(wanted, places, strict=True):
                if task.random_key != place:
                    task.random_key = place
                    moved.append(task)
        Task.objects.bulk_update(moved, ["random_key"], batch_size=ROWS_AN_UPDATE)
        if moved:
            # Labelers who have come past these places look at the whole queue again.
            raise_epoch(project_id=project.pk)
    return len(moved)
