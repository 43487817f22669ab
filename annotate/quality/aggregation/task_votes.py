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

    def add(self, judgment: Mapping[str, Any]) -> None:
        """A judgment with the COLUMNS below."""
        labeler, responses = judgment["labeler"], judgment["assignment__presentation"]
        self.orderings[labeler] = Ordering.stored(judgment["latest__tiers"])
        flags = judgment["latest__flags"]
        asked = {flag["name"] for flag in judgment["latest__rubric__flags"] or ()} | {UNACCEPTABLE}
        asked |= {name for names in flags.values() for name in names}
        for response_id in responses:
            given = set(flags.get(str(response_id), ()))
            if judgment["latest__all_unacceptable"]:
                given.add(UNACCEPTABLE)
            for name in asked:
                self.votes.setdefault((("flags", name), response_id), {})[labeler] = name in given
            for name, value in judgment["latest__ratings"].get(str(response_id), {}).items():
                self.votes.setdefault((("ratings", name), response_id), {})[labeler] = value


COLUMNS = (
    "task", "labeler", "assignment__presentation", "latest__tiers", "latest__flags", "latest__ratings",
    "latest__all_unacceptable", "latest__rubric__flags",
)  # fmt: skip


def of_tasks(task_ids: Iterable[int], *, batch: int = 500) -> Iterator[tuple[int, TaskVotes]]:
    """(task id, votes) of tasks, in the order of the ids; without a judgment that counts the votes are empty."""
    ids = list(task_ids)
    for start in range(0, len(ids), batch):
        some = ids[start : start + batch]
        found = {task_id: TaskVotes() for task_id in some}
        rows = Judgment.objects.filter(task__in=some, latest__isnull=False).order_by("pk").values(*COLUMNS)
        for row in list(rows):
            found[row["task"]].add(row)
        yield from found.items()
