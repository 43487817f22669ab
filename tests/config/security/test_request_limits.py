"""How large a request may be, and how many costly ones a person may send: refused before a body is read."""

import io

from django.test import Client, RequestFactory

from annotate.forms.data_files import LARGEST_UPLOAD
from config.security import request_limits
from config.security.request_limits import RequestLimitsMiddleware
from tests.factories.cast import Cast


class Unread:
    """A body that fails the test when anybody reads it."""

    def read(self, *args: object) -> bytes:
        raise AssertionError("the body was read")

    readline = read


def post(client: Client, path: str, length: str, **headers: str) -> int:
    kind = headers.pop("CONTENT_TYPE", "multipart/form-data; boundary=x")
    return client.generic(
        "POST", path, b"", kind, CONTENT_LENGTH=length, **{"wsgi.input": Unread()}, **headers
    ).status_code


def test_a_stranger_sends_no_more_than_a_form(db: None, client: Client) -> None:
    assert post(client, "/accounts/login/", str(600 * 2**20)) == 413
    assert post(client, "/accounts/login/", str(64 * 2**10 + 1)) == 413
    assert post(client, "/no/such/page", str(2**30)) == 413
    assert post(client, "/accounts/login/", "-1") == 411
    assert post(client, "/accounts/login/", "", HTTP_TRANSFER_ENCODING="chunked") == 411
    form = {"login": "ann", "password": "x", "padding": "x" * 60_000}
    assert client.post("/accounts/login/", form).status_code == 200


def test_files_come_to_the_page_that_takes_them(cast: Cast, client: Client) -> None:
    client.force_login(cast.manager)
    page = f"/p/{cast.project.slug}/prompts/import"
    assert post(client, page, str(LARGEST_UPLOAD + 2**20 + 1)) == 413
    assert post(client, f"/p/{cast.project.slug}/settings/", str(8 * 2**20 + 1)) == 413
    assert client.post(page, {"file": io.BytesIO(b"x" * 2**20)}).status_code != 413
    assert post(Client(), page, str(LARGEST_UPLOAD)) == 413
    measured = f"/p/{cast.project.slug}/models/1/measure"
    assert post(client, measured, str(65 * 2**20 + 1)) == 413
    assert client.post(measured, {"file": io.BytesIO(b"x" * (9 * 2**20))}).status_code == 404  # there is no such model


def test_costly_requests_are_counted_for_each_person(cast: Cast, client: Client) -> None:
    client.force_login(cast.labeler)
    page = f"/p/{cast.project.slug}/work/preview"
    limit = request_limits.COSTLY["annotate:preview"]
    replies = [client.post(page, {"text": "a"}).status_code for _ in range(limit.burst + 5)]
    assert replies[: limit.burst] == [200] * limit.burst
    refused = client.post(page, {"text": "a"}, HTTP_HX_REQUEST="true")
    while refused.status_code == 200:  # a slow machine, on which there is room again
        refused = client.post(page, {"text": "a"}, HTTP_HX_REQUEST="true")
    assert (refused.status_code, refused["Retry-After"]) == (429, "1")
    assert refused.content.decode() == (
        "You did this many times in a short while. Nothing was changed; do it again in 1 s."
    )
    client.force_login(cast.second_labeler)
    assert client.post(page, {"text": "a"}).status_code == 200


def test_every_limited_page_exists() -> None:
    from django.urls import get_resolver

    known = set()

    def collect(resolver: object, space: str = "") -> None:
        for pattern in resolver.url_patterns:  # type: ignore[attr-defined]
            if hasattr(pattern, "url_patterns"):
                inner = f"{pattern.namespace}:" if pattern.namespace else space
                collect(pattern, inner)
            elif pattern.name:
                known.add(space + pattern.name)

    collect(get_resolver())
    assert set(request_limits.COSTLY) | set(request_limits.UPLOADS) <= known


def test_people_are_forgotten_in_memory() -> None:
    buckets = request_limits.MemoryBuckets(most=100)
    limit = request_limits.Limit(burst=2, interval=60)
    for number in range(1000):
        assert buckets.take("page", str(number), limit) == 0
    assert len(buckets._drained_at) == 100
    assert [buckets.take("page", "999", limit) == 0 for _ in range(3)] == [True, False, False]


def test_reading_a_page_is_not_looked_at() -> None:
    seen = []
    RequestLimitsMiddleware(lambda request: seen.append(request) or request)(RequestFactory().get("/"))  # type: ignore[func-returns-value,arg-type,return-value]
    assert len(seen) == 1
