"""The judgments of a task in the form that the algorithms take: orderings, and votes on flags and ratings."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from annotate.data.imported_rows import UNACCEPTABLE
from annotate.labeling.ordering import Ordering
from annotate.models import Judgment

Subject = tuple[str, str]
""" ("flags" or "ratings", name of the flag or criterion)."""
MOST_CATEGORIES = 11
"""A criterion with more values is a measure and no category."""


@dataclass
class TaskVotes:
    """orderings: {labeler: ordering}. none_acceptable: labelers who found every response unacceptable.
    votes: {(subject, response id): {labeler: value}}, the values of one subject.
    """

    orderings: dict[int, Ordering] = field(default_factory=dict)
    none_acceptable: set[int] = field(default_factory=set)
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
        if all_unacceptable:
            self.none_acceptable.add(labeler)
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


def columns(*, judgment: str = "", revision: str = "") -> dict[str, str]:
    """Where a query finds what TaskVotes.add takes besides the labeler, by its paths to judgment and revision."""
    return {
        "presentation": f"{judgment}assignment__presentation",
        "tiers": f"{revision}tiers",
        "flags": f"{revision}flags",
        "ratings": f"{revision}ratings",
        "all_unacceptable": f"{revision}all_unacceptable",
        "rubric_flags": f"{revision}rubric__flags",
    }


def of_tasks(
    task_ids: Iterable[int], *, chosen: Q = Judgment.COUNTED, batch: int = 500
) -> Iterator[tuple[int, TaskVotes]]:
    """(task id, votes) of tasks, in the order of the ids; empty votes where a task has none of the chosen judgments."""
    ids, found_at = list(task_ids), columns(revision="latest__")
    for start in range(0, len(ids), batch):
        some = ids[start : start + batch]
        found = {task_id: TaskVotes() for task_id in some}
        rows = Judgment.objects.filter(chosen, task__in=some).order_by("pk")
        for task_id, labeler, *values in list(rows.values_list("task", "labeler", *found_at.values())):
            found[task_id].add(labeler=labeler, **dict(zip(found_at, values, strict=True)))
        yield from found.items()
