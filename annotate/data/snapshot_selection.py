"""The records that a snapshot takes, by key, as they stood at one moment.

One statement reads the keys of the judgments and of their latest revisions (or of demonstrations, or prompts), so that
all rows are of one moment without any lock. What the keys point to is read a page at a time: revisions, prompts and
responses never change. No cursor is open between two pages, so the same connection may write meanwhile: with an open
one SQLite refuses every write at once ("database is locked"), and its write-ahead log can only grow.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import or_
from statistics import fmean
from typing import Any, Self

from django.db.models import Exists, OuterRef, Q, QuerySet

from annotate.data.snapshot_filters import Filters
from annotate.models import (
    Author,
    Demonstration,
    Judgment,
    JudgmentRevision,
    Project,
    Prompt,
    Snapshot,
    Task,
    TaskResponse,
)
from annotate.quality.aggregation import task_votes
from annotate.quality.aggregation.task_votes import TaskVotes
from annotate.quality.agreement import pairwise_agreement

BATCH = 500
LATEST_TASKS = 2_000
"""Tasks of which a card gives the agreement: enough for a percent, and a second's work."""
COLUMNS = task_votes.columns(judgment="judgment__")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Records of one kind that become rows, by key, in their order, as they stood at one moment.

    records: where they are read, with what a row is made of. revisions, tasks, labelers: of judgments the keys of their
    latest revisions, tasks and labelers, beside `keys`; of others empty. adjudications: 1 where it is a reviewer's, who
    decided between the others of its task: these are no rows, but reliabilities rest on them. is_by_ai: judgments of AI
    labelers, which are rows as they are and in no consensus.
    """

    records: QuerySet[Any]
    keys: "array[int]"
    revisions: "array[int]"
    tasks: "array[int]"
    labelers: "array[int]"
    adjudications: "array[int]"
    is_by_ai: bool = False

    @classmethod
    def of(cls, chosen: QuerySet[Any], *, records: QuerySet[Any], is_by_ai: bool = False) -> Self:
        # 40 bytes a row, so that a million rows fit: fetched whole, which ends the statement.
        of_judgments = ("pk", "latest_id", "task_id", "labeler_id", "is_adjudication")
        names = of_judgments if chosen.model is Judgment else ("pk",)
        columns = [array("q", column) for column in zip(*chosen.order_by("pk").values_list(*names), strict=True)]
        keys, revisions, tasks, labelers, adjudications = [*columns, *(array("q") for _ in range(5))][:5]
        return cls(
            records=records,
            keys=keys,
            revisions=revisions,
            tasks=tasks,
            labelers=labelers,
            adjudications=adjudications,
            is_by_ai=is_by_ai,
        )

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def adjudicated_tasks(self) -> frozenset[int]:
        """Those of which an adjudication is selected."""
        return frozenset(task for task, decides in zip(self.tasks, self.adjudications, strict=True) if decides)

    def is_replaced(self, place: int) -> bool:
        """Whether an adjudication of the same task stands for this judgment."""
        return bool(
            self.adjudicated_tasks and not self.adjudications[place] and self.tasks[place] in self.adjudicated_tasks
        )

    def only(self, places: list[int]) -> Self:
        """The records in these places."""

        def some(column: "array[int]") -> "array[int]":
            return array("q", [column[place] for place in places] if column else [])

        return replace(
            self,
            keys=some(self.keys),
            revisions=some(self.revisions),
            tasks=some(self.tasks),
            labelers=some(self.labelers),
            adjudications=some(self.adjudications),
        )

    def pages(self) -> Iterator[list[Any]]:
        """The records that become rows, at most BATCH at a time."""
        places = array("q", range(len(self.keys)))
        if self.adjudicated_tasks:
            places = array("q", (place for place in places if not self.is_replaced(place)))
        for start in range(0, len(places), BATCH):
            some = places[start : start + BATCH]
            keys = [self.keys[place] for place in some]
            page = list(self.records.filter(pk__in=keys).order_by("pk"))
            if self.revisions:
                # The revision that was the latest when the keys were read: a judgment may be revised meanwhile.
                chosen = [self.revisions[place] for place in some]
                revisions = JudgmentRevision.objects.select_related("rubric").in_bulk(chosen)
                latest = dict(zip(keys, chosen, strict=True))
                for judgment in page:
                    judgment.latest = revisions[latest[judgment.pk]]
            yield page


def selected(snapshot: Snapshot) -> tuple[Selection, ...]:
    """The records that become the snapshot's rows, in their order, before the tie policy."""
    filters = Filters.checked(snapshot.filters)
    if snapshot.kind == Snapshot.Kind.PROMPTS:
        prompts = filters.apply(Prompt.objects.filter(project=snapshot.project), prompt="")
        return (Selection.of(prompts, records=Prompt.objects.select_related("opening")),)
    demonstrations = Demonstration.objects.filter(prompt__project=snapshot.project, withdrawn_at=None)
    demonstrations = demonstrations.exclude(assignment__judgment__left_out__isnull=False)
    # What was written in a hidden check is no data, as its judgment is none. Without an assignment it was imported.
    demonstrations = demonstrations.exclude(assignment__isnull=False, assignment__is_check=True)
    written = filters.of_people(
        filters.apply(demonstrations, prompt="prompt__"), "assignment__labeler", snapshot.project
    )
    if filters.models and snapshot.kind == Snapshot.Kind.DEMONSTRATIONS:
        written = written.filter(response__author__kind=Author.Kind.MODEL, response__author__name__in=filters.models)
    related = Demonstration.objects.select_related(
        "prompt__opening", "response__author", "response__edited_from__author", "assignment"
    )
    if snapshot.kind == Snapshot.Kind.DEMONSTRATIONS:
        return (Selection.of(written, records=related),)
    task_kind = Task.Kind.RATE if snapshot.kind == Snapshot.Kind.RATINGS else Task.Kind.COMPARE
    judgments = Judgment.objects.filter(
        Judgment.COUNTED | Judgment.ADJUDICATED,
        project=snapshot.project,
        latest__source__in=filters.sources,
        task__kind=task_kind,
    )
    if filters.models:
        of_models = TaskResponse.objects.filter(
            response__author__kind=Author.Kind.MODEL, response__author__name__in=filters.models
        )
        judgments = judgments.filter(task__in=of_models.values("task"))
    chosen = filters.of_people(filters.apply(judgments, prompt="task__prompt__"), "labeler", snapshot.project)
    judged = Selection.of(chosen, records=Judgment.objects.select_related("task__prompt__opening", "task__project"))
    if filters.agreement is not None:
        judged = _above_agreement(judged, filters.agreement)
    if snapshot.kind == Snapshot.Kind.RATINGS:
        return (judged,)
    found = [judged]
    # Where people are to agree on a task, theirs alone is asked for.
    wants_ai = JudgmentRevision.Source.AI in filters.sources and filters.agreement is None
    if wants_ai and (by_ai := _by_ai(snapshot.project)) is not None:
        if filters.models:
            by_ai = by_ai.filter(task__in=of_models.values("task"))
        records = Judgment.objects.select_related("task__prompt__opening", "task__project", "ai_labeler")
        chosen = filters.of_people(filters.apply(by_ai, prompt="task__prompt__"), "labeler", snapshot.project)
        found.append(Selection.of(chosen, records=records, is_by_ai=True))
    if JudgmentRevision.Source.HUMAN in filters.sources:
        edits = written.filter(response__edited_from__isnull=False, assignment__isnull=False)
        found.append(Selection.of(edits, records=related))
    return tuple(found)


