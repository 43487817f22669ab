"""The outermost middleware: the request's id, its place in the metrics, the access log, /healthz and /metrics.

/healthz needs no valid host name, no HTTPS and no database: it checks whether this process responds at all. Nor does
/metrics, whose caller knows the process by its address and has no session.
"""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from config.monitoring import metrics_page, request_metrics, tracing
from config.monitoring.log_lines import new_request_id, request_id
from config.security.accounts import client_address
from config.web import health

log = logging.getLogger("hone.access")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

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
        given = request.headers.get("X-Request-ID") if settings.HONE_PROXIES else None
        name = new_request_id(given)
        token = request_id.set(name)
        try:
            response = self._traced(request, name)
        finally:
            request_id.reset(token)
        response["X-Request-ID"] = name
        return response

    def _traced(self, request: HttpRequest, name: str) -> HttpResponseBase:
        if request.path == "/metrics" or request.path.startswith(settings.STATIC_URL):
            return self._reply(request)
        parent = request.headers.get("traceparent") if settings.HONE_PROXIES else None
        with tracing.request_span(request=name, traceparent=parent) as span:
            response = self._reply(request)
            if span is not None:
                method = request.method if request.method in METHODS else "_OTHER"
                span.end(method=method, view=_view(request), status=response.status_code)
        return response

    def _reply(self, request: HttpRequest) -> HttpResponseBase:
        if request.path == "/metrics":
            return metrics_page.metrics(request)
        _trust_own_proxies(request)
        began = time.monotonic()
        response = self.get_response(request)
        seconds, view = time.monotonic() - began, _view(request)
        request_metrics.observe(view=view, status=response.status_code, seconds=seconds)
        if settings.HONE_ACCESS_LOG:
            log.info(
                "%s %s %s %d %d ms",
                client_address(request) or "-",
                request.method,
                ascii(request.path)[1:-1],  # no line of a client's making
                response.status_code,
                seconds * 1000,
                extra={"fields": {"view": view, "status": response.status_code, "milliseconds": round(seconds * 1000)}},
            )
        return response


def _view(request: HttpRequest) -> str:
    """The name that the request is counted under."""
    if (match := request.resolver_match) is None:
        return request_metrics.STATIC if request.path.startswith(settings.STATIC_URL) else request_metrics.UNMATCHED
    return next((name for name in request_metrics.WHOLE if name in match.namespaces), match.view_name)


def _trust_own_proxies(request: HttpRequest) -> None:
    """Of several entries in X-Forwarded-Proto the one that our own proxy wrote counts, as for addresses."""
    entries = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_PROTO", "").split(",") if part.strip()]
    if len(entries) > 1 and settings.HONE_PROXIES:
        request.META["HTTP_X_FORWARDED_PROTO"] = entries[-min(settings.HONE_PROXIES, len(entries))]
