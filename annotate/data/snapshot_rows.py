"""The rows that a snapshot freezes, as the contract has them, streamed in a stable order."""

from collections.abc import Iterator
from typing import Any

from annotate.data.imported_rows import UNACCEPTABLE
from annotate.data.pseudonyms import author_name, labeler_name
from annotate.data.snapshot_aggregation import RAW, Aggregation, TaskResult
from annotate.data.snapshot_filters import Filters
from annotate.data.snapshot_selection import Selection, selected
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

BATCH = 500


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
