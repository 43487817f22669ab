"""The records that a snapshot takes, by key, as they stood at one moment.

One statement reads the keys of the judgments and of their latest revisions (or of demonstrations, or prompts), so that
all rows are of one moment without any lock. What the keys point to is read a page at a time: revisions, prompts and
responses never change. No cursor is open between two pages, so the same connection may write meanwhile: with an open
one SQLite refuses every write at once ("database is locked"), and its write-ahead log can only grow.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import islice
from operator import or_
from statistics import fmean
from typing import Any, NamedTuple, Self

from django.db.models import Exists, OuterRef, Q, QuerySet

from annotate.data.snapshot_filters import Filters
from annotate.models import (
    Author,
    Demonstration,
    GatewaySettings,
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
READ_AT_ONCE = 10_000
LATEST_TASKS = 2_000
"""Tasks of which a card gives the agreement: enough for a percent, and a second's work."""
COLUMNS = task_votes.columns(judgment="judgment__")


class SelectedJudgment(NamedTuple):
    """A judgment by its keys. `revision`: the one that was the latest when they were read."""

    key: int
    revision: int
    task: int
    labeler: int
    decides: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Records of one kind that become rows, by key, in their order, as they stood at one moment.

    records: where they are read, with what a row is made of. revisions, tasks, labelers: of judgments the keys of their
    latest revisions, tasks and labelers, beside `keys`; of others empty. adjudications: 1 where it is a reviewer's, who
    decided between the others of its task: these are no rows, but reliabilities rest on them. stands_apart: judgments
    of AI labelers and of users of the model, which are rows as they are and in no consensus.
    """

    records: QuerySet[Any]
    keys: "array[int]"
    revisions: "array[int]"
    tasks: "array[int]"
    labelers: "array[int]"
    adjudications: "array[int]"
    stands_apart: bool = False

    @classmethod
    def of(cls, chosen: QuerySet[Any], *, records: QuerySet[Any], stands_apart: bool = False) -> Self:
        # 40 bytes a row, so that a million rows fit. Nothing is done meanwhile: the end of the last one ends the
        # statement.
        of_judgments = ("pk", "latest_id", "task_id", "labeler_id", "is_adjudication")
        names = of_judgments if chosen.model is Judgment else ("pk",)
        columns = tuple(array("q") for _ in range(5))
        read = chosen.order_by("pk").values_list(*names).iterator(chunk_size=READ_AT_ONCE)
        while some := list(islice(read, READ_AT_ONCE)):
            for column, values in zip(columns, zip(*some, strict=True), strict=False):
                column.extend(values)
        keys, revisions, tasks, labelers, adjudications = columns
        return cls(
            records=records,
            keys=keys,
            revisions=revisions,
            tasks=tasks,
            labelers=labelers,
            adjudications=adjudications,
            stands_apart=stands_apart,
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
        """The records that become rows, at most BATCH at a time; of judgments their keys."""
        places = array("q", range(len(self.keys)))
        if self.adjudicated_tasks:
            places = array("q", (place for place in places if not self.is_replaced(place)))
        for start in range(0, len(places), BATCH):
            some = places[start : start + BATCH]
            if self.revisions:
                # A judgment may be revised meanwhile: it is not read again.
                columns = (self.keys, self.revisions, self.tasks, self.labelers, self.adjudications)
                yield [SelectedJudgment(*(column[place] for column in columns)) for place in some]
            else:
                keys = [self.keys[place] for place in some]
                yield list(self.records.filter(pk__in=keys).order_by("pk"))


def selected(snapshot: Snapshot) -> tuple[Selection, ...]:
    """The records that become the snapshot's rows, in their order, before the tie policy."""
    filters = Filters.checked(snapshot.filters)
    if snapshot.kind == Snapshot.Kind.PROMPTS:
        prompts = filters.apply(Prompt.objects.filter(project=snapshot.project), prompt="")
        return (Selection.of(prompts, records=Prompt.objects.select_related("opening")),)
    counts_feedback = GatewaySettings.objects.filter(project=snapshot.project, counts_feedback=True).exists()
    demonstrations = Demonstration.for_training(snapshot.project)
    demonstrations = demonstrations.exclude(assignment__judgment__left_out__isnull=False)
    # What was written in a hidden check is no data, as its judgment is none. Without an assignment it was imported.
    demonstrations = demonstrations.exclude(assignment__isnull=False, assignment__is_check=True)
    written = filters.of_people(
        filters.apply(demonstrations, prompt="prompt__"), "assignment__labeler", snapshot.project
    )
    if filters.models and snapshot.kind == Snapshot.Kind.DEMONSTRATIONS:
        written = written.filter(response__author__kind=Author.Kind.MODEL, response__author__name__in=filters.models)
    related = Demonstration.objects.select_related(
        "prompt__opening", "response__author", "response__edited_from__author", "assignment__judgment"
    )
    if snapshot.kind == Snapshot.Kind.DEMONSTRATIONS:
        return (Selection.of(written, records=related),)
    task_kind = Task.Kind.RATE if snapshot.kind == Snapshot.Kind.RATINGS else Task.Kind.COMPARE
    of_models = TaskResponse.objects.filter(
        response__author__kind=Author.Kind.MODEL, response__author__name__in=filters.models
    )

    def chosen(judgments: QuerySet[Judgment], *, stands_apart: bool = False) -> Selection:
        """Those of them that the filters take."""
        if filters.models:
            judgments = judgments.filter(task__in=of_models.values("task"))
        taken = filters.of_people(filters.apply(judgments, prompt="task__prompt__"), "labeler", snapshot.project)
        return Selection.of(taken, records=Judgment.objects.all(), stands_apart=stands_apart)

    judged = chosen(
        Judgment.objects.filter(
            Judgment.COUNTED | Judgment.ADJUDICATED,
            project=snapshot.project,
            latest__source__in=filters.sources,
            task__kind=task_kind,
        )
    )
    if filters.agreement is not None:
        judged = _above_agreement(judged, filters.agreement)
    found = [judged]
    if counts_feedback and JudgmentRevision.Source.USER in filters.sources and filters.agreement is None:
        by_users = Judgment.objects.filter(Judgment.BY_USERS, project=snapshot.project, task__kind=task_kind)
        found.append(chosen(by_users, stands_apart=True))
    if snapshot.kind == Snapshot.Kind.RATINGS:
        return tuple(found)
    # Where people are to agree on a task, theirs alone is asked for.
    wants_ai = JudgmentRevision.Source.AI in filters.sources and filters.agreement is None
    if wants_ai and (by_ai := _by_ai(snapshot.project)) is not None:
        found.append(chosen(by_ai, stands_apart=True))
    edits = written.filter(response__edited_from__isnull=False, assignment__isnull=False)
    of_users = Q(assignment__judgment__completion__isnull=False)
    if JudgmentRevision.Source.HUMAN not in filters.sources:
        edits = edits.filter(of_users)
    if JudgmentRevision.Source.USER not in filters.sources:
        edits = edits.exclude(of_users)
    if {JudgmentRevision.Source.HUMAN, JudgmentRevision.Source.USER} & set(filters.sources):
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
    shared = _of_several(judged)
    kept = set(judged.adjudicated_tasks)
    for task_id, votes, _rows in judgments_of_tasks(judged, shared, heartbeat=lambda: None):
        agreement = pairwise_agreement(votes.orderings.values())
        if agreement is not None and agreement >= least:
            kept.add(task_id)
    places = [place for place in range(len(judged)) if judged.tasks[place] in kept]
    return judged.only(places)


def mean_agreement(judged: Selection) -> tuple[float, int] | None:
    """(the share of pairs on which two labelers of a task agree, tasks) of the latest tasks with several judgments."""
    places = _of_several(judged, most=LATEST_TASKS)
    of_tasks = judgments_of_tasks(judged, places, heartbeat=lambda: None)
    found = [pairwise_agreement(votes.orderings.values()) for _task, votes, _rows in of_tasks]
    shares = [share for share in found if share is not None]
    return (fmean(shares), len(shares)) if shares else None


def _of_several(judged: Selection, *, most: int | None = None) -> list[int]:
    """The places of the judgments of tasks that have several, of `most` of the latest ones."""
    # Counted in arrays: a dict of a million tasks takes a hundred megabytes.
    import numpy as np

    tasks = np.frombuffer(judged.tasks, dtype=np.int64)
    found, counts = np.unique(tasks, return_counts=True)
    several = found[counts > 1][-most if most else 0 :]
    places: list[int] = np.flatnonzero(np.isin(tasks, several)).tolist()
    return places


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
