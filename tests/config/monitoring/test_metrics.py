"""/metrics: what it says, to whom, at what cost, and that the dashboard asks for what there is."""

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from annotate.labeling import queue
from annotate.models import Assignment, ProjectFigures, Task
from annotate.quality import project_figures
from config.monitoring import request_metrics
from rlhf.models import TrainingRun, WorkerHeartbeat
from tests.factories.cast import Cast, make_comparison

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(client: Client) -> Values:
    reply = client.get("/metrics")
    assert reply.status_code == 200
    assert reply["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.content.decode())
        for sample in family.samples
    }


def of(values: Values, name: str, **labels: str) -> float:
    return values[name, tuple(sorted(labels.items()))]


@pytest.fixture
def busy_site(cast: Cast, django_capture_on_commit_callbacks: Any) -> Cast:
    """Three tasks, of which one is leased; runs; a worker."""
    for number in range(3):
        make_comparison(cast.project, f"Question {number}?")
    Task.objects.update(created_at=timezone.now() - timedelta(minutes=10))
    with django_capture_on_commit_callbacks(execute=True):
        queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    TrainingRun.objects.create(project=cast.project, stage="sft", queue="cpu")
    TrainingRun.objects.create(project=cast.project, stage="sft", status=TrainingRun.Status.FAILED)
    TrainingRun.objects.update(queued_at=timezone.now() - timedelta(seconds=90))
    WorkerHeartbeat.objects.create(name="cpu@here", queues=["cpu"], seen_at=timezone.now() - timedelta(seconds=30))
    return cast


def test_queue_runs_workers_and_disk(client: Client, busy_site: Cast) -> None:
    values = read(client)
    project = busy_site.project.slug
    assert of(values, "hone_queue_open_tasks", project=project) == 3
    assert of(values, "hone_queue_judgments_wanted", project=project) == 3
    assert 600 <= of(values, "hone_queue_oldest_task_age_seconds", project=project) < 660
    assert of(values, "hone_queue_open_tasks", project=busy_site.other_project.slug) == 0
    assert of(values, "hone_runs", status="queued") == of(values, "hone_runs", status="failed") == 1
    assert of(values, "hone_runs", status="running") == 0
    assert 90 <= of(values, "hone_oldest_queued_run_age_seconds", queue="cpu") < 150
    assert 30 <= of(values, "hone_worker_heartbeat_age_seconds", worker="cpu@here") < 90
    assert of(values, "hone_disk_size_bytes") == shutil.disk_usage(django_settings.HONE_DATA).total
    assert 0 < of(values, "hone_disk_free_bytes") < of(values, "hone_disk_size_bytes")


def test_claims_submits_and_expiries_are_counted(
    client: Client, cast: Cast, django_capture_on_commit_callbacks: Any
) -> None:
    before = read(client)
    make_comparison(cast.project)
    with django_capture_on_commit_callbacks(execute=True):
        assignment = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
        assert assignment is not None
    Assignment.objects.update(lease_until=timezone.now() - timedelta(minutes=1))
    queue.release_expired()
    with django_capture_on_commit_callbacks(execute=True):
        submission = queue.Submission(client_id=uuid.uuid4(), tiers=[[one] for one in assignment.presentation])
        queue.submit(assignment_id=assignment.pk, labeler=cast.labeler, submission=submission)
        # Sent twice by a browser that got no reply: one submit.
        queue.submit(assignment_id=assignment.pk, labeler=cast.labeler, submission=submission)
    after = read(client)
    for name in ("hone_claims_total", "hone_submits_total", "hone_lease_expiries_total"):
        assert of(after, name) - of(before, name) == 1, name


def test_a_large_project_is_never_counted_for_the_page(
    client: Client, busy_site: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its job has counted it, it is left out; then the job's figures are shown."""
    monkeypatch.setattr(project_figures, "SMALL", 2)
    monkeypatch.setattr("config.monitoring.product_metrics.SMALL", 2)
    open_tasks = ("hone_queue_open_tasks", (("project", busy_site.project.slug),))
    assert open_tasks not in read(client)
    assert project_figures.refresh_due() == 1
    make_comparison(busy_site.project, "A fourth question?")
    values = read(client)
    assert values[open_tasks] == 3
    assert 600 <= of(values, "hone_queue_oldest_task_age_seconds", project=busy_site.project.slug) < 660


def test_the_page_asks_the_same_of_any_number_of_projects(client: Client, busy_site: Cast) -> None:
    with CaptureQueriesContext(
        connection,
    ) as few:
        read(client)
    ProjectFigures.objects.create(project=busy_site.other_project, computed_at=timezone.now())
    with CaptureQueriesContext(connection) as more:
        read(client)
    assert len(more) <= len(few) <= 10


def test_requests_by_view(client: Client, cast: Cast) -> None:
    before = read(client)
    client.force_login(cast.labeler)
    client.get("/")
    for number in range(3):
        client.get(f"/no/such/page/{number}")
    client.get("/admin/annotate/project/")
    after = read(client)

    def more(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0)

    assert more("hone_http_requests_total", view="annotate:home", status="2xx") == 1
    assert more("hone_http_requests_total", view="unmatched", status="4xx") == 3
    assert more("hone_http_requests_total", view="admin", status="3xx") == 1
    assert more("hone_http_request_seconds_count", view="annotate:home") == 1
    assert more("hone_http_request_seconds_bucket", view="annotate:home", le="+Inf") == 1
    assert 0 < more("hone_http_request_seconds_sum", view="annotate:home") < 60
    views = {dict(labels)["view"] for name, labels in after if name == "hone_http_requests_total"}
    assert views <= set(request_metrics.view_names())
    assert len(request_metrics.view_names()) < request_metrics.MOST_VIEWS


def test_buckets_are_cumulative_and_bounds_belong_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_metrics, "_slot", request_metrics.MOST_PROCESSES - 2)
    earlier = next((row.buckets for row in request_metrics.by_view() if row.view == "metrics"), [0] * 12)
    for seconds in (0.01, 0.011, 0.3, 60.0):
        request_metrics.observe(view="metrics", status=200, seconds=seconds)
    (row,) = [row for row in request_metrics.by_view() if row.view == "metrics"]
    assert [new - old for new, old in zip(row.buckets, earlier, strict=True)] == [1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4]


