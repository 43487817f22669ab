"""Permissions of roles. Views, commands and tests all read it here; what isn't granted is refused."""

from collections.abc import Callable, Collection
from enum import StrEnum
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate.errors import NotYours
from annotate.models import Membership, Project, User
from annotate.models.prepared_queries import prepared_query


class Capability(StrEnum):
    """Something that a role allows in a project."""

    VIEW = "view"  # see that the project is there, and its guidelines
    LABEL = "label"  # get tasks and judge them
    REVIEW = "review"  # look at others' judgments
    SEE_DATA = "see_data"  # prompts, responses, counts, agreement
    EXPORT = "export"  # take data away
    TRAIN = "train"  # launch and stop runs, promote models
    MANAGE = "manage"  # settings, people, imports


Role = Membership.Role
ROLE_CAPABILITIES: dict[str, frozenset[Capability]] = {
    Role.LABELER: frozenset({Capability.VIEW, Capability.LABEL}),
    Role.REVIEWER: frozenset({Capability.VIEW, Capability.LABEL, Capability.REVIEW, Capability.SEE_DATA}),
    Role.RESEARCHER: frozenset({Capability.VIEW, Capability.SEE_DATA, Capability.EXPORT, Capability.TRAIN}),
    Role.MANAGER: frozenset(Capability),
}
REFUSALS = {
    Capability.VIEW: gettext_lazy("You aren't a member of this project."),
    Capability.LABEL: gettext_lazy(
        "You don't label in this project. Ask a manager of the project to make you a labeler."
    ),
    Capability.REVIEW: gettext_lazy("Only reviewers and managers of this project see others' judgments."),
    Capability.SEE_DATA: gettext_lazy("Labelers don't see the data of a project: judging works best blind."),
    Capability.EXPORT: gettext_lazy("Only researchers and managers of this project may export its data."),
    Capability.TRAIN: gettext_lazy("Only researchers and managers of this project may train models."),
    Capability.MANAGE: gettext_lazy("Only managers of this project may do this."),
}


def signed_in(request: HttpRequest) -> User:
    """Who asks for a page that is behind `login_required`."""
    assert isinstance(request.user, User)
    return request.user


class ProjectRequest(HttpRequest):
    """A request inside a project, as `requires` hands it to a view."""

    user: User
    project: Project
    capabilities: frozenset[Capability]


@prepared_query
def _by_slug(slug: str) -> QuerySet[Project]:
    return Project.objects.filter(slug=slug).order_by()


@prepared_query
def _memberships(user: int, project: int) -> QuerySet[Membership]:
    # Unordered: the order of memberships is that of projects' names, which would have to be joined.
    return Membership.objects.filter(user_id=user, project_id=project).order_by().only("role")


def capabilities(user: User | AnonymousUser, project: Project) -> frozenset[Capability]:
    """All that the user's roles in the project allow; they add up."""
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    if user.is_superuser:
        return frozenset(Capability)
    memberships = _memberships.all(user=user.pk, project=project.pk)
    return frozenset().union(*(ROLE_CAPABILITIES[membership.role] for membership in memberships))


def capabilities_by_project(user: User, projects: Collection[int]) -> dict[int, frozenset[Capability]]:
    """`capabilities` in each of these projects, which are the user's."""
    if user.is_superuser:
        return dict.fromkeys(projects, frozenset(Capability))
    granted: dict[int, frozenset[Capability]] = dict.fromkeys(projects, frozenset())
    memberships = Membership.objects.filter(user_id=user.pk, project__in=projects).order_by()
    for project, role in memberships.values_list("project", "role"):
        granted[project] |= ROLE_CAPABILITIES[role]
    return granted


def can(user: User | AnonymousUser, capability: Capability, project: Project) -> bool:
    return capability in capabilities(user, project)


def ensure(user: User | AnonymousUser, capability: Capability, project: Project) -> None:
    """Raise NotYours with a sentence unless the user can."""
    if not can(user, capability, project):
        raise NotYours(str(REFUSALS[capability]))


def projects_for(user: User | AnonymousUser, capability: Capability) -> QuerySet[Project]:
    """The projects, archived ones too, in which the user can."""
    if not user.is_authenticated or not user.is_active:
        return Project.objects.none()
    if user.is_superuser:
        return Project.objects.all()
    roles = [role for role, granted in ROLE_CAPABILITIES.items() if capability in granted]
    return Project.objects.filter(pk__in=Membership.objects.filter(user_id=user.pk, role__in=roles).values("project"))


def can_create_projects(user: User | AnonymousUser) -> bool:
    """A manager of a project may open another."""
    return projects_for(user, Capability.MANAGE).exists() or bool(user.is_active and user.is_superuser)


def enter_project(request: ProjectRequest, slug: str, capability: Capability) -> None:
    """Set `request.project` and `request.capabilities`. Raises Http404 to an outsider, as if there were no such
    project, and PermissionDenied with a sentence to a member without the capability."""
    project = _by_slug.first(slug=slug)
    granted = capabilities(request.user, project) if project else frozenset()
    if project is None or Capability.VIEW not in granted:
        raise Http404(_("There is no such project, or you aren't a member of it."))
    if capability not in granted:
        raise PermissionDenied(str(REFUSALS[capability]))
    request.project, request.capabilities = project, granted


def requires(capability: Capability) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """View decorator for URLs below a project's slug.

    Takes `slug` from the URL, sets `request.project` and `request.capabilities`, and calls the view without the slug.
    An outsider gets 404, as if there were no such project; a member without the capability 403 with a sentence.
    """

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        @login_required
        def wrapper(request: ProjectRequest, slug: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            enter_project(request, slug, capability)
            return view(request, *args, **kwargs)

        wrapper.capability = capability  # type: ignore[attr-defined]
        return wrapper

    return decorate


def count_people_who_judge(project: Project) -> int:
    """The members who may be given tasks."""
    roles = [role for role, granted in ROLE_CAPABILITIES.items() if Capability.LABEL in granted]
    members = Membership.objects.filter(project=project, role__in=roles, user__is_active=True)
    people: int = members.aggregate(people=Count("user", distinct=True))["people"]
    return people


def too_many_judgments(wanted: int, people: int) -> str:
    """The sentence for more judgments of a task than there are people to give one each."""
    return ngettext(
        "%(overlap)d judgments a task need as many labelers, and %(people)d person may judge here: invite more first.",
        "%(overlap)d judgments a task need as many labelers, and %(people)d people may judge here: invite more first.",
        people,
    ) % {"overlap": wanted, "people": people}
