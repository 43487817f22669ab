"""Notes sessions at their sign-in and each quarter of an hour in use, and ends them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from allauth.account.signals import password_changed
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from annotate.models import User
from annotate.people import audit
from annotate.people.own_paths import is_api
from config.models import OpenSession
from config.security.accounts import client_address
from config.security.rate_limits import Limit, MemoryBuckets

NOTE = Limit(burst=1, interval=900)
"""How often a process writes down that a session is in use."""
MOST_LISTED = 100

GetResponse = Callable[[HttpRequest], HttpResponseBase]
_noted = MemoryBuckets()


class OpenSessionsMiddleware:
    """Comes after AuthenticationMiddleware."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        key = "" if is_api(request.path_info) else request.session.session_key
        if key and isinstance(request.user, User) and not _noted.take("session", key, NOTE):
            note(request, request.user)
        return self.get_response(request)


def note(request: HttpRequest, user: User) -> None:
    """Write down that this session is in use now."""
    values = {
        "user": user,
        "address": client_address(request),
        "browser": request.META.get("HTTP_USER_AGENT", "").replace("\0", "")[:200],
        "seen_at": timezone.now(),
    }
    key = request.session.session_key or ""
    if not OpenSession.objects.filter(key=key).update(**values):
        OpenSession.objects.get_or_create(key=key, defaults=values)


def listed(user: User) -> list[OpenSession]:
    """The person's sessions that are still open, last seen first. What has ended otherwise is removed."""
    rows = list(OpenSession.objects.filter(user=user).order_by("-seen_at", "-pk")[:MOST_LISTED])
    stored = Session.objects.filter(session_key__in=[row.key for row in rows], expire_date__gt=timezone.now())
    right = user.get_session_auth_hash()
    open_keys = {one.session_key for one in stored if one.get_decoded().get(HASH_SESSION_KEY) == right}
    OpenSession.objects.filter(pk__in=[row.pk for row in rows if row.key not in open_keys]).delete()
    return [row for row in rows if row.key in open_keys]


def end(*, user: User, number: int) -> bool:
    """Sign out one session of the person; False where there is none of that number."""
    return _end(user, OpenSession.objects.filter(user=user, pk=number)) > 0


def end_others(*, user: User, but: str | None) -> int:
    """Sign out every session of the person but the one with this key; how many these were."""
    return _end(user, OpenSession.objects.filter(user=user).exclude(key=but or ""))


def _end(user: User, rows: Any) -> int:
    with transaction.atomic():
        keys = list(rows.values_list("key", flat=True))
        Session.objects.filter(session_key__in=keys).delete()
        OpenSession.objects.filter(key__in=keys).delete()
        if keys:
            audit.record(
                verb="sessions.ended",
                actor=user,
                subject=user,
                project=None,
                person=user,
                sessions=len(keys),
            )
    return len(keys)


def connect_signals() -> None:
    user_logged_in.connect(_on_sign_in, dispatch_uid="hone.open_sessions")
    user_logged_out.connect(_on_sign_out, dispatch_uid="hone.open_sessions")
    password_changed.connect(_on_new_password, dispatch_uid="hone.open_sessions")


def _on_sign_in(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    if request is None or not hasattr(request, "session") or not request.session.session_key:
        return
    forgotten = timezone.now() - timedelta(seconds=settings.SESSION_COOKIE_AGE)
    OpenSession.objects.filter(user=user, seen_at__lt=forgotten).delete()
    _noted.take("session", request.session.session_key, NOTE)
    note(request, user)


def _on_sign_out(sender: Any, request: HttpRequest | None, **kwargs: Any) -> None:
    if request is not None and getattr(request, "session", None) is not None and request.session.session_key:
        OpenSession.objects.filter(key=request.session.session_key).delete()


def _on_new_password(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    """The session in which it was chosen goes on under a new key; all others end."""
    end_others(user=user, but=request.session.session_key)
    note(request, user)
