"""Two requests of one key at the same moment: one is done, and the other gets its reply or is told to wait."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from annotate.models import IdempotentRequest, Prompt, Snapshot
from tests.factories.cast import make_cast
from tests.harness.api_client import ApiClient

pytestmark = pytest.mark.both_databases
KEY = {"idempotency-key": "k"}
THREADS = 4


def at_once(client: ApiClient, path: str, body: dict[str, Any]) -> list[tuple[int, Any]]:
    barrier = Barrier(THREADS)

    def one(_number: int) -> tuple[int, Any]:
        try:
            barrier.wait(30)
            return client.call("post", f"/projects/kindness/{path}", body, **KEY)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


def test_an_export_is_asked_for_once(transactional_db: None) -> None:
    replies = at_once(ApiClient(make_cast().manager), "snapshots", {"kind": "prompts"})
    assert {status for status, _reply in replies} == {202}
    assert {reply["id"] for _status, reply in replies} == {Snapshot.objects.get().pk}
    assert IdempotentRequest.objects.count() == 1


def test_rows_are_imported_once(transactional_db: None) -> None:
    replies = at_once(ApiClient(make_cast().manager), "imports", {"rows": [{"prompt": "Once?"}]})
    statuses = [status for status, _reply in replies]
    assert set(statuses) <= {200, 409}
    done = [reply for status, reply in replies if status == 200]
    assert done
    assert all(reply == done[0] for reply in done), "later ones get the reply of the one that was done"
    assert done[0]["report"]["created"]["prompts"] == Prompt.objects.count() == 1