def test_processes_share_the_counts(db: None, client: Client) -> None:
    """As gunicorn's: forked, each with a slot; one that takes over a slot goes on counting there."""
    before = of(read(client), "hone_claims_total")
    for slot in (1, 2, 1):
        if not (child := os.fork()):
            request_metrics.use_slot(slot)
            request_metrics.count("claims")
            os._exit(0)
        os.waitpid(child, 0)
    assert of(read(client), "hone_claims_total") == before + 3
    assert request_metrics.free_slot([0, 1, 3]) == 2
    assert request_metrics.free_slot(range(16)) == 15


TOKEN = "t" * 32


@pytest.mark.parametrize(
    ("address", "proxies", "headers", "status"),
    [
        ("127.0.0.1", 0, {}, 200),
        ("::1", 0, {}, 200),
        ("10.1.2.3", 0, {}, 403),
        ("192.0.2.7", 0, {}, 200),
        # Through a proxy of this machine that HONE_PROXIES doesn't know.
        ("127.0.0.1", 0, {"X-Forwarded-For": "203.0.113.9"}, 403),
        ("127.0.0.1", 0, {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", 0, {"Forwarded": "for=203.0.113.9"}, 403),
        ("127.0.0.1", 1, {"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}, 403),
        ("127.0.0.1", 1, {"X-Forwarded-For": "unknown"}, 403),
        ("127.0.0.1", 1, {"X-Real-IP": "203.0.113.9"}, 403),
        ("10.0.0.2", 1, {"X-Forwarded-For": "192.0.2.7"}, 200),
        ("10.1.2.3", 0, {"Authorization": f"Bearer {TOKEN}"}, 200),
        ("10.1.2.3", 0, {"Authorization": f"Basic {TOKEN}"}, 403),
        ("10.1.2.3", 0, {"Authorization": "Bearer"}, 403),
        ("10.1.2.3", 0, {"Authorization": "Bearer é"}, 403),
    ],
)
def test_who_gets_in(
    db: None, client: Client, settings: Any, address: str, proxies: int, headers: dict[str, str], status: int
) -> None:
    settings.HONE_METRICS_ADDRESSES = ["127.0.0.0/8", "::1/128", "192.0.2.0/24"]
    settings.HONE_METRICS_TOKEN, settings.HONE_PROXIES = TOKEN, proxies
    # A scraper calls the process by an address that is in no list of hosts.
    reply = client.get("/metrics", REMOTE_ADDR=address, HTTP_HOST="10.9.9.9:8000", headers=headers)
    assert reply.status_code == status
    assert (b"hone_runs" in reply.content) is (status == 200)


def test_without_a_token_no_token_opens_it(db: None, client: Client, settings: Any) -> None:
    settings.HONE_METRICS_TOKEN = ""
    for given in ("Bearer ", "Bearer None", f"Bearer {TOKEN}"):
        assert client.get("/metrics", REMOTE_ADDR="10.1.2.3", headers={"Authorization": given}).status_code == 403


def test_an_administrator_gets_in_no_other_way(client: Client, cast: Cast) -> None:
    client.force_login(cast.admin)
    assert client.get("/metrics", REMOTE_ADDR="10.1.2.3").status_code == 403
    assert client.post("/metrics").status_code == 405


# --- the dashboard ---


def queries() -> Iterator[tuple[str, str]]:
    path = Path(django_settings.BASE_DIR) / "docker" / "grafana.json"
    for panel in json.loads(path.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_every_query_of_the_dashboard_asks_for_what_there_is(client: Client, busy_site: Cast) -> None:
    client.get("/")
    values = read(client)
    labels_of: dict[str, set[str]] = {}
    for name, labels in values:
        labels_of.setdefault(name, set()).update(label for label, _value in labels)
    asked = set()
    for title, query in queries():
        names = re.findall(r"\bhone_\w+", query)
        assert names, title
        asked |= set(names)
        for name in names:
            assert name in labels_of, f"{title}: {name}"
        known = set.union(*(labels_of[name] for name in names))
        grouped = [label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")]
        selected = re.findall(r"[{,]\s*(\w+)\s*[=!]~?", query)
        assert set(grouped + selected) <= known, title
        for label, value in re.findall(r'(\w+)="([^"]*)"', query):
            possible = request_metrics.view_names() if label == "view" else request_metrics.STATUSES
            assert value in possible, title
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in labels_of}
    unasked = families - {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert unasked == set(), "a metric that no panel shows"
