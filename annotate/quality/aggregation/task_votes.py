"""The judgments of a task in the form that the algorithms take: orderings, and votes on flags and ratings."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from annotate.data.imported_rows import UNACCEPTABLE
from annotate.labeling.ordering import Ordering
from annotate.models import Judgment

Subject = tuple[str, str]
""" ("flags" or "ratings", name of the flag or criterion)."""
MOST_CATEGORIES = 11
"""A criterion with more values is a measure and no category."""


@dataclass
class TaskVotes:
    """orderings: {labeler: ordering}. votes: {(subject, response id): {labeler: value}}, the values of one subject."""

    orderings: dict[int, Ordering] = field(default_factory=dict)
    votes: dict[tuple[Subject, int], dict[int, Any]] = field(default_factory=dict)

    def add(
        self,
        *,
        labeler: int,
        presentation: Iterable[int],
        tiers: Iterable[Iterable[int]],
        flags: Mapping[str, list[str]],
        ratings: Mapping[str, Mapping[str, Any]],
        all_unacceptable: bool,
        rubric_flags: Iterable[Mapping[str, Any]] | None,
    ) -> None:
        """A judgment: what its latest revision holds."""
        self.orderings[labeler] = Ordering.stored(tiers)
        asked = {flag["name"] for flag in rubric_flags or ()} | {UNACCEPTABLE}
        asked |= {name for names in flags.values() for name in names}
        for response_id in presentation:
            given = set(flags.get(str(response_id), ()))
            if all_unacceptable:
                given.add(UNACCEPTABLE)
            for name in asked:
                self.votes.setdefault((("flags", name), response_id), {})[labeler] = name in given
            for name, value in ratings.get(str(response_id), {}).items():
                self.votes.setdefault((("ratings", name), response_id), {})[labeler] = value


COLUMNS = {
    "labeler": "labeler",
    "presentation": "assignment__presentation",
    "tiers": "latest__tiers",
    "flags": "latest__flags",
    "ratings": "latest__ratings",
    "all_unacceptable": "latest__all_unacceptable",
    "rubric_flags": "latest__rubric__flags",
}
"""Where a query for judgments finds the arguments of TaskVotes.add."""


def of_tasks(task_ids: Iterable[int], *, batch: int = 500) -> Iterator[tuple[int, TaskVotes]]:
    """(task id, votes) of tasks, in the order of the ids; without a judgment that counts the votes are empty."""
    ids = list(task_ids)
    for start in range(0, len(ids), batch):
        some = ids[start : start + batch]
        found = {task_id: TaskVotes() for task_id in some}
        rows = Judgment.objects.filter(task__in=some, latest__isnull=False).order_by("pk")
        for task_id, *values in list(rows.values_list("task", *COLUMNS.values())):
            found[task_id].add(**dict(zip(COLUMNS, values, strict=True)))
        yield from found.items()
