"""/metrics in Prometheus' text format: for the addresses of HONE_METRICS_ADDRESSES, or with HONE_METRICS_TOKEN."""

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from config.monitoring import request_metrics
from config.security.accounts import client_address, parsed

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    if not _has_token(request) and not _is_near(request):
        return HttpResponse(
            "The metrics are for the addresses of HONE_METRICS_ADDRESSES, and for whoever sends HONE_METRICS_TOKEN.\n",
            status=403,
            content_type="text/plain; charset=utf-8",
        )
    # A megabyte of memory that a site without Prometheus has no use for.
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE)


class _Collector:
    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        from config.monitoring import product_metrics

        latency = HistogramMetricFamily("hone_http_request_seconds", "Time of requests by view.", labels=["view"])
        requests = CounterMetricFamily(
            "hone_http_requests", "Requests by view and class of status.", labels=["view", "status"]
        )
        bounds = [*map(str, request_metrics.BUCKETS), "+Inf"]
        for row in request_metrics.by_view():
            latency.add_metric([row.view], list(zip(bounds, row.buckets, strict=True)), row.seconds)
            for status, number in row.statuses.items():
                requests.add_metric([row.view, status], number)
        yield latency
        yield requests
        described = {
            "claims": "Tasks given to labelers.",
            "submits": "Judgments that labelers submitted.",
            "gateway_requests": "Chat completions that programs asked the gateway for.",
            "gateway_failures": "Requests of the gateway that its models failed, or that were too many.",
            "gateway_kept": "Conversations that the gateway kept as prompts.",
            "gateway_feedback": "Feedback of users of the model.",
        }
        for name, number in request_metrics.events().items():
            yield CounterMetricFamily(f"hone_{name}", described[name], value=float(number))
        families = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}
        for kind, name, text, samples in product_metrics.families():
            labels = list(samples[0][0]) if samples else []
            family = families[kind](name, text, labels=labels)
            for values, sample in samples:
                family.add_metric(list(values.values()), sample)
            yield family


def _has_token(request: HttpRequest) -> bool:
    token = settings.HONE_METRICS_TOKEN
    scheme, _, given = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return bool(token) and scheme.lower() == "bearer" and constant_time_compare(given.strip(), token)


def _is_near(request: HttpRequest) -> bool:
    """Whether it comes from an allowed network. A request that a proxy has passed on, and that HONE_PROXIES doesn't
    account for, comes from nowhere that is known: its connection is the proxy's, which may well be this machine."""
    if any(name in request.META for name in FORWARDED):
        entries = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if not settings.HONE_PROXIES or parsed(entries[-min(settings.HONE_PROXIES, len(entries))]) is None:
            return False
    address = parsed(client_address(request))
    allowed = map(ipaddress.ip_network, settings.HONE_METRICS_ADDRESSES)
    return address is not None and any(address in network for network in allowed)
