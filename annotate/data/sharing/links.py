"""Links to a ready snapshot that open without an account, until they expire or are revoked.

A link holds the snapshot's number and when it ends, signed by Django with the installation's secret key and a key of
the snapshot's own, which is changed to revoke all links made before.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.core import signing
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data.text import row_number
from annotate.errors import Refused
from annotate.models import Snapshot, User
from annotate.people import audit
from annotate.people.permissions import Capability, ensure

DAYS = (1, 7, 30, 90)
"""How long a link lasts."""
SALT = "annotate.data.sharing.links"


@dataclass(frozen=True, slots=True)
class SharedSnapshot:
    """What an open link leads to."""

    snapshot: Snapshot
    until: datetime


def make_link(*, snapshot: Snapshot, days: int, by: User) -> str:
    """The token of a new link. Raises NotYours, and Refused for a snapshot that isn't ready or another time."""
    ensure(by, Capability.EXPORT, snapshot.project)
    if days not in DAYS:
        raise Refused(_("Choose how long the link lasts."), status=400)
    if snapshot.state != Snapshot.State.READY:
        raise Refused(_("This snapshot isn’t ready: there is nothing to share yet."))
    until = timezone.now() + timedelta(days=days)
    with transaction.atomic():
        Snapshot.objects.filter(pk=snapshot.pk, link_key="").update(link_key=secrets.token_urlsafe(24))
        snapshot.refresh_from_db(fields=["link_key"])
        audit.record(
            verb="snapshot.shared", actor=by, subject=snapshot, project=snapshot.project, until=until.isoformat()
        )
    return token(snapshot, until)


def token(snapshot: Snapshot, until: datetime) -> str:
    """What stands in the address of a link."""
    return f"{snapshot.pk}-{signing.dumps(int(until.timestamp()), salt=_salt(snapshot))}"


def revoke_links(*, snapshot: Snapshot, by: User) -> None:
    """No link to this snapshot that was made until now opens any more. Raises NotYours."""
    ensure(by, Capability.EXPORT, snapshot.project)
    with transaction.atomic():
        if Snapshot.objects.filter(pk=snapshot.pk).exclude(link_key="").update(link_key=""):
            audit.record(verb="snapshot.links_revoked", actor=by, subject=snapshot, project=snapshot.project)


def find(written: str) -> SharedSnapshot:
    """The snapshot of a link. Raises Refused (404) for one that expired, was revoked, or never was one."""
    number, _dash, signed = written.partition("-")
    ready = Snapshot.objects.filter(state=Snapshot.State.READY).exclude(link_key="").select_related("project")
    key = row_number(number)
    snapshot = ready.filter(pk=key).first() if key is not None else None
    if snapshot is not None:
        try:
            until = signing.loads(signed, salt=_salt(snapshot))
        except (signing.BadSignature, ValueError):
            pass
        else:
            if until > timezone.now().timestamp():
                return SharedSnapshot(snapshot, datetime.fromtimestamp(until, UTC))
    raise Refused(_("This link has expired or was revoked. Ask whoever gave it to you for a new one."), status=404)


def _salt(snapshot: Snapshot) -> str:
    return f"{SALT}.{snapshot.pk}.{snapshot.link_key}"
