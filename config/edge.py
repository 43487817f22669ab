"""The site's own edge: a line in the log for each request, with the browser's address, and the answer to /healthz.

That answer needs no host name that the site is reached by, no HTTPS and no database: whoever asks for it asks whether
this process answers at all.
"""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from config import health
from config.accounts import client_address

log = logging.getLogger("hone.access")

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class EdgeMiddleware:
    """The first of all."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path == "/healthz":
            answer = health.alive(request)
            answer["Content-Length"] = str(len(answer.content))
            return answer
        _believe_own_proxies(request)
        began = time.monotonic()
        response = self.get_response(request)
        if settings.HONE_ACCESS_LOG:
            log.info(
                "%s %s %s %d %d ms",
                client_address(request) or "-",
                request.method,
                ascii(request.path)[1:-1],  # no line of a client's making
                response.status_code,
                (time.monotonic() - began) * 1000,
            )
        return response


def _believe_own_proxies(request: HttpRequest) -> None:
    """Of several entries in X-Forwarded-Proto the one that our own proxy wrote counts, as for addresses."""
    entries = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_PROTO", "").split(",") if part.strip()]
    if len(entries) > 1 and settings.HONE_PROXIES:
        request.META["HTTP_X_FORWARDED_PROTO"] = entries[-min(settings.HONE_PROXIES, len(entries))]
