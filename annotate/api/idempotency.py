"""Requests that may be sent twice: the header Idempotency-Key names one, and a second one of the key gets its reply.

With another body or address the key is refused (422). A key is kept for a day.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Status

from annotate.api.bearer import ApiRequest
from annotate.errors import Refused
from annotate.models import IdempotentRequest

KEPT = timedelta(days=1)
ABANDONED = timedelta(minutes=10)
"""After which a request without a reply is taken for dead: no request lasts so long."""
RETRY_SECONDS = 5.0
KEY = re.compile(r"[!-~]{1,200}")
HEADER = {
    "parameters": [
        {
            "in": "header",
            "name": "Idempotency-Key",
            "required": False,
            "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
            "description": "A name of this request: sent again with the same body it gives the same reply, for a day.",
        }
    ]
}
"""For a route's `openapi_extra`."""


class UnderWay(Refused):
    """The first request of the key has no reply yet."""

    retry_after = RETRY_SECONDS


def idempotent(*, atomic: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of routes that return ninja's Status with plain JSON, inside `within_project`.

    atomic: what the route writes and the reply are kept in one transaction, so a request happens exactly once. Else the
    route commits as it goes and must bring about nothing new when it is run again after a crash, as an import does.
    """

    def decorate(route: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(route)
        def wrapper(request: ApiRequest, **values: Any) -> Any:
            key = request.headers.get("Idempotency-Key")
            if key is None:
                return route(request, **values)
            if not KEY.fullmatch(key):
                raise Refused(_("An Idempotency-Key has 1 to 200 visible characters of ASCII."), status=400)
            IdempotentRequest.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
            if atomic:
                with transaction.atomic():
                    return _once(request, key, lambda: route(request, **values), forget=False)
            return _once(request, key, lambda: route(request, **values), forget=True)

        return wrapper

    return decorate


def _once(request: ApiRequest, key: str, run: Callable[[], Status], *, forget: bool) -> Status:
    """`forget`: the key of a request that failed is free again; in a transaction it is rolled back in any case."""
    fingerprint = _fingerprint(request)
    mine = IdempotentRequest(user=request.user, key=key, fingerprint=fingerprint)
    try:
        with transaction.atomic():
            mine.save()
    except IntegrityError:
        earlier = IdempotentRequest.objects.filter(user=request.user, key=key).first()
        if earlier is not None and earlier.fingerprint != fingerprint:
            raise Refused(_("This Idempotency-Key was used for another request."), status=422) from None
        if earlier is not None and earlier.status is not None:
            request.is_replay = True
            return Status(earlier.status, earlier.reply)
        if earlier is None or not _taken_over(earlier):
            raise UnderWay(_("The first request of this Idempotency-Key is still being worked on.")) from None
        mine = earlier
    try:
        reply = run()
    except BaseException:
        if forget:
            IdempotentRequest.objects.filter(pk=mine.pk, status=None).delete()
        raise
    IdempotentRequest.objects.filter(pk=mine.pk).update(status=reply.status_code, reply=reply.value)
    return reply


def _taken_over(earlier: IdempotentRequest) -> bool:
    """Whether its process is dead and nobody else has taken it over."""
    dead = IdempotentRequest.objects.filter(
        pk=earlier.pk, status=None, created_at=earlier.created_at, created_at__lt=timezone.now() - ABANDONED
    )
    return dead.update(created_at=timezone.now()) == 1


def _fingerprint(request: ApiRequest) -> str:
    digest = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    if request.content_type == "multipart/form-data":
        # Read already, and parted by another line each time.
        for name, values in sorted(request.POST.lists()):
            digest.update(json.dumps([name, values]).encode())
        for name in sorted(request.FILES):
            for file in request.FILES.getlist(name):
                digest.update(json.dumps([name, file.name, file.size]).encode())
                for block in file.chunks():  # from the beginning
                    digest.update(block)
    else:
        digest.update(request.body)
    return digest.hexdigest()
