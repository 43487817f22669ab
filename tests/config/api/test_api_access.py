"""Every route of the API as every role, as an outsider, without a token, and with a token of other scopes."""

import copy
import re
import uuid
from typing import Any

import pytest
from django.test import Client

from annotate.api.bearer import READS
from annotate.people import api_tokens
from annotate.people.permissions import ROLE_CAPABILITIES, Capability
from config.api.assembly import api
from config.api.reference import document, operations
from tests.annotate.people.test_record_access import database
from tests.databases.module_rows import db, module_rows
from tests.factories.cast import Cast, make_cast
from tests.factories.records import Records, make_records
from tests.harness.api_client import ROOT, ApiClient

__all__ = ["db", "module_rows"]

pytestmark = pytest.mark.any_database

V, L, R, S, E, T, M = (
    Capability[name] for name in ("VIEW", "LABEL", "REVIEW", "SEE_DATA", "EXPORT", "TRAIN", "MANAGE")
)
NEEDS: dict[tuple[str, str], Capability] = {
    ("GET", ""): V,
    ("GET", "/guidelines"): V,
    ("GET", "/figures"): S,
    ("GET", "/people"): M,
    ("GET", "/prompts"): S,
    ("GET", "/prompts/{prompt_id}"): S,
    ("GET", "/prompts/{prompt_id}/responses"): E,
    ("GET", "/responses"): E,
    ("GET", "/demonstrations"): E,
    ("GET", "/tasks"): M,
    ("GET", "/judgments"): E,
    ("POST", "/imports"): M,
    ("GET", "/imports/rejected/{name}"): M,
    ("GET", "/imports/{import_id}"): M,
    ("GET", "/snapshots"): E,
    ("POST", "/snapshots"): E,
    ("GET", "/snapshots/{snapshot_id}"): E,
    ("GET", "/snapshots/{snapshot_id}/files/{name}"): E,
    ("POST", "/work/next"): L,
    ("GET", "/work/{assignment_id}"): L,
    ("PUT", "/work/{assignment_id}/draft"): L,
    ("POST", "/work/{assignment_id}/submit"): L,
    ("POST", "/work/{assignment_id}/skip"): L,
    ("POST", "/work/{assignment_id}/undo"): L,
    ("GET", "/work/{assignment_id}/chat"): L,
    ("POST", "/work/{assignment_id}/chat"): L,
    ("GET", "/exam"): L,
    ("POST", "/exam/start"): L,
    ("PUT", "/exam/items/{answer_id}/draft"): L,
    ("POST", "/exam/items/{answer_id}/submit"): L,
    ("GET", "/adjudications"): R,
    ("GET", "/adjudications/waiting"): R,
    ("POST", "/adjudications/next"): R,
    ("POST", "/adjudications/tasks/{reviewed_task_id}/take"): R,
    ("GET", "/adjudications/{adjudication_id}"): R,
    ("GET", "/adjudications/{adjudication_id}/orders"): R,
    ("PUT", "/adjudications/{adjudication_id}/draft"): R,
    ("POST", "/adjudications/{adjudication_id}/submit"): R,
    ("POST", "/adjudications/{adjudication_id}/skip"): R,
    ("POST", "/adjudications/{adjudication_id}/undo"): R,
    ("POST", "/adjudications/judgments/{judgment_id}/set_aside"): R,
    ("GET", "/runs"): T,
    ("POST", "/runs"): T,
    ("GET", "/runs/{run_id}"): T,
    ("POST", "/runs/{run_id}/cancel"): T,
    ("GET", "/runs/{run_id}/metrics"): T,
    ("GET", "/models"): T,
    ("GET", "/models/{version_id}"): T,
    ("POST", "/models/{version_id}/benchmarks"): T,
    ("POST", "/gateway/deletions"): M,
}
WITHOUT_A_PROJECT = {("GET", "/me"), ("GET", "/projects")}
BODIES: dict[str, dict[str, Any]] = {
    "/imports": {"rows": [{"prompt": "What is a hen?"}], "dry_run": True},
    "/snapshots": {"kind": "prompts"},
    "/runs": {"stage": "nothing"},
    "/models/{version_id}/benchmarks": {"file": b"{}"},
    "/gateway/deletions": {"user": "ann", "dry_run": True},
    "/work/{assignment_id}/draft": {"comment": "mine"},
    "/work/{assignment_id}/submit": {"client_id": str(uuid.uuid4()), "all_unacceptable": True},
    "/work/{assignment_id}/skip": {"reason": "broken"},
    "/work/{assignment_id}/chat": {"action": "say", "after": 0, "text": "And soft?"},
    "/exam/items/{answer_id}/draft": {"all_unacceptable": True},
    "/exam/items/{answer_id}/submit": {"all_unacceptable": True},
    "/adjudications/{adjudication_id}/draft": {"comment": "mine"},
    "/adjudications/{adjudication_id}/submit": {"client_id": str(uuid.uuid4()), "all_unacceptable": True},
    "/adjudications/{adjudication_id}/skip": {"reason": "broken"},
}
ROLES = ("manager", "researcher", "reviewer", "labeler")
OWN = ("{assignment_id}", "{answer_id}", "{adjudication_id}")
BY_RULE = {"{prompt_id}", "{assignment_id}", "{snapshot_id}", "{run_id}", "{version_id}"}
World = tuple[Cast, Records, Records, dict[str, ApiClient]]


