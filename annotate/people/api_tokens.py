"""Tokens of the API: made by a person for their programs, limited by scopes and an expiry, revoked at any time.

A token acts as its person, and allows what its scopes and the person's roles both allow. It is 256 random bits, so its
SHA-256 can be stored as it is: nobody can guess one by hashing candidates, which is what a slow hash protects short
passwords from, and a slow one would cost half a second of every request.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.data import text
from annotate.errors import NotYours, Refused
from annotate.models import ApiToken, Project, User
from annotate.models.prepared_queries import prepared_query
from annotate.people import audit
from annotate.people.permissions import Capability

PREFIX = "hone_"
SHAPE = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
HINT_LENGTH = len(PREFIX) + 4
MOST_OPEN = 50
LONGEST_NAME = 100
EXPIRY_DAYS = (7, 30, 90, 365)
USE_NOTED_EVERY = timedelta(hours=1)
WRITE = "write"
SCOPES = {
    WRITE: gettext_lazy("Change things; without it a token only reads"),
    Capability.LABEL.value: gettext_lazy("Get tasks and judge them"),
    Capability.SEE_DATA.value: gettext_lazy("Read prompts and counts"),
    Capability.REVIEW.value: gettext_lazy("Adjudicate: decide what waits for review"),
    Capability.EXPORT.value: gettext_lazy("Read responses and demonstrations, make and download exports"),
    Capability.TRAIN.value: gettext_lazy("Read runs and models, start runs"),
    Capability.MANAGE.value: gettext_lazy("Read tasks and people, import data"),
}
"""{scope: what it allows}. That a project is there, its members' tokens all see."""
GATEWAY, GATEWAY_STORE = "gateway", "gateway_store"
GATEWAY_SCOPES = {
    GATEWAY: gettext_lazy("Ask the model of its project through the gateway"),
    GATEWAY_STORE: gettext_lazy("Keep conversations of the gateway as prompts, and send feedback on them"),
}
"""Those of the gateway (docs/gateway.md), for tokens of one project."""
ALL_SCOPES = SCOPES | GATEWAY_SCOPES


def of_request(request: HttpRequest) -> ApiToken:
    """The token that a program sent, which the middleware has looked up. Raises Refused (401), NotYours."""
    token: ApiToken | None = request.api_token  # type: ignore[attr-defined]
    if token is None:
        raise Refused(
            _("Send a token as “Authorization: Bearer …”. This one is missing, unknown, expired or revoked."),
            status=401,
        )
    if not request.user.is_authenticated:
        raise NotYours(_("You have a one-time password. Sign in and choose your own first."))
    return token


def require_scope(token: ApiToken, scope: str) -> None:
    """Raise NotYours with a sentence unless the token has it."""
    if scope not in {Capability.VIEW, *token.scopes}:
        raise NotYours(_("This token doesn’t have the scope “%(scope)s”.") % {"scope": str(scope)})


def make(
    *, user: User, name: str, scopes: Iterable[str], days: int, project: Project | None = None
) -> tuple[ApiToken, str]:
    """A new token of this person, for one project or for all of theirs; the text is known here alone. Raises Refused
    with a sentence."""
    name = text.checked(name.strip(), name=_("The name"), longest=LONGEST_NAME)
    chosen = [scope for scope in ALL_SCOPES if scope in set(scopes)]
    if not name:
        raise Refused(_("Give the token a name, so that you know later what it is for."), status=400)
    if not chosen or not set(scopes) <= set(ALL_SCOPES):
        raise Refused(_("Choose what the token may do."), status=400)
    if project is None and set(chosen) & set(GATEWAY_SCOPES):
        raise Refused(_("Choose the project whose model the token asks through the gateway."), status=400)
    if days not in EXPIRY_DAYS:
        raise Refused(_("Choose when the token expires."), status=400)
    secret = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        # Locked, so that two requests at once don't both count the others.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if ApiToken.open().filter(user=user).count() >= MOST_OPEN:
            raise Refused(_("You have %(most)d tokens. Revoke one that you don’t use.") % {"most": MOST_OPEN})
        token = ApiToken.objects.create(
            user=user,
            project=project,
            name=name,
            scopes=chosen,
            token_hash=_hash(secret),
            hint=secret[:HINT_LENGTH],
            expires_at=timezone.now() + timedelta(days=days),
        )
        audit.record(
            verb="token.created", actor=user, subject=token, project=project, hint=token.hint, scopes=chosen, days=days
        )
    return token, secret


def revoke(*, token: ApiToken, by: User) -> None:
    """End a token at once; a second time changes nothing. Raises NotYours but to its owner and administrators."""
    if by.pk != token.user_id and not by.is_superuser:
        raise NotYours(_("This token is somebody else’s."))
    with transaction.atomic():
        _end(ApiToken.objects.filter(pk=token.pk), by=by)


def end_all(user: User) -> None:
    """End every token of an account that was closed."""
    with transaction.atomic():
        _end(ApiToken.objects.filter(user=user), by=None)


def identify(secret: str) -> ApiToken | None:
    """The open token of an active person, with its `user`; its use is noted, once an hour."""
    if not SHAPE.fullmatch(secret):
        return None
    now = timezone.now()
    token = _open_by_hash.first(token_hash=_hash(secret), now=now)
    if token is not None and (token.last_used_at is None or token.last_used_at < now - USE_NOTED_EVERY):
        unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_NOTED_EVERY)
        ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)
    return token


def close_with_account(sender: Any, instance: User, **kwargs: Any) -> None:
    """After an account was saved: one that is closed has no tokens. (Nor is any accepted of it, see `identify`.)"""
    if not instance.is_active:
        end_all(instance)


@prepared_query
def _open_by_hash(token_hash: str, now: datetime) -> QuerySet[ApiToken]:
    found = ApiToken.objects.filter(token_hash=token_hash, revoked_at=None, expires_at__gt=now, user__is_active=True)
    return found.select_related("user").order_by()


def _end(tokens: QuerySet[ApiToken], *, by: User | None) -> None:
    for token in tokens.filter(revoked_at=None):
        if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit.record(
                verb="token.revoked",
                actor=by,
                subject=token,
                project=token.project,
                hint=token.hint,
                person=token.user,
            )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
