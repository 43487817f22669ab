"""The people of all projects that somebody manages: who is where, in which roles, and what the queue gives them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import OuterRef, Q, QuerySet, Subquery

from annotate.data import stored_messages
from annotate.models import Assignment, Membership, Project, User
from annotate.people.permissions import Capability, projects_for

MOST_ROWS = 200


@dataclass(slots=True)
class PersonInProject:
    """Somebody in one project. `key` names it in forms; last_at: when they ended a task there last."""

    membership: Membership
    roles: list[str] = field(default_factory=list)
    last_at: datetime | None = None

    @property
    def key(self) -> str:
        return f"{self.membership.project_id}-{self.membership.user_id}"

    @property
    def paused_because(self) -> str:
        return stored_messages.text(self.membership.paused_reason)

    @property
    def skills(self) -> list[str]:
        return sorted(skill.name for skill in self.membership.skills.all())


def managed_projects(user: User) -> QuerySet[Project]:
    """Those that are open."""
    return projects_for(user, Capability.MANAGE).filter(archived_at=None)


def people(
    user: User, *, search: str = "", project: str = "", role: str = "", paused: bool | None = None
) -> tuple[list[PersonInProject], bool]:
    """(at most MOST_ROWS rows, whether there are more), by name and project.

    search: a part of the name; project: a slug; paused: only those, or only the others.
    """
    found = Membership.objects.filter(project__in=managed_projects(user))
    if search:
        name = Q(user__username__icontains=search) | Q(user__first_name__icontains=search)
        found = found.filter(name | Q(user__last_name__icontains=search))
    if project:
        found = found.filter(project__slug=project)
    if paused is not None:
        found = found.filter(paused_at__isnull=not paused)
    if role:
        of_role = Membership.objects.filter(user=OuterRef("user"), project=OuterRef("project"), role=role)
        found = found.filter(pk__in=Subquery(of_role.values("pk")[:1]))
    ended = Assignment.objects.filter(
        labeler=OuterRef("user"), project=OuterRef("project"), ended_at__isnull=False
    ).order_by("-ended_at")
    ordered = found.order_by("user__username", "project__name", "project", "role")
    rows: dict[str, PersonInProject] = {}
    selected = ordered.select_related("user", "project").prefetch_related("skills")
    for membership in selected.annotate(last_at=Subquery(ended.values("ended_at")[:1]))[: 4 * MOST_ROWS + 4]:
        row = PersonInProject(membership, last_at=membership.last_at)
        rows.setdefault(row.key, row).roles.append(str(membership.get_role_display()))
    listed = list(rows.values())
    return listed[:MOST_ROWS], len(listed) > MOST_ROWS


def chosen(user: User, keys: Iterable[str]) -> list[Membership]:
    """One membership for each key of a form, of projects that the user manages; others are left out."""
    wanted = set()
    for key in keys:
        project, _dash, person = key.partition("-")
        if project.isdecimal() and person.isdecimal() and len(key) < 36:
            wanted.add((int(project), int(person)))
    found = Membership.objects.filter(
        project__in=managed_projects(user).filter(pk__in=[project for project, _person in wanted]),
        user__in=[person for _project, person in wanted],
    )
    first: dict[tuple[int, int], Membership] = {}
    for membership in found.select_related("user", "project").prefetch_related("skills").order_by("pk"):
        first.setdefault((membership.project_id, membership.user_id), membership)
    return [membership for key, membership in first.items() if key in wanted]
