"""The outermost middleware: the access log, with the browser's address, and /healthz.

/healthz needs no valid host name, no HTTPS and no database: it checks whether this process responds at all.
"""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from config.security.accounts import client_address
from config.web import health

log = logging.getLogger("hone.access")

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class EdgeMiddleware:
    """The first of all."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path == "/healthz":
            http_response = health.alive(request)
            http_response["Content-Length"] = str(len(http_response.content))
            return http_response
        _trust_own_proxies(request)
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


def _trust_own_proxies(request: HttpRequest) -> None:
    """Of several entries in X-Forwarded-Proto the one that our own proxy wrote counts, as for addresses."""
    entries = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_PROTO", "").split(",") if part.strip()]
    if len(entries) > 1 and settings.HONE_PROXIES:
        request.META["HTTP_X_FORWARDED_PROTO"] = entries[-min(settings.HONE_PROXIES, len(entries))]
