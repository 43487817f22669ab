"""What happened or waits in one's projects: reports, returned work, and what other apps add (runs, gates).

Asked for by the frame of every page and by Home; nothing is stored but when somebody last looked. Other apps register a
source in `ready()`: a function of (user) that yields notices of the projects where that user may know of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import ngettext

from annotate.models import JudgmentReturn, Project, Report, User
from annotate.people.permissions import Capability, projects_for

MOST = 50


@dataclass(frozen=True, slots=True)
class Notice:
    """One line. `waits`: it is there until somebody has dealt with it; others are news, new until they were looked at.

    level: ok, warn, error, or nothing.
    """

    project: Project
    text: str
    url: str
    at: datetime
    level: str = ""
    waits: bool = False

    def is_new(self, seen_at: datetime | None) -> bool:
        return self.waits or seen_at is None or self.at > seen_at


Source = Callable[[User], Iterable[Notice]]
_sources: list[Source] = []


def register(source: Source) -> None:
    if source not in _sources:
        _sources.append(source)


def open_projects(user: User, capability: Capability) -> QuerySet[Project]:
    """The projects that aren't closed and in which the user can."""
    return projects_for(user, capability).filter(archived_at=None)


def of(user: User) -> list[Notice]:
    """The newest MOST notices of somebody, what waits first."""
    found = [notice for source in _sources for notice in source(user)]
    found.sort(key=lambda notice: (notice.waits, notice.at), reverse=True)
    return found[:MOST]


def count_new(user: User) -> int:
    return sum(notice.is_new(user.notices_seen_at) for notice in of(user))


def mark_seen(user: User) -> None:
    """What is news now is none any more; what waits still does."""
    User.objects.filter(pk=user.pk).update(notices_seen_at=timezone.now())


def _reports(user: User) -> Iterable[Notice]:
    """Reports of labelers that nobody has settled, a line for each project."""
    projects = open_projects(user, Capability.REVIEW).in_bulk()
    counted = Report.objects.filter(project__in=projects, resolved_at=None).order_by().values("project")
    for row in counted.annotate(n=Count("pk"), at=Max("created_at")):
        project = projects[row["project"]]
        yield Notice(
            project=project,
            text=ngettext("%(n)s report from a labeler waits", "%(n)s reports from labelers wait", row["n"])
            % {"n": row["n"]},
            url=reverse("annotate:review", args=[project.slug]),
            at=row["at"],
            level="warn",
            waits=True,
        )


def _returned_work(user: User) -> Iterable[Notice]:
    """Judgments that reviewers returned to this person, a line for each project."""
    projects = open_projects(user, Capability.LABEL).in_bulk()
    returned = JudgmentReturn.objects.filter(
        JudgmentReturn.OPEN, judgment__labeler=user, judgment__project__in=projects
    ).order_by()
    for row in returned.values("judgment__project").annotate(n=Count("pk"), at=Max("created_at")):
        project = projects[row["judgment__project"]]
        yield Notice(
            project=project,
            text=ngettext("%(n)s judgment was returned to you", "%(n)s judgments were returned to you", row["n"])
            % {"n": row["n"]},
            url=reverse("annotate:mine", args=[project.slug]) + "?show=returned",
            at=row["at"],
            level="warn",
            waits=True,
        )


register(_reports)
register(_returned_work)
