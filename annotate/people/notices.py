"""What happened or waits in one's projects: reports, returned work, and what other apps add (runs, gates).

Asked for by the frame of every page and by Home; nothing is stored but when somebody last looked. Other apps register a
source in `ready()`: a function of (reader) that yields notices of the projects where that person may know of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import ngettext

from annotate.models import JudgmentReturn, Project, Report, User
from annotate.people.permissions import Capability, capabilities_by_project, projects_for

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


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody, and the open projects of theirs with what they can in each: read once for all sources of a page."""

    user: User
    projects: Mapping[int, Project]
    capabilities: Mapping[int, frozenset[Capability]]

    @classmethod
    def of(cls, user: User) -> "Reader":
        mine = projects_for(user, Capability.VIEW).filter(archived_at=None)
        projects = mine.only("slug", "name", "review_below").order_by().in_bulk()
        return cls(user, projects, capabilities_by_project(user, projects))

    def projects_with(self, capability: Capability) -> dict[int, Project]:
        """The open projects in which the person can, by number."""
        return {number: project for number, project in self.projects.items() if capability in self.capabilities[number]}


Source = Callable[[Reader], Iterable[Notice]]
_sources: list[Source] = []


def register(source: Source) -> None:
    if source not in _sources:
        _sources.append(source)


def of(user: User) -> list[Notice]:
    """The newest MOST notices of somebody, what waits first."""
    reader = Reader.of(user)
    found = [notice for source in _sources for notice in source(reader)]
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


def _reports(reader: Reader) -> Iterable[Notice]:
    """Reports of labelers that nobody has settled, a line for each project."""
    projects = reader.projects_with(Capability.REVIEW)
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


def _returned_work(reader: Reader) -> Iterable[Notice]:
    """Judgments that reviewers returned to this person, a line for each project."""
    projects = reader.projects_with(Capability.LABEL)
    returned = JudgmentReturn.objects.filter(
        JudgmentReturn.OPEN, judgment__labeler=reader.user, judgment__project__in=projects
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
