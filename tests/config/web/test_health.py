"""/healthz and /readyz: what load balancers ask, and what people read when something is missing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone

from rlhf.models import WorkerHeartbeat


def hear_of_a_worker(seconds_ago: float = 0) -> None:
    WorkerHeartbeat.objects.create(
        name="cpu@here", queues=["cpu", "default"], seen_at=timezone.now() - timedelta(seconds=seconds_ago)
    )


def test_ready_when_every_part_works(db: None, client: Client, embedded_broker: Path) -> None:
    hear_of_a_worker(seconds_ago=3)
    reply = client.get("/readyz")
    assert reply.status_code == 200
    parts = reply.json()["parts"]
    # A busy machine may take a second or two to ask.
    assert re.fullmatch(r"ok: cpu, default; last heard of [3-9] s ago", parts.pop("workers"))
    assert parts == {"database": "ok", "migrations": "ok", "broker": "ok"}
    assert reply.json()["ready"] is True
    assert "no-store" in reply.headers["Cache-Control"]


def test_a_silent_worker_is_missed(db: None, client: Client, embedded_broker: Path) -> None:
    hear_of_a_worker(seconds_ago=300)
    reply = client.get("/readyz")
    assert reply.status_code == 503
    assert reply.json()["parts"]["workers"] == "no worker sent a heartbeat lately"


def test_a_broker_that_is_gone_is_named(db: None, client: Client, settings: object, tmp_path: Path) -> None:
    settings.CELERY_BROKER_URL = f"redis+socket://{tmp_path}/nobody.sock?virtual_host=1"  # type: ignore[attr-defined]
    reply = client.get("/readyz")
    assert (reply.status_code, reply.json()["parts"]["broker"]) == (503, "the broker doesn't respond")


def test_a_missing_migration_is_named(db: None, client: Client) -> None:
    ((app, newest),) = MigrationLoader(connection).graph.leaf_nodes("rlhf")
    MigrationRecorder(connection).record_unapplied(app, newest)
    reply = client.get("/readyz")
    assert reply.status_code == 503
    assert reply.json()["parts"]["migrations"] == "1 migrations are missing: run manage.py migrate"


def test_a_load_balancer_leaves_parts_out(db: None, client: Client) -> None:
    reply = client.get("/readyz?exclude=broker&exclude=workers")
    assert (reply.status_code, reply.json()) == (200, {"ready": True, "parts": {"database": "ok", "migrations": "ok"}})


def test_a_part_that_there_is_not_is_refused(db: None, client: Client) -> None:
    reply = client.get("/readyz?exclude=workers&exclude=worker")
    assert reply.status_code == 400
    assert reply.json() == {"problem": "exclude names one of database, migrations, broker, workers."}


@contextmanager
def broken_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*arguments: object) -> None:
        raise connection.Database.OperationalError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", refuse)
        yield


def test_without_a_database_the_process_is_alive_but_not_ready(
    db: None, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with broken_database(monkeypatch):
        assert client.get("/healthz").status_code == 200
        reply = client.get("/readyz")
    assert reply.status_code == 503
    assert reply.json()["parts"]["database"] == "the database doesn't respond"
    assert "disk" not in reply.content.decode()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_only_read(db: None, client: Client, path: str) -> None:
    assert client.post(path).status_code == 405
