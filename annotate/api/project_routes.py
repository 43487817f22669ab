"""Who one is, one's projects, and of a project its figures and people."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from ninja import Query, Router, Schema

from annotate.api.bearer import ApiRequest, within_project
from annotate.api.cursor_pages import Page, PageQuery, page
from annotate.models import Membership, Project
from annotate.people.permissions import Capability, capabilities, projects_for
from annotate.quality import project_figures

router = Router(tags=["projects"])


class TokenOut(Schema):
    name: str
    scopes: list[str]
    expires_at: datetime


class MeOut(Schema):
    username: str
    name: str
    token: TokenOut


class ProjectOut(Schema):
    slug: str
    name: str
    language: str
    archived: bool
    task_kinds: list[str]
    capabilities: list[str]
    """What this token may do here."""


class GuidelinesOut(Schema):
    """`text` is Markdown; version 0 is none."""

    version: int
    text: str


class FiguresOut(Schema):
    """Null as a whole while a large project has not been counted yet."""

    prompts: int
    responses: int
    demonstrations: int
    judgments: int
    surplus: int
    wanted: int
    kinds: dict[str, dict[str, int]]
    splits: dict[str, int]
    use_cases: dict[str, list[int]]
    languages: dict[str, list[int]]
    computed_at: datetime | None


class PersonOut(Schema):
    id: int
    username: str
    name: str
    role: str
    active: bool
    paused: bool
    daily_limit: int | None
    languages: list[str]
    since: datetime


@router.get("/me", response=MeOut, summary="Whose token this is")
def read_me(request: ApiRequest) -> dict[str, Any]:
    return {"username": request.user.username, "name": request.user.display_name, "token": request.auth}


@router.get("/projects", response=Page[ProjectOut], summary="Projects that the person is in")
def list_projects(request: ApiRequest, wanted: Query[PageQuery]) -> dict[str, Any]:
    own = projects_for(request.user, Capability.VIEW)
    if request.auth.project_id is not None:
        own = own.filter(pk=request.auth.project_id)
    return page(
        own, wanted, lambda project: _project(project, capabilities(request.user, project), request.auth.scopes)
    )


@router.get("/projects/{slug:slug}", response=ProjectOut, summary="A project")
@within_project(Capability.VIEW)
def read_project(request: ApiRequest) -> dict[str, Any]:
    return _project(request.project, request.capabilities, request.auth.scopes)


@router.get("/projects/{slug:slug}/guidelines", response=GuidelinesOut, summary="What labelers are asked to do")
@within_project(Capability.VIEW)
def read_guidelines(request: ApiRequest) -> dict[str, Any]:
    found = request.project.guidelines
    return {"version": found.version, "text": found.text} if found is not None else {"version": 0, "text": ""}


@router.get("/projects/{slug:slug}/figures", response=FiguresOut | None, summary="Counts of a project")
@within_project(Capability.SEE_DATA)
def read_figures(request: ApiRequest) -> dict[str, Any] | None:
    found = project_figures.of(request.project)
    return None if found is None else asdict(found)


@router.get("/projects/{slug:slug}/people", response=Page[PersonOut], summary="Members, a row for each role")
@within_project(Capability.MANAGE)
def list_people(request: ApiRequest, wanted: Query[PageQuery]) -> dict[str, Any]:
    return page(Membership.objects.filter(project=request.project).select_related("user"), wanted, _person)


def _project(project: Project, granted: frozenset[Capability], scopes: list[str]) -> dict[str, Any]:
    allowed = {Capability.VIEW, *scopes}
    return {
        "slug": project.slug,
        "name": project.name,
        "language": project.language,
        "archived": project.archived_at is not None,
        "task_kinds": project.task_kinds,
        "capabilities": sorted(str(each) for each in granted if each in allowed),
    }


def _person(membership: Membership) -> dict[str, Any]:
    return {
        "id": membership.user_id,
        "username": membership.user.username,
        "name": membership.user.display_name,
        "role": membership.role,
        "active": membership.user.is_active,
        "paused": membership.paused_at is not None,
        "daily_limit": membership.daily_limit,
        "languages": membership.languages,
        "since": membership.created_at,
    }
