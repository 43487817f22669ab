"""A short run of what `python -m tests.fuzz.api_requests` does at length: requests that schemathesis makes of the
OpenAPI document, of which none fails and whose replies are as the document says."""

from collections.abc import Iterator

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from annotate.people import api_tokens
from config.api.reference import document
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
