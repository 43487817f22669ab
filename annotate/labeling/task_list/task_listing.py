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
class TaskPage:
    """Tasks, and the number before which the next page begins. `searched_to`: the search ended there for time."""

    tasks: list[Task]
    before: int | None = None
    searched_to: int | None = None


def page(filters: TaskFilters, *, before: int | None = None, seconds: float = SECONDS, size: int = PAGE) -> TaskPage:
    """The newest tasks below number `before` that the filters let through."""
    all_tasks = Task.objects.filter(project=filters.project).order_by("-pk")
    if before is not None:
        all_tasks = all_tasks.filter(pk__lt=before)
    wanted = filters.apply(all_tasks)
    if filters.few is not None:
        keys = list(wanted.filter(pk__in=filters.few).values_list("pk", flat=True)[: size + 1])
        return _page(keys, size)
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
            return TaskPage(tasks=_loaded(found), before=top, searched_to=top)
        # A window shall take a quarter of the time that there is.
        window = min(LARGEST_WINDOW, 4 * window, max(1, int(window * seconds / 4 / max(now - began, 1e-4))))
    return _page(found, size)


def _keys(tasks: QuerySet[Task], most: int) -> list[int]:
    return list(tasks.values_list("pk", flat=True)[:most])


def _page(keys: list[int], size: int) -> TaskPage:
    return TaskPage(tasks=_loaded(keys[:size]), before=keys[size - 1] if len(keys) > size else None)


def _loaded(keys: list[int]) -> list[Task]:
    rows = Task.objects.filter(pk__in=keys).select_related("prompt", "consensus").order_by("-pk")
    return list(rows)
