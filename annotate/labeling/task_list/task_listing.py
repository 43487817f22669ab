"""Pages of a project's tasks, newest first (annotate.data.bounded_listing)."""

from dataclasses import dataclass

from annotate.data.bounded_listing import PAGE, SECONDS, numbers
from annotate.labeling.task_list.task_filters import TaskFilters
from annotate.models import Task


@dataclass(frozen=True, kw_only=True)
class TaskPage:
    """As bounded_listing.Found, with the tasks."""

    tasks: list[Task]
    before: int | None = None
    searched_to: int | None = None


def page(filters: TaskFilters, *, before: int | None = None, seconds: float = SECONDS, size: int = PAGE) -> TaskPage:
    """The newest tasks below number `before` that the filters let through."""
    found = numbers(filters, before=before, seconds=seconds, size=size)
    rows = Task.objects.filter(pk__in=found.numbers).select_related("prompt", "consensus").order_by("-pk")
    return TaskPage(tasks=list(rows), before=found.before, searched_to=found.searched_to)