def _by_ai(project: Project) -> QuerySet[Judgment] | None:
    """The judgments of AI labelers that count: of their latest version, in the use cases in which they agree with
    people, of tasks that no reviewer has decided. None where none counts."""
    counted = [
        Q(
            ai_labeler=labeler,
            latest__content__judge_version=labeler.version,
            task__prompt__use_case__in=labeler.counted_use_cases,
        )
        for labeler in project.ai_labelers.filter(is_counted=True)
        if labeler.counted_use_cases
    ]
    if not counted:
        return None
    decided = Judgment.objects.filter(Judgment.ADJUDICATED, task=OuterRef("task"))
    return Judgment.objects.filter(reduce(or_, counted), Judgment.BY_AI, ~Exists(decided), project=project)


def _above_agreement(judged: Selection, least: float) -> Selection:
    """The judgments of tasks whose labelers agree on at least this share of pairs; where one alone judged, nobody does.

    What a reviewer decided stays.
    """
    counts = Counter(judged.tasks)
    shared = [place for place in range(len(judged)) if counts[judged.tasks[place]] > 1]
    kept = set(judged.adjudicated_tasks)
    for task_id, votes, _rows in judgments_of_tasks(judged, shared, heartbeat=lambda: None):
        agreement = pairwise_agreement(votes.orderings.values())
        if agreement is not None and agreement >= least:
            kept.add(task_id)
    places = [place for place in range(len(judged)) if judged.tasks[place] in kept]
    return judged.only(places)


def mean_agreement(judged: Selection) -> tuple[float, int] | None:
    """(the share of pairs on which two labelers of a task agree, tasks) of the latest tasks with several judgments."""
    counts = Counter(judged.tasks)
    shared = set(sorted(task for task, count in counts.items() if count > 1)[-LATEST_TASKS:])
    places = [place for place in range(len(judged)) if judged.tasks[place] in shared]
    of_tasks = judgments_of_tasks(judged, places, heartbeat=lambda: None)
    found = [pairwise_agreement(votes.orderings.values()) for _task, votes, _rows in of_tasks]
    shares = [share for share in found if share is not None]
    return (fmean(shares), len(shares)) if shares else None


def judgments_of_tasks(
    judged: Selection, places: list[int], *, heartbeat: Callable[[], None]
) -> Iterator[tuple[int, TaskVotes, list[dict[str, Any]]]]:
    """(task, its votes, its revisions) of the judgments in these places, in the order of tasks, read by pages of
    revisions."""
    places = sorted(places, key=lambda place: (judged.tasks[place], judged.keys[place]))
    start = 0
    while start < len(places):
        end = min(start + BATCH, len(places))
        while end < len(places) and judged.tasks[places[end]] == judged.tasks[places[end - 1]]:
            end += 1
        page = places[start:end]
        heartbeat()
        revisions = JudgmentRevision.objects.filter(pk__in=[judged.revisions[place] for place in page])
        names = ("pk", "content", "margin", "source")
        found = {row["pk"]: row for row in list(revisions.order_by().values(*names, *COLUMNS.values()))}
        tasks: dict[int, tuple[TaskVotes, list[dict[str, Any]]]] = {}
        for place in page:
            row, labeler = found[judged.revisions[place]], judged.labelers[place]
            votes, rows = tasks.setdefault(judged.tasks[place], (TaskVotes(), []))
            votes.add(labeler=labeler, **{name: row[column] for name, column in COLUMNS.items()})
            rows.append({**row, "labeler": labeler})
        for task_id, (votes, rows) in tasks.items():
            yield task_id, votes, rows
        start = end
