"""A short run of what `python -m tests.fuzz.api_requests` does at length: requests that schemathesis makes of the
OpenAPI document, of which none fails and whose replies are as the document says."""

from collections.abc import Iterator

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from ninja.constants import NOT_SET
from ninja.openapi.schema import REF_TEMPLATE
from ninja.schema import NinjaGenerateJsonSchema

from annotate.models import Prompt, Snapshot, Task
from annotate.people import api_tokens
from config.api.assembly import api
from config.api.reference import document
from rlhf.models import ModelVersion
from tests.factories.cast import make_cast
from tests.factories.records import make_records
from tests.fuzz import api_requests

REQUESTS = 62


@pytest.fixture
def one_connection(db: None) -> Iterator[None]:
    """As Django's test client has it: the end of a request doesn't close the connection of the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_no_request_of_the_document_fails(one_connection: None) -> None:
    cast = make_cast()
    records = make_records(cast.project, cast.admin, "OWN")
    _token, secret = api_tokens.make(user=cast.admin, name="fuzz", scopes=api_tokens.SCOPES, days=7)
    made = api_requests.Requests(secret=secret, known=api_requests.known_values(records), seed=1)
    for _ in api_requests.without_limits():
        made.make(REQUESTS)
    assert made.failures == []
    assert made.statuses.total() >= len([1 for item in document()["paths"].values() for _method in item])
    assert {200, 404} <= set(made.statuses)


def test_every_enumeration_has_its_own_values() -> None:
    """Prompt.Kind, Task.Kind, Snapshot.Kind and ModelVersion.Kind are different enumerations of one name."""
    paths = {path.removeprefix("/api/v1/projects/{slug}"): item for path, item in document()["paths"].items()}

    def values(path: str, name: str) -> list[str]:
        (parameter,) = [each for each in paths[path]["get"]["parameters"] if each["name"] == name]
        found: list[str] = parameter["schema"]["anyOf"][0]["enum"]
        return found

    assert values("/prompts", "kind") == Prompt.Kind.values
    assert values("/tasks", "kind") == Task.Kind.values
    assert values("/tasks", "state") == Task.State.values
    assert values("/models", "kind") == ModelVersion.Kind.values
    assert document()["components"]["schemas"]["SnapshotIn"]["properties"]["kind"]["enum"] == Snapshot.Kind.values


def test_no_two_schemas_share_a_name() -> None:
    """Of two such, ninja keeps one."""
    components = document()["components"]["schemas"]
    for router in api._get_bound_routers():
        for view in router.path_operations.values():
            for operation in view.operations:
                models = [(model, "validation") for model in operation.models]
                models += [
                    (model, "serialization")
                    for model in operation.response_models.values()
                    if model not in (None, NOT_SET)
                ]
                for model, mode in models:
                    schema = model.model_json_schema(
                        mode=mode, ref_template=REF_TEMPLATE, schema_generator=NinjaGenerateJsonSchema
                    )
                    for name, definition in schema.get("$defs", {}).items():
                        assert components[name] == definition, (view, name)
