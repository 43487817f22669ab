"""Data by the API: read page by page, imported with idempotency keys, exported and downloaded."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from annotate.data import snapshots, uploads
from annotate.labeling import queue
from annotate.models import (
    Assignment,
    AuditEvent,
    IdempotentRequest,
    Project,
    Prompt,
    Response,
    Snapshot,
    Task,
    Upload,
    User,
)
from tests.factories.cast import Cast, judge, make_comparison, response_ids
from tests.harness.api_client import ROOT, ApiClient

PROJECT = "/projects/kindness"
ROWS = [
    {"prompt": "What is a hen?", "id": "a"},
    {"prompt": "What is a cock?", "responses": [{"text": "A bird."}, {"text": "No hen."}], "id": "b"},
    {"prompt": "What is an egg?", "response": "Food.", "id": "c"},
]


@pytest.fixture
def manager(cast: Cast) -> ApiClient:
    return ApiClient(cast.manager)


def claim(project: Project, labeler: User) -> Assignment:
    found = queue.claim_next(labeler=labeler, project=project)
    assert found is not None
    return found


def all_pages(client: ApiClient, path: str, limit: int) -> list[list[Any]]:
    pages, cursor = [], ""
    while True:
        status, reply = client.call("get", f"{path}?limit={limit}&cursor={cursor}")
        assert status == 200
        pages.append([item["id"] for item in reply["items"]])
        if (cursor := reply["next"]) is None:
            return pages


def test_what_was_not_taken_or_kept_is_told(manager: ApiClient, cast: Cast, settings: Any, tmp_path: Any) -> None:
    settings.HONE_DATA = tmp_path
    rows = [{"ask": "Why?", "say": "So.", "mood": "fine"}, {"ask": "How?", "say": "So.", "score": "high"}]
    body = {"rows": rows, "columns": {"prompt": "ask", "response": "say"}}
    status, reply = manager.call("post", f"{PROJECT}/imports", body)
    report = reply["report"]
    assert (status, report["created"]["demonstrations"], report["rejected_rows"]) == (200, 1, 1)
    assert report["not_kept"] == [{"key": "mood", "reason": "", "rows": 1}]
    address = f"{ROOT}{PROJECT}/imports/rejected/{report['rejected']}"
    (line,) = b"".join(manager.get(address).streaming_content).splitlines()
    said = {"place": "line 2", "reason": "its rating is no number"}
    left = {"prompt": "How?", "response": "So.", "score": "high"}
    assert json.loads(line) == said | {"row": left}
    assert ApiClient(cast.labeler).get(address).status_code == 403
    assert manager.get(f"{ROOT}{PROJECT}/imports/rejected/{'0' * 32}.jsonl").status_code == 404


@pytest.mark.parametrize(("body", "said"), [(b"\xff\xfe{", "it isn’t UTF-8"), (b"\xef\xbb\xbf{}", "byte order mark")])
def test_a_body_of_another_encoding_is_named(manager: ApiClient, body: bytes, said: str) -> None:
    reply = manager.post(f"{ROOT}{PROJECT}/imports", body, content_type="application/json")
    assert (reply.status_code, said in reply.json()["detail"]) == (400, True)


def test_rows_come_in_once(manager: ApiClient, cast: Cast) -> None:
    key = {"idempotency-key": "first-batch"}
    status, reply = manager.call("post", f"{PROJECT}/imports", {"rows": ROWS}, **key)
    assert (status, reply["state"], reply["id"]) == (200, "done", None)
    made_of_each = {name: number for name, number in reply["report"]["created"].items() if number}
    assert made_of_each == {"prompts": 3, "demonstrations": 1, "tasks": 1}
    made = set(Prompt.objects.values_list("pk", flat=True))
    Prompt.objects.filter(external_id="a").update(messages=[{"role": "user", "content": "Changed?"}], content_hash="x")
    again = manager.post(f"{ROOT}{PROJECT}/imports", {"rows": ROWS}, content_type="application/json", headers=key)
    assert (again.status_code, again.json(), again["Idempotency-Replayed"]) == (200, reply, "true")
    assert set(Prompt.objects.values_list("pk", flat=True)) == made, "nothing was imported again"
    status, refused = manager.call("post", f"{PROJECT}/imports", {"rows": ROWS[:1]}, **key)
    assert (status, "another request" in refused["detail"]) == (422, True)
    assert manager.call("post", f"{PROJECT}/imports", {"rows": ROWS}, **{"idempotency-key": "ü"})[0] == 400
    other = ApiClient(cast.admin)
    assert other.call("post", f"{PROJECT}/imports", {"rows": ROWS[:1]}, **key)[0] == 200, "a key is its person's own"
    assert AuditEvent.objects.filter(verb="data.imported", actor=cast.manager).count() == 1


def test_a_key_is_kept_for_a_day(manager: ApiClient) -> None:
    key = {"idempotency-key": "k"}
    assert manager.call("post", f"{PROJECT}/imports", {"rows": ROWS[:1]}, **key)[0] == 200
    IdempotentRequest.objects.update(created_at=timezone.now() - timedelta(days=1, seconds=1))
    status, reply = manager.call("post", f"{PROJECT}/imports", {"rows": ROWS[1:]}, **key)
    assert (status, reply["report"]["read"]) == (200, 2)
    assert IdempotentRequest.objects.count() == 1


def test_a_request_under_way_and_one_that_died(manager: ApiClient) -> None:
    key = {"idempotency-key": "k"}
    assert manager.call("post", f"{PROJECT}/imports", {"rows": ROWS}, **key)[0] == 200
    IdempotentRequest.objects.update(status=None, reply=None)
    status, reply = manager.call("post", f"{PROJECT}/imports", {"rows": ROWS}, **key)
    assert (status, "still being worked on" in reply["detail"]) == (409, True)
    IdempotentRequest.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    status, reply = manager.call("post", f"{PROJECT}/imports", {"rows": ROWS}, **key)
    assert (status, reply["report"]["duplicates"]) == (200, 3)


def test_broken_rows_bring_nothing_and_may_be_sent_again(manager: ApiClient) -> None:
    key = {"idempotency-key": "k"}
    status, reply = manager.call("post", f"{PROJECT}/imports", {"rows": [ROWS[0], {"prompt": 1}]}, **key)
    assert status == 422
    assert [error["field"] for error in reply["errors"]] == ["rows"]
    assert "line 2" in reply["errors"][0]["reason"]
    assert not Prompt.objects.exists()
    assert manager.call("post", f"{PROJECT}/imports", {"rows": ROWS}, **key)[0] == 200


def test_a_dry_run_writes_nothing(manager: ApiClient) -> None:
    status, reply = manager.call("post", f"{PROJECT}/imports", {"rows": ROWS, "dry_run": True})
    assert (status, reply["report"]["read"]) == (200, 3)
    assert not Prompt.objects.exists()


def test_many_rows_are_imported_by_a_job(manager: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "IN_REQUEST_BYTES", 50)
    status, reply = manager.call("post", f"{PROJECT}/imports", {"rows": ROWS})
    assert (status, reply["state"], reply["report"]) == (202, "waiting", None)
    uploads.run(reply["id"])
    status, reply = manager.call("get", f"{PROJECT}/imports/{reply['id']}")
    assert (reply["state"], reply["report"]["created"]["prompts"]) == ("done", 3)
    assert Upload.objects.get().file_name == "api.jsonl"


def test_lists_come_in_pages_newest_first(manager: ApiClient, cast: Cast) -> None:
    for number in range(5):
        make_comparison(cast.project, f"Question {number}?")
    numbers = list(Prompt.objects.order_by("-pk").values_list("pk", flat=True))
    assert all_pages(manager, f"{PROJECT}/prompts", 2) == [numbers[:2], numbers[2:4], numbers[4:]]
    assert all_pages(manager, f"{PROJECT}/prompts", 5) == [numbers]
    tasks = list(Task.objects.order_by("-pk").values_list("pk", flat=True))
    assert all_pages(manager, f"{PROJECT}/tasks", 3) == [tasks[:3], tasks[3:]]
    assert sum(map(len, all_pages(manager, f"{PROJECT}/responses", 7))) == Response.objects.count() == 20
    for wrong in ("limit=0", "limit=201", "cursor=-1", "cursor=x", "cursor=" + "9" * 19, "split=no", "kind=%00"):
        assert manager.call("get", f"{PROJECT}/prompts?{wrong}")[0] == 422, wrong
    splits = {prompt.split for prompt in Prompt.objects.all()}
    found = [manager.call("get", f"{PROJECT}/prompts?split={split}")[1]["items"] for split in splits]
    assert sum(map(len, found)) == 5


def test_a_judgment_as_it_was_last_revised(manager: ApiClient, cast: Cast) -> None:
    task = make_comparison(cast.project)
    assignment = claim(cast.project, cast.labeler)
    order = [[number] for number in response_ids(task)]
    judge(assignment, order[::-1])
    judge(assignment, order, comment="on second thought")
    _status, reply = manager.call("get", f"{PROJECT}/judgments")
    (judgment,) = reply["items"]
    assert (judgment["tiers"], judgment["revision"], judgment["comment"]) == (order, 2, "on second thought")
    assert judgment["labeler"] == cast.project.pseudonym(cast.labeler.pk)
    _status, reply = manager.call("get", f"{PROJECT}/tasks")
    assert reply["items"][0]["responses"] == response_ids(task)
    _status, reply = manager.call("get", f"{PROJECT}/figures")
    assert (reply["judgments"], reply["prompts"]) == (1, 1)
    _status, people = manager.call("get", f"{PROJECT}/people")
    assert {(person["username"], person["role"]) for person in people["items"]} >= {("labeler", "labeler")}


def test_an_export_is_asked_for_once_and_downloaded(manager: ApiClient, cast: Cast) -> None:
    make_comparison(cast.project)
    key = {"idempotency-key": "e"}
    wanted = {"kind": "prompts", "filters": {"splits": ["train", "validation", "test"]}}
    status, asked = manager.call("post", f"{PROJECT}/snapshots", wanted, **key)
    assert (status, asked["state"], asked["files"]) == (202, "pending", [])
    assert manager.call("post", f"{PROJECT}/snapshots", wanted, **key) == (202, asked)
    assert Snapshot.objects.count() == 1
    path = f"{PROJECT}/snapshots/{asked['id']}"
    snapshots.build(asked["id"])
    _status, ready = manager.call("get", path)
    assert (ready["state"], ready["rows"]) == ("ready", 1)
    texts = [
        b"".join(manager.get(f"{ROOT}{path}/files/{file['name']}")).decode()
        for file in ready["files"]
        if file["name"].endswith(".jsonl")
    ]
    assert "How do I boil an egg?" in "".join(texts)
    assert manager.call("get", f"{path}/files/hone.sqlite3")[0] == 404
    Snapshot.objects.filter(pk=asked["id"]).update(state="failed")
    assert manager.call("get", f"{path}/files/{ready['files'][0]['name']}")[0] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "prompts", "format": "nothing"}, 422),
        ({"kind": "no"}, 422),
        ({"kind": "prompts", "aggregation": "weighted"}, 400),
        ({"kind": "prompts", "filters": {"nonsense": 1}}, 400),
        ({"kind": "prompts", "filters": {"splits": [{}]}}, 400),
        ({"kind": "prompts", "filters": {"after": "x"}}, 400),
        ({"kind": "prompts", "filters": {"agreement": 10**400}}, 400),
    ],
)
def test_an_export_that_can_not_be(manager: ApiClient, body: dict[str, Any], status: int) -> None:
    found, reply = manager.call("post", f"{PROJECT}/snapshots", body, **{"idempotency-key": "k"})
    assert found == status, reply
    assert not Snapshot.objects.exists()
    assert not IdempotentRequest.objects.exists()
