"""The rows that a snapshot freezes, as the contract has them, streamed in a stable order."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from annotate.data.imported_rows import UNACCEPTABLE
from annotate.data.pseudonyms import author_name, labeler_name
from annotate.data.snapshot_aggregation import RAW, Aggregation, TaskResult
from annotate.data.snapshot_filters import Filters
from annotate.data.snapshot_selection import SelectedJudgment, Selection, selected
from annotate.labeling.ordering import Ordering
from annotate.models import (
    Assignment,
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

BATCH = 500


def rows(
    snapshot: Snapshot, selections: tuple[Selection, ...] = (), aggregation: Aggregation = RAW
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """(split, contract row) of every selected record; None instead of a row that the tie policy leaves out.

    In the mode `consensus` the judgments of a task are one row, and those of AI labelers and users rows beside it.
    """
    selections = selections or selected(snapshot)
    judged = JudgedRows(snapshot, aggregation)
    for selection in selections:
        if selection.revisions and not selection.stands_apart and aggregation.mode == Snapshot.Aggregation.CONSENSUS:
            yield from _consensus_rows(snapshot, aggregation)
            continue
        for page in selection.pages():
            if selection.revisions:
                yield from judged.of_page(page, stands_apart=selection.stands_apart)
            else:
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


class ReadPrompt(NamedTuple):
    """The columns of a prompt that rows have, under the names of the model."""

    pk: int
    messages: list[dict[str, str]]
    language: str
    source: str
    kind: str
    use_case: str
    sensitive: bool
    split: str
    opening: "ReadOpening | None"


class ReadOpening(NamedTuple):
    messages: list[dict[str, str]]


class ReadResponse(NamedTuple):
    """`finish_reason` and `author`: their fields in a row."""

    pk: int
    text: str
    finish_reason: dict[str, str]
    author: dict[str, str]


class ReadRevision(NamedTuple):
    """The columns of a judgment's revision that rows have; REVISION_JSON are the last of them."""

    pk: int
    number: int
    all_unacceptable: bool
    margin: int | None
    comment: str
    seconds: float | None
    rubric_id: int | None
    source: str
    tiers: list[list[int]]
    ratings: dict[str, Any]
    flags: dict[str, list[str]]
    notes: dict[str, str]
    content: dict[str, Any]


REVISION_JSON = ("tiers", "ratings", "flags", "notes", "content")
EMPTY: dict[str, Any] = {"{}": {}, "[]": []}
"""What most JSON of a judgment is; nobody changes it."""
_read_json = json.JSONDecoder().raw_decode


def _texts(*names: str) -> dict[str, Any]:
    """Columns of JSON as the texts that they are, which `_decoded` reads at a third of the ORM's cost."""
    return {f"{name.replace('__', '_')}_text": Cast(name, TextField()) for name in names}


def among(keys: Iterable[int]) -> RawSQL | list[int]:
    """Keys for an `__in` lookup. SQLite gets them as one parameter: Django looks at each of a list again and again."""
    if connection.vendor != "sqlite":
        return list(keys)
    return RawSQL("SELECT value FROM json_each(%s)", [json.dumps(list(keys))])


def _decoded(text: str | None) -> Any:
    if text is None:
        return None
    return EMPTY[text] if text in EMPTY else _read_json(text)[0]


