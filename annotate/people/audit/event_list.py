"""The events that the page of the audit log shows, and the file with all of them."""

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from annotate.data.text import row_number
from annotate.models import AuditEvent, Project, User
from annotate.people.audit import event_labels
from annotate.rendering.local_times import midnight, written_day

BATCH = 500
LONGEST_VALUE = 200
COLUMNS = (
    "event",
    "time",
    "person",
    "action",
    "subject",
    "number",
    "project",
    "about",
    "details",
    "position",
    "digest",
)


@dataclass(frozen=True, slots=True)
class EventFilters:
    """What the reader chose. project: None is the whole installation. What can't be read is no filter."""

    project: Project | None
    verb: str = ""
    actor: int | None = None
    by_hone: bool = False
    since: datetime.date | None = None
    until: datetime.date | None = None

    @classmethod
    def of(cls, project: Project | None, chosen: Mapping[str, str]) -> "EventFilters":
        verb, actor = chosen.get("action", ""), chosen.get("person", "")
        return cls(
            project=project,
            verb=verb if verb in dict(event_labels.choices()) else "",
            actor=row_number(actor),
            by_hone=actor == "hone",
            since=written_day(chosen.get("since", "")),
            until=written_day(chosen.get("until", "")),
        )

    def events(self) -> QuerySet[AuditEvent]:
        found = AuditEvent.objects.all() if self.project is None else AuditEvent.objects.filter(project=self.project)
        if self.verb:
            found = found.filter(verb=self.verb)
        if self.by_hone:
            found = found.filter(actor=None)
        elif self.actor is not None:
            found = found.filter(actor=self.actor)
        if self.since is not None:
            found = found.filter(created_at__gte=midnight(self.since))
        if self.until is not None:
            found = found.filter(created_at__lt=midnight(self.until + datetime.timedelta(days=1)))
        return found.select_related("actor", "project", "chain_link")


def people(project: Project | None) -> QuerySet[User]:
    """Who did something that was recorded."""
    events = AuditEvent.objects.filter(actor=OuterRef("pk"))
    if project is not None:
        events = events.filter(project=project)
    # One look into an index for each person, however many events there are.
    return User.objects.alias(any_event=Subquery(events.order_by().values("pk")[:1])).exclude(any_event=None)


def details(event: AuditEvent, about: Mapping[int, User]) -> list[tuple[str, str]]:
    """(name, value) of what the event says beyond its verb; long values are shortened, the file has them whole.

    about: whom the events are about (see `named`).
    """
    person = about.get(event.detail.get("person", 0))
    known = {"person": person.display_name} if person else {}
    return [(name, _shortened(value)) for name, value in (event.detail | known).items()]


def named(events: Iterable[AuditEvent]) -> dict[int, User]:
    """The people whom these events are about, by number."""
    numbers = {event.detail.get("person") for event in events}
    return User.objects.in_bulk([number for number in numbers if isinstance(number, int)])


def file_rows(filters: EventFilters) -> Iterator[tuple[Any, ...]]:
    """The rows of the CSV file, headings first, the oldest event first."""
    yield COLUMNS
    after = 0
    while found := list(filters.events().filter(pk__gt=after).order_by("pk")[:BATCH]):
        about = named(found)
        for event in found:
            person = about.get(event.detail.get("person", 0))
            link = getattr(event, "chain_link", None)
            yield (
                event.pk,
                event.created_at.isoformat(timespec="milliseconds"),
                event.actor.username if event.actor else "",
                event.verb,
                event.subject_type,
                event.subject_id,
                event.project.slug if event.project else "",
                person.username if person else "",
                json.dumps(event.detail, ensure_ascii=False, sort_keys=True),
                link.position if link else None,
                link.digest if link else "",
            )
        after = found[-1].pk


def _shortened(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
