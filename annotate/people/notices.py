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
MOST_AT_THE_BELL = 99
MOST_SAID = 4


@dataclass(frozen=True, slots=True)
class Notice:
    """One line. `waits`: it is there until somebody has dealt with it; others are news, new until they were looked at.

    level: ok, warn, error, or nothing. count: of what the line speaks, which the bell counts. at: None for what is so
    at this moment.
    """

    project: Project
    text: str
    url: str
    at: datetime | None
    level: str = ""
    waits: bool = False
    count: int = 1

    def is_new(self, seen_at: datetime | None) -> bool:
        return self.waits or seen_at is None or self.at is None or self.at > seen_at


@dataclass(frozen=True, slots=True)
class Bell:
    """What the bell says: how much is new or waits, and the first lines of it in words."""

    count: int
    said: str

    @property
    def shown(self) -> str:
        return str(self.count) if self.count <= MOST_AT_THE_BELL else f"{MOST_AT_THE_BELL}+"


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
    now = timezone.now()
    found.sort(key=lambda notice: (notice.waits, notice.at or now), reverse=True)
    return found[:MOST]


def bell(user: User) -> Bell:
    new = [notice for notice in of(user) if notice.is_new(user.notices_seen_at)]
    said = [notice.text for notice in new[:MOST_SAID]]
    return Bell(sum(notice.count for notice in new), " · ".join(said) + (" · …" if len(new) > MOST_SAID else ""))


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
            count=row["n"],
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
            count=row["n"],
        )


register(_reports)
register(_returned_work)
