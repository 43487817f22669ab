"""Reading the data of a project: prompts, responses, demonstrations, tasks and judgments.

Whoever labels judges blind, so what tells who wrote a response (its author, and its number, since those grow model
after model) is for those who may take the project's data away.
"""

from datetime import datetime
from typing import Annotated, Any

from django.db.models import QuerySet
from ninja import Query, Router, Schema

from annotate import access
from annotate.api.bearer import ApiRequest, within_project
from annotate.api.cursor_pages import Page, PageQuery, page
from annotate.api.enumerations import IN_PLACE
from annotate.data.pseudonyms import author_name, labeler_name
from annotate.labeling.task_list import task_listing
from annotate.labeling.task_list.task_filters import TaskFilters
from annotate.models import Demonstration, Judgment, Prompt, Response, Task, TaskResponse
from annotate.people.permissions import Capability

router = Router(tags=["data"])
BIGGEST = 2**63 - 1


class MessageOut(Schema):
    role: str
    content: str


class PromptOut(Schema):
    id: int
    messages: list[MessageOut]
    kind: str
    use_case: str
    language: str
    source: str
    external_id: str
    split: str
    sensitive: bool
    created_at: datetime


class ResponseOut(Schema):
    id: int
    prompt: int
    text: str
    author: str
    author_kind: str
    finish_reason: str
    edited_from: int | None
    sampling: dict[str, Any]
    created_at: datetime


class DemonstrationOut(Schema):
    id: int
    prompt: int
    response: int
    text: str
    author: str
    created_at: datetime


class TaskOut(Schema):
    id: int
    kind: str
    state: str
    prompt: int | None
    responses: list[int]
    priority: int
    judgments_wanted: int
    judgments_given: int


class JudgmentOut(Schema):
    """`tiers`: numbers of responses, the best tier first. `labeler`: the pseudonym of the project's exports."""

    id: int
    task: int
    kind: str
    prompt: int | None
    labeler: str
    revision: int
    tiers: list[list[int]]
    all_unacceptable: bool
    ratings: dict[str, dict[str, float]]
    flags: dict[str, list[str]]
    notes: dict[str, str]
    margin: int | None
    content: dict[str, Any]
    comment: str
    seconds: float | None
    source: str
    judged_at: datetime


class PromptQuery(PageQuery):
    split: Prompt.Split | None = None
    use_case: Prompt.UseCase | None = None
    kind: Annotated[Prompt.Kind, IN_PLACE] | None = None


class TaskQuery(PageQuery):
    state: Annotated[Task.State, IN_PLACE] | None = None
    kind: Annotated[Task.Kind, IN_PLACE] | None = None


@router.get("/projects/{slug:slug}/prompts", response=Page[PromptOut], summary="Prompts")
@within_project(Capability.SEE_DATA)
def list_prompts(request: ApiRequest, wanted: Query[PromptQuery]) -> dict[str, Any]:
    chosen = {name: getattr(wanted, name) for name in ("split", "use_case", "kind")}
    found = Prompt.objects.filter(project=request.project, **{name: value for name, value in chosen.items() if value})
    return page(found, wanted, _prompt)


@router.get("/projects/{slug:slug}/prompts/{int:prompt_id}", response=PromptOut, summary="A prompt")
@within_project(Capability.SEE_DATA)
def read_prompt(request: ApiRequest, prompt_id: int) -> dict[str, Any]:
    return _prompt(access.load(request, Prompt, pk=prompt_id, only_read=True))


@router.get(
    "/projects/{slug:slug}/prompts/{int:prompt_id}/responses",
    response=Page[ResponseOut],
    summary="Responses to a prompt",
)
@within_project(Capability.EXPORT)
def list_responses_to(request: ApiRequest, prompt_id: int, wanted: Query[PageQuery]) -> dict[str, Any]:
    found = Response.objects.filter(prompt=prompt_id if prompt_id <= BIGGEST else 0, prompt__project=request.project)
    return _responses(request, found, wanted)


