"""Pages of a project's tasks, newest first, by key: a page costs the same at the first task and at the millionth.

Where a filter lets few tasks through they are looked at directly. Else the newest tasks are looked through, in windows
that grow, until a page is full or SECONDS are over: then the page says how far it came, and the next one goes on there.
"""

import time
from dataclasses import dataclass

from django.db.models import QuerySet

from annotate.labeling.task_list.task_filters import TaskFilters
from annotate.models import Task

PAGE = 50
SECONDS = 0.12
FIRST_WINDOW, LARGEST_WINDOW = 500, 50_000


@dataclass(frozen=True, kw_only=True)
class Found:
    """Numbers of tasks, and the number before which the next page begins. `searched_to`: the time was over there."""

    numbers: list[int]
    before: int | None = None
    searched_to: int | None = None


@dataclass(frozen=True, kw_only=True)
class TaskPage:
    """As Found, with the tasks."""

    tasks: list[Task]
    before: int | None = None
    searched_to: int | None = None


def page(filters: TaskFilters, *, before: int | None = None, seconds: float = SECONDS, size: int = PAGE) -> TaskPage:
    """The newest tasks below number `before` that the filters let through."""
    found = numbers(filters, before=before, seconds=seconds, size=size)
    rows = Task.objects.filter(pk__in=found.numbers).select_related("prompt", "consensus").order_by("-pk")
    return TaskPage(tasks=list(rows), before=found.before, searched_to=found.searched_to)


def numbers(filters: TaskFilters, *, before: int | None = None, seconds: float = SECONDS, size: int = PAGE) -> Found:
    """As `page`, without reading the tasks."""
    all_tasks = Task.objects.filter(project=filters.project).order_by("-pk")
    if before is not None:
        all_tasks = all_tasks.filter(pk__lt=before)
    wanted = filters.apply(all_tasks)
    if filters.few is not None:
        return _found(_keys(wanted.filter(pk__in=filters.few), size + 1), size)
    if (highest := filters.highest) is not None:
        all_tasks, wanted = all_tasks.filter(pk__lte=highest), wanted.filter(pk__lte=highest)
    end, window = time.monotonic() + seconds, FIRST_WINDOW
    found: list[int] = []
    top: int | None = None
    while len(found) <= size:
        rest = all_tasks if top is None else all_tasks.filter(pk__lt=top)
        bottom = rest.values_list("pk", flat=True)[window - 1 : window].first()
        part = wanted if top is None else wanted.filter(pk__lt=top)
        if bottom is not None:
            part = part.filter(pk__gte=bottom)
        began = time.monotonic()
        found += _keys(part, size + 1 - len(found))
        now = time.monotonic()
        if bottom is None:
            break
        top = bottom
        if len(found) <= size and now > end:
            return Found(numbers=found, before=top, searched_to=top)
        # A window shall take a quarter of the time that there is.
        window = min(LARGEST_WINDOW, 4 * window, max(1, int(window * seconds / 4 / max(now - began, 1e-4))))
    return _found(found, size)


def _keys(tasks: QuerySet[Task], most: int) -> list[int]:
    return list(tasks.values_list("pk", flat=True)[:most])


def _found(keys: list[int], size: int) -> Found:
    return Found(numbers=keys[:size], before=keys[size - 1] if len(keys) > size else None)
