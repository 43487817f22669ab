"""Which tasks come sooner, where somebody knows how much each would teach. Here that is a number, wherever from."""

from collections import defaultdict
from collections.abc import Callable, Mapping

from django.db.models import QuerySet

from annotate.data.pacing import Pace
from annotate.labeling.queue.leases import raise_epoch
from annotate.models import Project, Task

MOST_TASKS = 2_000
"""Tasks that may be rearranged at once."""


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


def reorder(*, project: Project, urgency: Mapping[int, float], renew: Callable[[], object] = lambda: None) -> int:
    """Let these tasks ({id: urgency}) come in the order of their urgency, the highest first; returns how many moved.

    They trade places among themselves, within a priority: every other task keeps its own. So tasks of other kinds, gold
    ones, and those that are left out of this on purpose, come exactly as often as before, at every point of the queue,
    which a priority above theirs would not allow. Doing it twice moves nothing more; a task that was judged meanwhile
    is left alone. At most MOST_TASKS at once, in short transactions, in each of which `renew` is called first.
    """
    if len(urgency) > MOST_TASKS:
        raise ValueError(f"{len(urgency)} tasks are more than {MOST_TASKS}")
    moved, pace = 0, Pace()
    for batch in pace.batches(_moves(project, urgency)):
        with pace.transaction():
            renew()
            for task, place, wanted in batch:
                moved += movable(project).filter(pk=task, random_key=place).update(random_key=wanted)
            # Labelers who have come past these places look at the whole queue again.
            raise_epoch(project_id=project.pk)
    return moved


def _moves(project: Project, urgency: Mapping[int, float]) -> list[tuple[int, int, int]]:
    """(task, its place, the place it shall have) of those that move, in the order of ids as everywhere in the queue.

    A task that is judged before its turn keeps its place, which then is two tasks': that harms nobody.
    """
    of_priority: dict[int, list[Task]] = defaultdict(list)
    for task in movable(project).filter(pk__in=list(urgency)).order_by("pk"):
        of_priority[task.priority].append(task)
    moves = []
    for tasks in of_priority.values():
        places = sorted(task.random_key for task in tasks)
        # Equally urgent ones keep the order they have: it is random.
        wanted = sorted(tasks, key=lambda task: (-urgency[task.pk], task.random_key))
        moves += [(task.pk, task.random_key, place) for task, place in zip(wanted, places, strict=True)]
    return sorted(move for move in moves if move[1] != move[2])
