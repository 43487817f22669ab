"""Tokens of the API: shown once, stored hashed, ended by their owner, an administrator, time, and a closed account."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from django.utils import timezone

from annotate.errors import NotYours, Refused
from annotate.models import ApiToken, AuditEvent
from annotate.people import api_tokens
from config.models import OpenSession
from tests.factories.cast import Cast
from tests.harness.api_client import ApiClient


@pytest.fixture
def page(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.researcher)
    return client


def test_a_token_is_shown_once_and_works(cast: Cast, page: Client) -> None:
    shown = page.post("/account/tokens/", {"name": "notebook", "scopes": ["see_data"], "days": "30"})
    assert shown.status_code == 200
    assert "no-store" in shown["Cache-Control"]
    secret = shown.context["secret"]
    assert api_tokens.SHAPE.fullmatch(secret)
    assert secret in shown.content.decode()
    assert secret not in page.get("/account/tokens/").content.decode()
    token = ApiToken.objects.get()
    assert secret not in repr(ApiToken.objects.values())
    assert (token.name, token.scopes, token.hint) == ("notebook", ["see_data"], secret[:9])
    me = Client(headers={"authorization": f"Bearer {secret}"}).get("/api/v1/me").json()
    assert (me["username"], me["token"]["scopes"]) == ("researcher", ["see_data"])
    event = AuditEvent.objects.get(verb="token.created")
    assert event.actor == cast.researcher
    assert event.detail == {"hint": secret[:9], "scopes": ["see_data"], "days": 30}


@pytest.mark.parametrize(
    "form",
    [
        {"name": " ", "scopes": ["label"], "days": "30"},
        {"name": "x", "days": "30"},
        {"name": "x", "scopes": ["root"], "days": "30"},
        {"name": "x", "scopes": ["label"], "days": "3650"},
        {"name": "\0", "scopes": ["label"], "days": "30"},
    ],
)
def test_what_no_form_sends_makes_no_token(page: Client, form: dict[str, object]) -> None:
    assert page.post("/account/tokens/", form).status_code == 400
    assert not ApiToken.objects.exists()


def test_a_person_has_so_many_tokens_at_most(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_tokens, "MOST_OPEN", 1)
    first = ApiClient(cast.labeler, "label")
    with pytest.raises(Refused, match="1 tokens"):
        ApiClient(cast.labeler, "label")
    api_tokens.revoke(token=first.token, by=cast.labeler)
    ApiClient(cast.labeler, "label")


def test_whoever_revokes_it_is_heard_at_once(cast: Cast, page: Client) -> None:
    mine, other = ApiClient(cast.researcher, "see_data"), ApiClient(cast.manager, "see_data")
    assert page.post("/account/tokens/", {"revoke": other.token.pk}).status_code == 404
    assert page.post("/account/tokens/", {"revoke": 2**70}).status_code == 404
    assert page.get("/account/tokens/", {"revoke": mine.token.pk}).status_code == 200
    assert page.post("/account/tokens/", {"revoke": mine.token.pk}).status_code == 302
    assert mine.call("get", "/me")[0] == 401
    assert other.call("get", "/me")[0] == 200
    with pytest.raises(NotYours):
        api_tokens.revoke(token=other.token, by=cast.researcher)
    administration = Client()
    administration.force_login(cast.admin)
    form = {"action": "revoke", "_selected_action": [other.token.pk]}
    assert administration.post("/admin/annotate/apitoken/", form).status_code == 302
    assert other.call("get", "/me")[0] == 401
    events = AuditEvent.objects.filter(verb="token.revoked").order_by("pk")
    assert [(event.actor, event.detail["person"]) for event in events] == [
        (cast.researcher, cast.researcher.pk),
        (cast.admin, cast.manager.pk),
    ]


def test_a_closed_account_has_no_tokens(cast: Cast) -> None:
    client = ApiClient(cast.labeler, "label")
    type(cast.labeler).objects.filter(pk=cast.labeler.pk).update(is_active=False)
    assert client.call("get", "/me")[0] == 401
    cast.labeler.is_active = False
    cast.labeler.save()
    assert AuditEvent.objects.get(verb="token.revoked").actor is None
    cast.labeler.is_active = True
    cast.labeler.save()
    assert client.call("get", "/me")[0] == 401


def test_a_token_ends_with_its_time(cast: Cast) -> None:
    client = ApiClient(cast.labeler, "label")
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    status, reply = client.call("get", "/me")
    assert (status, reply["title"]) == (401, "Unauthorized")


def test_its_last_use_is_noted_once_an_hour(cast: Cast) -> None:
    client = ApiClient(cast.labeler, "label")
    client.call("get", "/me")
    first = ApiToken.objects.get().last_used_at
    client.call("get", "/me")
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(hours=2))
    client.call("get", "/me")
    assert ApiToken.objects.get().last_used_at > first


def test_whoever_has_a_one_time_password_chooses_their_own_first(cast: Cast) -> None:
    client = ApiClient(cast.labeler, "label")
    cast.labeler.must_change_password = True
    cast.labeler.save()
    status, reply = client.call("get", "/me")
    assert status == 403
    assert "one-time password" in reply["detail"]


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer x", "Basic eDp5", f"Bearer hone_{'x' * 43}", "Bearer é" * 9])
def test_anything_else_is_nobody(cast: Cast, sent: str) -> None:
    client = Client()
    client.force_login(cast.manager)
    reply = client.get("/api/v1/me", headers={"authorization": sent.encode().decode("latin-1")})
    assert (reply.status_code, reply["WWW-Authenticate"]) == (401, "Bearer")


def test_no_log_has_a_token(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    from config.web.log_filters import TokenFilter

    client = ApiClient(cast.labeler, "label")
    record = logging.LogRecord("hone.access", logging.INFO, "", 0, "GET %s", (f"/api/v1/{client.secret}",), None)
    assert TokenFilter().filter(record)
    assert record.getMessage() == f"GET /api/v1/{client.secret[:9]}***"
    with caplog.at_level(logging.DEBUG):
        client.call("get", "/projects")
        client.call("get", "/nothing")
    assert client.secret not in caplog.text


def test_whoever_needs_a_second_step_sets_it_up_first(cast: Cast, settings: Any) -> None:
    client = ApiClient(cast.labeler, "label")
    settings.HONE_REQUIRE_SECOND_FACTOR = "everybody"
    status, reply = client.call("get", "/me")
    assert (status, "two-step" in reply["detail"]) == (403, True)
    Authenticator.objects.create(user=cast.labeler, type=Authenticator.Type.TOTP, data={})
    assert client.call("get", "/me")[0] == 200
    assert not client.cookies


def test_a_cookie_beside_a_token_is_no_session_of_its_person(cast: Cast) -> None:
    client = ApiClient(cast.labeler, "label")
    client.cookies["sessionid"] = "x" * 32
    assert client.call("get", "/me")[0] == 200
    assert not OpenSession.objects.exists()
