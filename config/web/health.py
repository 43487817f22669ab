"""Liveness and readiness for load balancers."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu import Connection

from rlhf.models import WorkerHeartbeat

WORKER_SILENCE = timedelta(seconds=60)
"""A worker without a heartbeat for so long counts as dead."""
BROKER_SECONDS = 2


class NotReady(Exception):
    """What is missing, in a few words that may be read by anybody."""


@require_safe
@never_cache
def alive(request: HttpRequest) -> HttpResponse:
    """Liveness. Checks nothing else, so that a database's failure doesn't get the process killed."""
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8")


@require_safe
@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """Readiness: 200 if every part works, else 503, with the state of each part.

    `?exclude=workers` leaves a part out: a load balancer that asked for all of them would take the pages away from
    people because a worker is missing.
    """
    parts: dict[str, str] = {}
    failed = False
    excluded = set(request.GET.getlist("exclude"))
    if excluded - CHECKS.keys():
        return JsonResponse({"problem": f"exclude names one of {', '.join(CHECKS)}."}, status=400)
    for name, check in CHECKS.items():
        if name in excluded:
            continue
        try:
            parts[name] = check()
        except NotReady as error:
            parts[name], failed = str(error), True
    return JsonResponse({"ready": not failed, "parts": parts}, status=503 if failed else 200)


def database() -> str:
    try:
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception:
        raise NotReady("the database doesn't respond") from None
    return "ok"


def migrations() -> str:
    try:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except Exception:
        raise NotReady("the database doesn't respond") from None
    if missing:
        raise NotReady(f"{missing} migrations are missing: run manage.py migrate")
    return "ok"


def broker() -> str:
    try:
        with Connection(
            settings.CELERY_BROKER_URL, connect_timeout=BROKER_SECONDS, transport_options=BROKER_OPTIONS
        ) as connection:
            connection.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
            connection.default_channel.client.ping()
    except Exception:
        raise NotReady("the broker doesn't respond") from None
    return "ok"


def workers() -> str:
    """The queues that live workers consume, with the age of the newest heartbeat."""
    try:
        now = timezone.now()
        heard = list(WorkerHeartbeat.objects.filter(seen_at__gte=now - WORKER_SILENCE))
    except Exception:
        raise NotReady("the database doesn't respond") from None
    if not heard:
        raise NotReady("no worker sent a heartbeat lately")
    age = max(0, round((now - max(beat.seen_at for beat in heard)).total_seconds()))
    queues = sorted({queue for beat in heard for queue in beat.queues})
    return f"ok: {', '.join(queues)}; last heard of {age} s ago"


BROKER_OPTIONS = {"socket_timeout": BROKER_SECONDS, "socket_connect_timeout": BROKER_SECONDS}
CHECKS: dict[str, Callable[[], str]] = {
    "database": database,
    "migrations": migrations,
    "broker": broker,
    "workers": workers,
}