@pytest.fixture(scope="module")
def made(module_rows: None) -> World:
    """(people, a colleague's records, another project's records, a client of each person)."""
    cast = make_cast()
    mine = make_records(cast.project, cast.second_labeler, "OF-A-COLLEAGUE")
    elsewhere = make_records(cast.other_project, cast.outsider, "OF-ELSEWHERE")
    clients = {name: ApiClient(getattr(cast, name)) for name in (*ROLES, "second_labeler", "outsider")}
    return cast, mine, elsewhere, clients


@pytest.fixture
def world(db: None, made: World) -> World:
    cast, mine, elsewhere, clients = made
    return *copy.deepcopy((cast, mine, elsewhere)), clients


def address(path: str, records: Records, slug: str = "kindness") -> str:
    named = re.findall(r"{(\w+)}", path)
    for name in named:
        value = {"name": "x.jsonl", "import_id": "1"}.get(name) or str(records.named(name)[0])
        path = path.replace(f"{{{name}}}", value)
    return f"/projects/{slug}{path}"


def body_of(method: str, path: str) -> dict[str, Any] | None:
    return None if method == "GET" else BODIES.get(path)


def test_every_route_is_classified() -> None:
    stem = f"{ROOT}/projects/{{slug}}"
    found = {(method.upper(), path.removeprefix(stem)) for path, method, _said in operations(document())}
    assert found == set(NEEDS) | {(method, f"{ROOT}{path}") for method, path in WITHOUT_A_PROJECT}
    assert all(len(said["security"]) == 1 for _path, _method, said in operations(document()))
    names = [said["operationId"] for _path, _method, said in operations(document())]
    assert len(set(names)) == len(names)
    assert api.urls_namespace == "api"


@pytest.mark.parametrize(("method", "path"), sorted(NEEDS))
def test_who_is_let_in(world: World, method: str, path: str) -> None:
    _cast, mine, _elsewhere, clients = world
    needed, body = NEEDS[method, path], body_of(method, path)
    for role in ROLES:
        status, reply = clients[role].call(method, address(path, mine), body)
        if needed not in ROLE_CAPABILITIES[role] or any(name in path for name in OWN):
            # The second labeler's own tasks are theirs alone.
            assert status == 403, f"{role}: {status} {reply}"
            assert "OF-A-COLLEAGUE" not in str(reply)
        else:
            assert status in {200, 201, 202, 204, 400, 404, 409, 422}, f"{role}: {status} {reply}"
            assert (status == 404) == (path.endswith(("{name}", "{import_id}", "/exam/start"))), f"{role}: {reply}"
    assert clients["outsider"].call(method, address(path, mine), body)[0] == 404
    assert getattr(Client(), method.lower())(ROOT + address(path, mine)).status_code == 401


@pytest.mark.parametrize(("method", "path"), sorted(key for key in NEEDS if key[1].count("{")))
def test_another_projects_records_are_not_there(world: World, method: str, path: str) -> None:
    _cast, mine, elsewhere, clients = world
    for role in ("manager", "outsider"):
        clients[role].call("get", "/me")  # that a token is in use is noted
    before = database()
    for role in ("manager", "outsider"):
        status, reply = clients[role].call(method, address(path, elsewhere), body_of(method, path))
        empty = status == 200 and path.endswith("/responses") and reply["items"] == []
        assert status == 404 or empty, f"{role}: {status} {reply}"
    # The outsider manages the other project, and has their own there.
    assert clients["manager"].call(method, address(path, mine, "elsewhere"), body_of(method, path))[0] == 404
    assert database() == before


@pytest.mark.parametrize(("method", "path"), sorted(NEEDS))
def test_a_scope_that_is_missing_is_named(world: World, method: str, path: str) -> None:
    """The manager may do everything; a token may do what its scopes say."""
    cast, mine, _elsewhere, _clients = world
    needed = NEEDS[method, path]
    if needed != Capability.VIEW:
        scopes = [scope for scope in api_tokens.SCOPES if scope != needed]
        status, reply = ApiClient(cast.manager, *scopes).call(method, address(path, mine), body_of(method, path))
        assert (status, f"“{needed}”" in reply["detail"]) == (403, True)
    if method not in READS:
        scopes = [scope for scope in api_tokens.SCOPES if scope != "write"]
        status, reply = ApiClient(cast.manager, *scopes).call(method, address(path, mine), body_of(method, path))
        assert (status, "“write”" in reply["detail"]) == (403, True)


def test_reading_changes_nothing_but_when_a_token_was_used(world: World) -> None:
    _cast, mine, _elsewhere, clients = world
    clients["manager"].call("get", "/me")
    before = database()
    for method, path in NEEDS:
        if method == "GET":
            clients["manager"].call(method, address(path, mine))
    assert database() == before


def test_ones_own_task_is_there(world: World) -> None:
    _cast, mine, _elsewhere, clients = world
    client = clients["second_labeler"]
    for kind, assignment in mine.open.items():
        status, task = client.call("get", f"/projects/kindness/work/{assignment.pk}")
        assert (status, task["kind"], task["draft"]["comment"]) == (200, kind, ["OF-A-COLLEAGUE draft"])