class JudgedRows:
    """The rows of a snapshot's judgments. They are made of plain columns, and what many share is kept: with an object
    of the ORM for each record a million rankings would take four times as long."""

    def __init__(self, snapshot: Snapshot, aggregation: Aggregation) -> None:
        self.project, self.aggregation = snapshot.project, aggregation
        self.comments = Filters.checked(snapshot.filters).comments
        self.drops_ties = snapshot.kind == Snapshot.Kind.RANKINGS and snapshot.tie_policy == Snapshot.TiePolicy.DROP
        self._authors: dict[int, dict[str, str]] = {}
        self._labelers: dict[int, str] = {}
        self._rubrics = dict(self.project.rubrics.values_list("pk", "version"))

    def of_page(
        self, page: list[SelectedJudgment], *, stands_apart: bool = False
    ) -> Iterator[tuple[str, dict[str, Any] | None]]:
        revisions = self._revisions([judgment.revision for judgment in page])
        tasks = {judgment.task for judgment in page}
        prompts, responses = self._prompts(tasks), self._responses(tasks)
        self._name_labelers({judgment.labeler for judgment in page})
        weights = self._ai_weights(page) if stands_apart else {}
        for judgment in page:
            revision, prompt = revisions[judgment.revision], prompts[judgment.task]
            if self.drops_ties and len(revision.tiers) < 2:
                yield prompt.split, None
                continue
            own_weight = revision.content.get("weight")
            decides = bool(judgment.decides)
            weight: float | None = weights.get(judgment.key)
            if not stands_apart:
                weight = self.aggregation.weight(judgment.labeler, own_weight, is_adjudication=decides)
            yield prompt.split, self._row(judgment, revision, prompt, responses[judgment.task], weight)

    def _row(
        self,
        judgment: SelectedJudgment,
        revision: ReadRevision,
        prompt: ReadPrompt,
        responses: list[ReadResponse],
        weight: float | None,
    ) -> dict[str, Any]:
        """One judgment's latest revision, or an adjudication's, which stands for the judgments of its task. Responses
        stand in the order they were made, which says nothing about them."""
        content = revision.content
        rubric = self._rubrics[revision.rubric_id] if revision.rubric_id is not None else content.get("rubric")
        row: dict[str, Any] = {"id": f"judgment-{judgment.key}"}
        if content:
            row |= _source_id(content.get("id", ""))
        row["prompt"] = prompt.messages
        row["responses"] = self._judged(responses, revision)
        row["task"] = f"task-{judgment.task}"
        row["labeler"] = self._labelers[judgment.labeler]
        row["judge"] = content.get("judge") or revision.source
        if judgment.decides:
            row["adjudicated"] = True
        optional = {
            "weight": weight,
            "margin": revision.margin,
            "scale": content.get("scale"),
            "seconds": revision.seconds,
            "timestamp": content.get("timestamp"),
            "comment": revision.comment if self.comments and revision.comment else None,
            "rubric": rubric,
        }
        for name, value in optional.items():
            if value is not None:
                row[name] = value
        row["revision"] = revision.number
        row["prompt_id"] = f"prompt-{prompt.pk}"
        row |= _origin(prompt)
        return row

    def _judged(self, responses: list[ReadResponse], revision: ReadRevision) -> list[dict[str, Any]]:
        """A judgment's content on each of its responses. Most say little besides the order: what is empty is not looked
        into for each."""
        ranks = {key: rank for rank, tier in enumerate(revision.tiers, start=1) for key in tier}
        scores = revision.content.get("scores")
        notes = revision.notes if self.comments else None
        found = []
        for response in responses:
            key = str(response.pk)
            flags = revision.flags.get(key, ()) if revision.flags else ()
            judged: dict[str, Any] = {
                "text": response.text,
                "rank": ranks.get(response.pk),
                **response.author,
                "acceptable": not revision.all_unacceptable and UNACCEPTABLE not in flags,
            }
            if scores and (score := scores.get(key)) is not None:
                judged["score"] = score
            if revision.ratings and (ratings := revision.ratings.get(key)) is not None:
                judged["ratings"] = ratings
            if flags and (others := [flag for flag in flags if flag != UNACCEPTABLE]):
                judged["flags"] = others
            if notes and (note := notes.get(key)) is not None:
                judged["note"] = note
            if response.finish_reason:
                judged |= response.finish_reason
            found.append(judged)
        return found

    def _revisions(self, keys: list[int]) -> dict[int, ReadRevision]:
        read = JudgmentRevision.objects.filter(pk__in=among(keys)).order_by()
        texts = _texts(*REVISION_JSON)
        found = {}
        for row in read.annotate(**texts).values_list(*ReadRevision._fields[: -len(REVISION_JSON)], *texts):
            columns, written = row[: -len(REVISION_JSON)], row[-len(REVISION_JSON) :]
            found[row[0]] = ReadRevision._make([*columns, *map(_decoded, written)])
        return found

    def _prompts(self, tasks: set[int]) -> dict[int, ReadPrompt]:
        """The prompt of each task."""
        names = [f"prompt__{name}" for name in ReadPrompt._fields[2:-1]]
        texts = _texts("prompt__messages", "prompt__opening__messages")
        read = Task.with_unfinished.filter(pk__in=among(tasks)).order_by().annotate(**texts)
        found = {}
        for task, key, messages, opening, *columns in read.values_list("pk", "prompt_id", *texts, *names):
            began_as = ReadOpening(_decoded(opening)) if opening is not None else None
            found[task] = ReadPrompt._make([key, _decoded(messages), *columns, began_as])
        return found

    def _responses(self, tasks: set[int]) -> dict[int, list[ReadResponse]]:
        """The responses of each task in the order they were made."""
        links = TaskResponse.objects.filter(task__in=among(tasks)).order_by("task", "number")
        names = ("pk", "text", "finish_reason", "author_id")
        read = list(links.values_list("task_id", *(f"response__{name}" for name in names)))
        self._name_authors({row[-1] for row in read})
        reasons = {reason: _finish_reason(reason) for reason in {row[3] for row in read}}
        found: dict[int, list[ReadResponse]] = {task: [] for task in tasks}
        for task, key, text, finish_reason, author in read:
            found[task].append(ReadResponse(key, text, reasons[finish_reason], self._authors[author]))
        return found

    def _name_authors(self, keys: set[int]) -> None:
        if new := keys - self._authors.keys():
            for author in Author.objects.filter(pk__in=new):
                self._authors[author.pk] = _author(author, self.project)

    def _name_labelers(self, keys: set[int]) -> None:
        if new := keys - self._labelers.keys():
            for labeler in User.objects.filter(pk__in=new):
                self._labelers[labeler.pk] = labeler_name(labeler, self.project)

    def _ai_weights(self, page: list[SelectedJudgment]) -> dict[int, float | None]:
        """Of AI labelers' judgments; those of users of the model have none."""
        read = Judgment.objects.filter(pk__in=[judgment.key for judgment in page]).order_by()
        return dict(read.values_list("pk", "ai_labeler__weight"))


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
        **_finish_reason(response.finish_reason),
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
                **_finish_reason(response.finish_reason),
            }
            for rank, response in ((1, edited), (2, original))
        ],
        "task": f"edit-{demonstration.pk}",
        "labeler": project.pseudonym(demonstration.assignment.labeler_id),
        "judge": _editor(demonstration.assignment),
        **({"weight": weight} if weight is not None else {}),
        "revision": 1,
        "prompt_id": f"prompt-{demonstration.prompt_id}",
        **_origin(demonstration.prompt),
    }


def _editor(assignment: Assignment) -> str:
    """Who made an edit, as `judge` says it: a labeler or a user of the model."""
    judgment: Judgment | None = getattr(assignment, "judgment", None)
    by_user = judgment is not None and judgment.completion_id is not None
    return str((JudgmentRevision.Source.USER if by_user else JudgmentRevision.Source.HUMAN).value)


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
        **_finish_reason(response.finish_reason),
    }


def _origin(prompt: Prompt | ReadPrompt) -> dict[str, Any]:
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


def _finish_reason(reason: str) -> dict[str, str]:
    if reason in (Response.FinishReason.UNKNOWN, Response.FinishReason.WRITTEN):
        return {}
    return {"finish_reason": reason}


def _responses_of_tasks(task_ids: set[int]) -> dict[int, list[Response]]:
    links = TaskResponse.objects.filter(task__in=task_ids).select_related("response__author").order_by("task", "number")
    responses: dict[int, list[Response]] = {task_id: [] for task_id in task_ids}
    for link in links:
        responses[link.task_id].append(link.response)
    return responses
