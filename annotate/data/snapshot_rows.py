"""The rows that a snapshot freezes, as the contract has them, streamed in a stable order.

One statement reads the keys of the judgments and of their latest revisions (or of demonstrations, or prompts), so that
all rows are of one moment without any lock. What the keys point to is read a page at a time: revisions, prompts and
responses never change. No cursor is open between two pages, so the same connection may write meanwhile: with an open
one SQLite refuses every write at once ("database is locked"), and its write-ahead log can only grow.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from statistics import fmean
from typing import Any, Self

from django.db.models import Exists, OuterRef, Q, QuerySet

from annotate.data.imported_rows import UNACCEPTABLE
from annotate.data.pseudonyms import author_name, labeler_name
from annotate.data.snapshot_aggregation import RAW, Aggregation, TaskResult, judgments_of_tasks
from annotate.data.snapshot_filters import Filters
from annotate.labeling.ordering import Ordering
from annotate.models import (
    Author,
    Demonstration,
    Judgment,
    JudgmentRevision,
    Project,
    Prompt,
    Response,
    Snapshot,
    Task,
    TaskResponse,
    User,
)
from annotate.quality.agreement import pairwise_agreement

BATCH = 500
LATEST_TASKS = 2_000
"""Tasks of which a card gives the agreement: enough for a percent, and a second's work."""


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

        return type(self)(
            records=self.records,
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


def rows(
    snapshot: Snapshot, selections: tuple[Selection, ...] = (), aggregation: Aggregation = RAW
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """(split, contract row) of every selected record; None instead of a row that the tie policy leaves out.

    In the mode `consensus` the judgments of a task are one row, and those of AI labelers rows beside it.
    """
    for selection in selections or selected(snapshot):
        if selection.revisions and not selection.is_by_ai and aggregation.mode == Snapshot.Aggregation.CONSENSUS:
            yield from _consensus_rows(snapshot, aggregation)
            continue
        for page in selection.pages():
            yield from _rows_of(page, snapshot, aggregation)


def _consensus_rows(snapshot: Snapshot, aggregation: Aggregation) -> Iterator[tuple[str, dict[str, Any] | None]]:
    drops_ties = snapshot.tie_policy == Snapshot.TiePolicy.DROP
    ids = sorted(aggregation.tasks)
    for start in range(0, len(ids), BATCH):
        tasks = list(
            Task.objects.filter(pk__in=ids[start : start + BATCH])
            .select_related("prompt__opening", "project")
            .order_by("pk")
        )
        responses = _responses_of_tasks({task.pk for task in tasks})
        for task in tasks:
            assert task.prompt is not None  # as every comparison has, by a constraint
            result = aggregation.tasks[task.pk]
            keep = not drops_ties or len(result.consensus.tiers) > 1
            weight = aggregation.weight_of_task(task.pk)
            row = consensus_row(task, responses[task.pk], result, weight=weight) if keep else None
            yield task.prompt.split, row


def _rows_of(
    batch: list[Any], snapshot: Snapshot, aggregation: Aggregation
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The rows of some records of one kind."""
    project = snapshot.project
    if not batch:
        return
    if isinstance(batch[0], Prompt):
        yield from ((prompt.split, prompt_row(prompt)) for prompt in batch)
    elif isinstance(batch[0], Demonstration):
        if snapshot.kind == Snapshot.Kind.DEMONSTRATIONS:
            yield from ((item.prompt.split, demonstration_row(item, project)) for item in batch)
        else:
            weights = [aggregation.weight(item.assignment.labeler_id, None) for item in batch]
            edits = zip(batch, weights, strict=True)
            yield from ((item.prompt.split, edit_row(item, project, weight=weight)) for item, weight in edits)
    else:
        responses = _responses_of_tasks({judgment.task_id for judgment in batch})
        labelers = User.objects.in_bulk({judgment.labeler_id for judgment in batch})
        comments = Filters.checked(snapshot.filters).comments
        drops_ties = snapshot.kind == Snapshot.Kind.RANKINGS and snapshot.tie_policy == Snapshot.TiePolicy.DROP
        for judgment in batch:
            keep = not drops_ties or len(judgment.latest.tiers) > 1
            labeler = labeler_name(labelers[judgment.labeler_id], project)
            own_weight = judgment.latest.content.get("weight")
            if judgment.ai_labeler_id is not None:
                weight = judgment.ai_labeler.weight
            else:
                weight = aggregation.weight(judgment.labeler_id, own_weight, is_adjudication=judgment.is_adjudication)
            row = (
                ranking_row(judgment, responses[judgment.task_id], labeler=labeler, weight=weight, comments=comments)
                if keep
                else None
            )
            yield judgment.task.prompt.split, row


def prompt_row(prompt: Prompt) -> dict[str, Any]:
    return {
        "id": f"prompt-{prompt.pk}",
        **_source_id(prompt.external_id),
        "prompt": prompt.messages,
        **_origin(prompt),
    }


def demonstration_row(demonstration: Demonstration, project: Project) -> dict[str, Any]:
    response = demonstration.response
    return {
        "id": f"demonstration-{demonstration.pk}",
        "prompt": demonstration.prompt.messages,
        "response": response.text,
        **_author(response.author, project, name="author", kind=True),
        **_finish_reason(response),
        "prompt_id": f"prompt-{demonstration.prompt_id}",
        **_origin(demonstration.prompt),
    }


def edit_row(demonstration: Demonstration, project: Project, *, weight: float | None) -> dict[str, Any]:
    """A response that somebody bettered, as a ranking: the edited text above the original."""
    edited, original = demonstration.response, demonstration.response.edited_from
    assert original is not None  # `selected` takes edits only
    assert demonstration.assignment is not None
    return {
        "id": f"edit-{demonstration.pk}",
        "prompt": demonstration.prompt.messages,
        "responses": [
            {
                "text": response.text,
                "rank": rank,
                **_author(response.author, project),
                "acceptable": True,
                **_finish_reason(response),
            }
            for rank, response in ((1, edited), (2, original))
        ],
        "task": f"edit-{demonstration.pk}",
        "labeler": project.pseudonym(demonstration.assignment.labeler_id),
        "judge": JudgmentRevision.Source.HUMAN.value,
        **({"weight": weight} if weight is not None else {}),
        "revision": 1,
        "prompt_id": f"prompt-{demonstration.prompt_id}",
        **_origin(demonstration.prompt),
    }


def ranking_row(
    judgment: Judgment, responses: list[Response], *, labeler: str, weight: float | None, comments: bool = False
) -> dict[str, Any]:
    """One judgment's latest revision, or an adjudication's, which stands for the judgments of its task. Responses stand
    in the order they were made, which says nothing about them."""
    revision, prompt = judgment.latest, judgment.task.prompt
    assert revision is not None  # `selected` takes judged ones only
    assert prompt is not None  # as every comparison has, by a constraint
    ranks = Ordering.stored(revision.tiers).ranks()
    content = revision.content
    rubric = revision.rubric.version if revision.rubric is not None else content.get("rubric")
    optional = {
        "weight": weight,
        "margin": revision.margin,
        "scale": content.get("scale"),
        "seconds": revision.seconds,
        "timestamp": content.get("timestamp"),
        "comment": revision.comment if comments and revision.comment else None,
        "rubric": rubric,
    }
    return {
        "id": f"judgment-{judgment.pk}",
        **_source_id(content.get("id", "")),
        "prompt": prompt.messages,
        "responses": [
            _judged_response(
                response, revision, rank=ranks.get(response.pk), project=judgment.task.project, comments=comments
            )
            for response in responses
        ],
        "task": f"task-{judgment.task_id}",
        "labeler": labeler,
        "judge": content.get("judge") or revision.source,
        **({"adjudicated": True} if judgment.is_adjudication else {}),
        **{key: value for key, value in optional.items() if value is not None},
        "revision": revision.number,
        "prompt_id": f"prompt-{prompt.pk}",
        **_origin(prompt),
    }


def consensus_row(task: Task, responses: list[Response], result: TaskResult, *, weight: float) -> dict[str, Any]:
    """The consensus of a task's judgments, as a ranking without a labeler."""
    prompt = task.prompt
    assert prompt is not None  # as every comparison has, by a constraint
    ranks = Ordering(result.consensus.tiers).ranks()
    return {
        "id": f"consensus-{task.pk}",
        "prompt": prompt.messages,
        "responses": [
            _consensus_response(response, result, rank=ranks.get(response.pk), project=task.project)
            for response in responses
        ],
        "task": f"task-{task.pk}",
        "judge": result.judge,
        "weight": weight,
        **({"margin": result.margin} if result.margin is not None else {}),
        "judgments": result.judgments,
        **({"adjudicated": True} if result.adjudicated else {}),
        "confidence": round(result.consensus.confidence, 6),
        "prompt_id": f"prompt-{prompt.pk}",
        **_origin(prompt),
    }


def _consensus_response(
    response: Response, result: TaskResult, *, rank: int | None, project: Project
) -> dict[str, Any]:
    """What the labelers agree on about one response: flags more probable than not, and the most probable ratings."""
    labels = result.labels.get(str(response.pk), {})
    flags = [name for name, probability in labels.get("flags", {}).items() if probability > 0.5]
    ratings = {name: value for name, (value, _probability) in labels.get("ratings", {}).items()}
    return {
        "text": response.text,
        "rank": rank,
        **_author(response.author, project),
        "acceptable": UNACCEPTABLE not in flags,
        **({"ratings": ratings} if ratings else {}),
        **({"flags": others} if (others := [name for name in flags if name != UNACCEPTABLE]) else {}),
        **_finish_reason(response),
    }


def _judged_response(
    response: Response, revision: JudgmentRevision, *, rank: int | None, project: Project, comments: bool
) -> dict[str, Any]:
    """A judgment's content on one of its responses."""
    key = str(response.pk)
    flags = [flag for flag in revision.flags.get(key, []) if flag != UNACCEPTABLE]
    optional = {
        "score": revision.content.get("scores", {}).get(key),
        "ratings": revision.ratings.get(key),
        "flags": flags or None,
        "note": revision.notes.get(key) if comments else None,
    }
    return {
        "text": response.text,
        "rank": rank,
        **_author(response.author, project),
        "acceptable": not revision.all_unacceptable and UNACCEPTABLE not in revision.flags.get(key, []),
        **{name: value for name, value in optional.items() if value is not None},
        **_finish_reason(response),
    }


def _origin(prompt: Prompt) -> dict[str, Any]:
    """The prompt's fields of every row, so that it is the same prompt wherever it is imported."""
    return {
        "lang": prompt.language,
        "source": prompt.source,
        "kind": prompt.kind,
        "use_case": prompt.use_case,
        "sensitive": prompt.sensitive,
        "split": prompt.split,
        # A chat is on the side of the prompt that it began as.
        **({"opening": prompt.opening.messages} if prompt.opening is not None else {}),
    }


def _source_id(original: str) -> dict[str, str]:
    """The id that a record came with. Hone's own is another, since those of two files may be the same."""
    return {"source_id": original} if original else {}


def _author(author: Author, project: Project, *, name: str = "model", kind: bool = False) -> dict[str, str]:
    """The author of a text, if known: a model by its name, a person as a pseudonym, or as the name of an import."""
    if author.kind == Author.Kind.UNKNOWN:
        return {} if author.name.startswith("imported: ") else {"author": author.name}
    if author.kind == Author.Kind.MODEL:
        return {name: author.name, **({"author_kind": author.kind} if kind else {})}
    return {"author": author_name(author, project), "author_kind": author.kind}


def _finish_reason(response: Response) -> dict[str, str]:
    if response.finish_reason in (Response.FinishReason.UNKNOWN, Response.FinishReason.WRITTEN):
        return {}
    return {"finish_reason": response.finish_reason}


def _responses_of_tasks(task_ids: set[int]) -> dict[int, list[Response]]:
    links = TaskResponse.objects.filter(task__in=task_ids).select_related("response__author").order_by("task", "number")
    responses: dict[int, list[Response]] = {task_id: [] for task_id in task_ids}
    for link in links:
        responses[link.task_id].append(link.response)
    return responses
