"""Names of a person taken out of the audit log, so that the chain still tells what else is altered.

Events name people by number (`person`), which needs no erasing: the account's row has the name. Names stand in events
of earlier versions, and in reasons that somebody typed. An event that is linked already can't change its digest, so its
erasure is an event of its own, "audit.names_erased", which the chain seals as every other:

    events: [[number, digest], ...]     digest: that of the erased event, after the digest before it in the chain

`chain.verify` takes such an event for intact if it is what the newest erasure says. An event that was altered before is
erased too, and stays altered: nothing vouches for it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet

from annotate.models import AuditChainLink, AuditEvent, User
from annotate.people.audit import chain
from annotate.people.audit.recording import record
from annotate.people.deletion.waiting import NotYet

FREE_TEXT = frozenset({"reason", "comment", "note", "sentence", "name", "label"})
SHORTEST_IN_TEXT = 3
SIGNED_IN = "account.administrator_signed_in"
"""Says from which address."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a person is called. In other texts than names, only what can be nothing else is looked for."""

    username: str
    full_name: str
    email: str
    instead: str

    @classmethod
    def of(cls, person: User) -> "Names":
        return cls(person.username, person.get_full_name(), person.email, f"deleted-{person.pk}")

    def erased(self, value: Any, key: str = "") -> Any:
        """The value with every name replaced, at any depth."""
        if isinstance(value, Mapping):
            return {name: self.erased(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [self.erased(part, key) for part in value]
        if not isinstance(value, str):
            return value
        if key == "username" and value.casefold() == self.username.casefold():
            return self.instead
        return self._without(value, everywhere=key in FREE_TEXT)

    def _without(self, text: str, *, everywhere: bool) -> str:
        """everywhere: the user name too, which elsewhere may be a word like any other."""
        sought = [self.email, self.full_name if " " in self.full_name or everywhere else ""]
        sought += [self.username] if everywhere else []
        for name in sought:
            if len(name) >= SHORTEST_IN_TEXT:
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", self.instead, text, flags=re.IGNORECASE)
        return text


def erase(*, person: User, names: Names, subject: Model, after: int, most: int) -> tuple[int, int]:
    """Look at so many events after this number; the last one looked at, and how many named the person.

    To be called inside a transaction, until the number doesn't grow any more. Raises NotYet before an event that
    the chain doesn't have yet: whoever links it at this moment would seal the names.
    """
    events = list(AuditEvent.objects.filter(pk__gt=after).order_by("pk")[:most])
    links = {link.event_id: link for link in AuditChainLink.objects.filter(event__in=[event.pk for event in events])}
    erasures = None
    vouched, erased, last = [], 0, after
    for event in events:
        clean = names.erased(event.detail)
        if event.verb == SIGNED_IN and event.actor_id == person.pk:
            clean = {**clean, "address": names.instead}
        if clean == event.detail or event.verb == chain.ERASED:
            last = event.pk
            continue
        link = links.get(event.pk)
        if link is None:
            raise NotYet
        if erasures is None:
            erasures = chain.Erasures.all()
        before = chain.digest_before(link)
        was_intact = erasures.is_intact(before, event, link)
        event.detail = clean
        _rows().filter(pk=event.pk).update(detail=clean)
        if was_intact:
            vouched.append([event.pk, chain.digest(before, event)])
        erased, last = erased + 1, event.pk
    if vouched:
        record(verb=chain.ERASED, actor=None, subject=subject, project=None, person=person, events=vouched)
    return last, erased


def _rows() -> "QuerySet[AuditEvent]":
    """The one way by which an event is changed."""
    return QuerySet(AuditEvent)
