"""The hash chain over the audit log: an event that was altered, removed or slipped in later is found.

    digest(n) = SHA-256(digest(n - 1), newline, canonical JSON of the n-th event)          digest(0) is empty

Events are written without a digest, and linked into the chain by a job soon after. Linking them as they are written
would need one lock from each event to the end of its transaction: changes anywhere would wait for one another. So an
event can be altered unseen in the minute before it is linked, and no later. Whoever can write the database can also
compute a whole new chain: that is found by comparing with a head (`position:digest`) noted elsewhere. The job logs
each head, so a copy of the worker's log on another machine is such a place.

An event from which a name was erased (annotate.people.audit.name_erasure) has another digest than its link. It is
intact if that is the digest in the newest event of the erasure, which is sealed as any other.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, timedelta

from django.db import IntegrityError, transaction

from annotate.errors import Refused
from annotate.models import AuditChainLink, AuditEvent

log = logging.getLogger(__name__)

BATCH = 500
ERASED = "audit.names_erased"
OVERTAKEN = 10_000
"""An event gets its number when it is written and is seen when its transaction ends: others may overtake it, so as many
numbers before the newest linked one are looked at again."""
LONGEST_UNLINKED = timedelta(hours=1)
MOST_PROBLEMS = 20
HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link; position 0 and an empty digest before the first."""

    position: int = 0
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.position}:{self.digest}"


@dataclass(slots=True)
class Verification:
    """What a look at the whole chain found. waiting: events not linked yet, as is normal for a minute."""

    head: Head = field(default_factory=Head)
    waiting: int = 0
    erased: int = 0
    """Events from which a name was erased, and which are what the erasure says."""
    problems: list[str] = field(default_factory=list)
    found: int = 0
    """Problems, also those beyond the first few that are kept."""

    def add(self, problem: str) -> None:
        self.found += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


def head() -> Head:
    newest = AuditChainLink.objects.order_by("-position").first()
    return Head(newest.position, newest.digest) if newest else Head()


def link_new() -> int:
    """Link the events written since; how many. Another process that does the same at this moment wins, or waits."""
    linked = 0
    while made := _link_batch():
        linked += made
    if linked:
        log.info("Audit chain: %s", head())
    return linked


def _link_batch() -> int:
    try:
        with transaction.atomic():
            last = head()
            newest = AuditChainLink.objects.order_by("-event").values_list("event", flat=True).first() or 0
            unlinked = AuditEvent.objects.filter(pk__gt=newest - OVERTAKEN, chain_link=None)
            links = []
            for event in unlinked.order_by("pk")[:BATCH]:
                last = Head(last.position + 1, digest(last.digest, event))
                links.append(AuditChainLink(position=last.position, event=event, digest=last.digest))
            AuditChainLink.objects.bulk_create(links)
    except IntegrityError:  # the position is taken
        return 0
    return len(links)


@dataclass(frozen=True, slots=True)
class Erasures:
    """What the log says of events from which names were erased: {event: its digest afterwards}."""

    digests: dict[int, str]

    @classmethod
    def all(cls) -> "Erasures":
        erasing = AuditEvent.objects.filter(project=None, verb=ERASED).order_by("pk")
        found: dict[int, str] = {}
        for detail in erasing.values_list("detail", flat=True):
            found.update((int(event), str(after)) for event, after in detail.get("events", []))
        return cls(found)

    def is_intact(self, before: str, event: AuditEvent, link: AuditChainLink) -> bool:
        """before: the digest of the link before it."""
        now = digest(before, event)
        return now in (link.digest, self.digests.get(event.pk))


def digest_before(link: AuditChainLink) -> str:
    """The digest of the link before this one; empty for the first."""
    return AuditChainLink.objects.filter(position=link.position - 1).values_list("digest", flat=True).first() or ""


def digest(before: str, event: AuditEvent) -> str:
    """64 hexadecimal digits. `before`: that of the link before, or nothing."""
    return hashlib.sha256(f"{before}\n{canonical(event)}".encode()).hexdigest()


def canonical(event: AuditEvent) -> str:
    """The event as JSON: the same text from every database, whatever order it keeps keys in."""
    values = {
        "id": event.pk,
        "verb": event.verb,
        "actor": event.actor_id,
        "project": event.project_id,
        "subject": [event.subject_type, event.subject_id],
        "detail": event.detail,
        "at": event.created_at.astimezone(UTC).isoformat(timespec="microseconds"),
    }
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def parse_head(written: str) -> Head:
    """Raises Refused (400) for what is no head."""
    if (match := HEAD.fullmatch(written.strip())) is None:
        raise Refused(f"{written[:100]} is no head: a number, a colon and 64 hexadecimal digits.", status=400)
    return Head(int(match[1]), match[2])


def verify(expected: Head | None = None) -> Verification:
    """Compute every digest again, and look for events that are in no link.

    expected: a head noted earlier, which must still be in the chain.
    """
    result = Verification()
    erasures = Erasures.all()
    seen_at = None
    for link, event in _links():
        if link.position != result.head.position + 1:
            result.add(f"Links {result.head.position + 1} to {link.position - 1} are missing.")
        if event is None:
            result.add(f"Link {link.position}: event {link.event_id} is missing.")
        elif not erasures.is_intact(result.head.digest, event, link):
            result.add(f"Link {link.position}: event {event.pk} isn't what it was when it was linked.")
        elif event.pk in erasures.digests:
            result.erased += 1
        # Go on with the digest that is stored, so that one altered event is one problem.
        result.head, seen_at = Head(link.position, link.digest), link.created_at
        if expected is not None and link.position == expected.position and link.digest != expected.digest:
            result.add(f"Link {link.position} has another digest than the expected head.")
    if expected is not None and expected.position > result.head.position:
        result.add(f"The chain ends at {result.head.position}, before the expected head at {expected.position}.")
    unlinked = AuditEvent.objects.filter(chain_link=None).order_by("pk")
    result.waiting = unlinked.count()
    if seen_at is not None:
        late = unlinked.filter(created_at__lt=seen_at - LONGEST_UNLINKED)
        for number in late.values_list("pk", flat=True)[: MOST_PROBLEMS + 1]:
            result.add(f"Event {number} is in no link, though later ones are.")
    return result


def _links() -> Iterator[tuple[AuditChainLink, AuditEvent | None]]:
    """All links by position, with their events, a batch at a time."""
    position = 0
    while links := list(AuditChainLink.objects.filter(position__gt=position).order_by("position")[:BATCH]):
        events = AuditEvent.objects.in_bulk([link.event_id for link in links])
        for link in links:
            yield link, events.get(link.event_id)
        position = links[-1].position