@router.get("/projects/{slug:slug}/responses", response=Page[ResponseOut], summary="Responses")
@within_project(Capability.EXPORT)
def list_responses(request: ApiRequest, wanted: Query[PageQuery]) -> dict[str, Any]:
    return _responses(request, Response.objects.filter(prompt__project=request.project), wanted)


@router.get("/projects/{slug:slug}/demonstrations", response=Page[DemonstrationOut], summary="Demonstrations")
@within_project(Capability.EXPORT)
def list_demonstrations(request: ApiRequest, wanted: Query[PageQuery]) -> dict[str, Any]:
    found = Demonstration.objects.filter(prompt__project=request.project, withdrawn_at=None)

    def shown(item: Demonstration) -> dict[str, Any]:
        return {
            "id": item.pk,
            "prompt": item.prompt_id,
            "response": item.response_id,
            "text": item.response.text,
            "author": author_name(item.response.author, request.project),
            "created_at": item.created_at,
        }

    return page(found.select_related("response__author"), wanted, shown)


@router.get("/projects/{slug:slug}/tasks", response=Page[TaskOut], summary="Tasks")
@within_project(Capability.MANAGE)
def list_tasks(request: ApiRequest, wanted: Query[TaskQuery]) -> dict[str, Any]:
    """A search that took too long ends early: then a page has fewer rows, and `next` goes on."""
    chosen = {name: str(value) for name in ("state", "kind") if (value := getattr(wanted, name))}
    filters = TaskFilters.of(request.project, chosen)
    found = task_listing.page(filters, before=wanted.before, size=wanted.limit)
    responses: dict[int, list[int]] = {}
    links = TaskResponse.objects.filter(task__in=found.tasks).order_by("task", "number")
    for task, response in links.values_list("task_id", "response_id"):
        responses.setdefault(task, []).append(response)
    items = [
        {
            **{name: getattr(task, name) for name in ("kind", "state", "priority")},
            **{name: getattr(task, name) for name in ("judgments_wanted", "judgments_given")},
            "id": task.pk,
            "prompt": task.prompt_id,
            "responses": responses.get(task.pk, []),
        }
        for task in found.tasks
    ]
    return {"items": items, "next": str(found.before) if found.before is not None else None}


@router.get("/projects/{slug:slug}/judgments", response=Page[JudgmentOut], summary="Judgments that count")
@within_project(Capability.EXPORT)
def list_judgments(request: ApiRequest, wanted: Query[PageQuery]) -> dict[str, Any]:
    """As exports have them: people's, without hidden checks and what was left out; each as it was last revised."""
    found = Judgment.objects.filter(Judgment.COUNTED, project=request.project)

    def shown(judgment: Judgment) -> dict[str, Any]:
        latest = judgment.latest
        assert latest is not None  # as COUNTED says
        copied = ("tiers", "all_unacceptable", "ratings", "flags", "notes", "margin", "content", "comment", "seconds")
        return {
            **{name: getattr(latest, name) for name in (*copied, "source")},
            "id": judgment.pk,
            "task": judgment.task_id,
            "kind": judgment.task.kind,
            "prompt": judgment.task.prompt_id,
            "labeler": labeler_name(judgment.labeler, request.project),
            "revision": latest.number,
            "judged_at": latest.created_at,
        }

    return page(found.select_related("latest", "task", "labeler"), wanted, shown)


def _prompt(prompt: Prompt) -> dict[str, Any]:
    names = ("messages", "kind", "use_case", "language", "source", "external_id", "split", "sensitive", "created_at")
    return {"id": prompt.pk, **{name: getattr(prompt, name) for name in names}}


def _responses(request: ApiRequest, found: QuerySet[Response], wanted: PageQuery) -> dict[str, Any]:
    def shown(response: Response) -> dict[str, Any]:
        return {
            **{name: getattr(response, name) for name in ("text", "finish_reason", "sampling", "created_at")},
            "id": response.pk,
            "prompt": response.prompt_id,
            "author": author_name(response.author, request.project),
            "author_kind": response.author.kind,
            "edited_from": response.edited_from_id,
        }

    return page(found.select_related("author"), wanted, shown)
