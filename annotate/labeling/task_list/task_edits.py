"""Changes of the tasks that are ticked on the list, or of all open ones that its filters let through.

Priority, reservation, skill and the number of judgments are carried out by annotate.labeling.queue.task_changes;
withdrawing and putting back by annotate.labeling.requested_tasks, of a bounded number at once.
"""

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext as _

from annotate.data import bounded_listing
from annotate.errors import Refused
from annotate.labeling import requested_tasks
from annotate.labeling.queue import task_changes
from annotate.labeling.task_list.task_filters import TaskFilters
from annotate.models import Author, Task, TaskChange, User

MOST_WITHDRAWN = 2_000
"""Tasks that are withdrawn or put back within a request: about a second."""
SECONDS = 2.0
"""Of looking for the tasks that the filters let through, where a job can't look for them itself."""
_PRIORITY = {"raised": {"priority__gte": 1}, "normal": {"priority": 0}, "lowered": {"priority__lte": -1}}
_SAME = {
    "kind": "kind",
    "use_case": "prompt__use_case",
    "language": "prompt__language",
    "reserved": "reserved_for",
    "skill": "skill",
}
"""Filters that are a lookup of a job."""


def change(*, filters: TaskFilters, by: User, ticked: Iterable[int] | None, values: dict[str, Any]) -> TaskChange:
    """Give open tasks values of `plan_task_change`: the ticked ones, or (None) all that pass.

    Raises NotYours, and Refused with a sentence.
    """
    if filters.chosen.get("state", Task.State.OPEN) != Task.State.OPEN and ticked is None:
        raise Refused(_("Only open tasks are changed: take the filter by state away."), status=400)
    selection = {"pk__in": _named(filters, ticked)} if ticked is not None else _selection(filters)
    planned = task_changes.plan_task_change(project=filters.project, by=by, selection=selection, values=values)
    task_changes.begin_task_change(planned)
    return planned


def withdraw(*, filters: TaskFilters, by: User, ticked: Iterable[int] | None, restore: bool = False) -> int:
    """Take tasks out of the queue, or put withdrawn ones back; how many changed. Raises NotYours and Refused."""
    numbers = _named(filters, ticked) if ticked is not None else _passing(filters, most=MOST_WITHDRAWN)
    act = requested_tasks.restore if restore else requested_tasks.withdraw
    return act(project=filters.project, by=by, numbers=numbers)


def _selection(filters: TaskFilters) -> dict[str, Any]:
    """The filters as a job's lookups, or the numbers of the tasks where a filter is none of its lookups."""
    selection: dict[str, Any] = {}
    if filters.search:
        return {"pk__in": _passing(filters, most=task_changes.MOST_NAMED)}
    for name, value in filters.chosen.items():
        if name in _SAME:
            selection[_SAME[name]] = int(value) if name in ("reserved", "skill") else value
        elif name == "priority":
            selection |= _PRIORITY[value]
        elif name == "author" and len(names := set(_author_names(value))) == 1:
            selection["responses__author__name"] = names.pop()
        elif name != "state":
            return {"pk__in": _passing(filters, most=task_changes.MOST_NAMED)}
    return selection


def _author_names(value: str) -> Iterable[str]:
    return Author.objects.filter(name__iexact=value).values_list("name", flat=True)


def _named(filters: TaskFilters, ticked: Iterable[int]) -> list[int]:
    """The ticked tasks, as far as they are the project's."""
    found = list(Task.objects.filter(project=filters.project, pk__in=list(ticked)).values_list("pk", flat=True))
    if not found:
        raise Refused(_("Tick the tasks first."), status=400)
    return found


def _passing(filters: TaskFilters, *, most: int) -> list[int]:
    """The numbers of all tasks that pass. Raises Refused for more than `most`, or for too long a search."""
    page = bounded_listing.numbers(filters, seconds=SECONDS, size=most)
    if page.before is not None:
        raise Refused(
            _("More than %(most)d tasks pass these filters, or finding them takes too long: narrow them.")
            % {"most": most},
            status=400,
        )
    return page.numbers
