"""Security keys as the server sees them: off unless configured, and no credential that was made up opens anything."""

import base64
import json
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.test import Client

from annotate.models import AuditEvent, User
from config.security.second_factor import rules
from tests.factories.cast import PASSWORD, Cast

pytestmark = pytest.mark.any_database

ADD = "/accounts/2fa/keys/add/"


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def credential(**values: Any) -> str:
    """Of the right form, with nothing right in it."""
    origin = {"type": "webauthn.get", "challenge": encoded(b"challenge"), "origin": "http://testserver"}
    return json.dumps(
        {
            "id": encoded(b"key"),
            "rawId": encoded(b"key"),
            "type": "public-key",
            "response": {
                "clientDataJSON": encoded(json.dumps(origin).encode()),
                "authenticatorData": encoded(bytes(37)),
                "signature": encoded(b"signature"),
                "attestationObject": encoded(b"\xa0"),
            },
            **values,
        }
    )


HOSTILE = [
    "",
    "{",
    "null",
    "[]",
    "7",
    '{"id": 5, "rawId": 5, "response": 5}',
    '{"response": {"clientDataJSON": []}, "id": "a", "rawId": "a"}',
    "[" * 15_000,
    "9" * 19_000,
    "x" * 30_000,
    credential(),
    credential(id="\0"),
    credential(rawId="not base64!"),
    credential(response={}),
    credential(response=None),
    credential(response={"clientDataJSON": encoded(b"\xff"), "attestationObject": encoded(b"\xff" * 500)}),
    credential(response={"clientDataJSON": encoded(b"{}"), "authenticatorData": encoded(b"x")}),
]


@pytest.fixture
def keyed(settings: Any) -> None:
    settings.HONE_WEBAUTHN = True


@pytest.fixture
def key(cast: Cast) -> Authenticator:
    """A key of the labeler that nobody holds, and recovery codes."""
    RecoveryCodes.activate(cast.labeler)
    return Authenticator.objects.create(user=cast.labeler, type="webauthn", data={"name": "Desk", "credential": {}})


def signed_in(client: Client, user: User, *, confirmed: bool = True) -> Client:
    client.post("/accounts/login/", {"login": user.username, "password": PASSWORD})
    if confirmed:
        client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def test_without_the_setting_there_are_none(client: Client, cast: Cast) -> None:
    signed_in(client, cast.labeler)
    assert "Security keys" not in client.get("/accounts/2fa/").content.decode()
    assert client.get(ADD).status_code == 404
    assert client.post("/accounts/2fa/keys/1/remove/").status_code == 404


def test_a_stranger_and_a_session_that_is_not_fresh_are_asked_first(client: Client, cast: Cast, keyed: None) -> None:
    assert client.get(ADD)["Location"].startswith("/accounts/login/")
    signed_in(client, cast.labeler, confirmed=False)
    assert client.get(ADD)["Location"].startswith("/accounts/reauthenticate/")


def test_a_made_up_credential_is_refused_with_a_sentence(client: Client, cast: Cast, keyed: None) -> None:
    signed_in(client, cast.labeler)
    assert client.get(ADD).status_code == 200
    for number, made_up in enumerate(HOSTILE):
        reply = client.post(ADD, {"name": "Desk", "credential": made_up})
        assert reply.status_code == 400, number
        assert reply.context["form"].errors["credential"]
    assert not Authenticator.objects.exists()


def test_a_made_up_credential_signs_nobody_in(
    client: Client, cast: Cast, keyed: None, key: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from allauth.mfa.webauthn.internal import auth

    # What the stored credential holds is of a browser; here it only matters that none fits.
    monkeypatch.setattr(auth, "get_credentials", lambda user: [])
    signed_in(client, cast.labeler, confirmed=False)
    assert client.get("/accounts/code/").status_code == 200
    for number, made_up in enumerate(HOSTILE):
        reply = client.post("/accounts/code/", {"credential": made_up})
        assert reply.status_code == 400, number
        assert reply.context["key_form"].errors["credential"]
    assert client.get("/account/").status_code == 302
    # Each that has the form of a credential took a try; of these there are as many as of codes.
    replies = [client.post("/accounts/code/", {"credential": credential()}) for _try in range(rules.TRIES.burst)]
    assert "too many wrong codes" in str(replies[-1].context["key_form"].errors["credential"])


def test_a_key_counts_as_a_second_factor_where_the_site_uses_none_any_more(
    client: Client, cast: Cast, key: Authenticator
) -> None:
    """Turning the setting off opens no account to its password alone: a recovery code signs in."""
    codes = RecoveryCodes(Authenticator.objects.get(type="recovery_codes")).get_unused_codes()
    signed_in(client, cast.labeler, confirmed=False)
    assert client.get("/account/").status_code == 302
    page = client.get("/accounts/code/").content.decode()
    assert "security_keys" not in page
    assert client.post("/accounts/code/", {"credential": credential()}).status_code == 400
    assert client.post("/accounts/code/", {"code": codes[0]}).status_code == 302
    assert client.get("/account/").status_code == 200


def test_the_last_factor_stays_where_it_is_required(
    client: Client,
    cast: Cast,
    keyed: None,
    key: Authenticator,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.HONE_REQUIRE_SECOND_FACTOR = "everybody"
    monkeypatch.setattr("config.security.second_factor.security_keys.offer", lambda user: "{}")
    codes = RecoveryCodes(Authenticator.objects.get(type="recovery_codes")).get_unused_codes()
    signed_in(client, cast.labeler, confirmed=False)
    client.post("/accounts/code/", {"code": codes[0]})
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    assert rules.is_on(cast.labeler)
    address = f"/accounts/2fa/keys/{key.pk}/remove/"
    assert client.post(address).status_code == 302
    assert Authenticator.objects.filter(pk=key.pk).exists()
    other = Authenticator.objects.create(user=cast.labeler, type="webauthn", data={"name": "Spare", "credential": {}})
    assert client.post(address).status_code == 302
    assert list(Authenticator.objects.filter(type="webauthn")) == [other]
    assert client.post(f"/accounts/2fa/keys/{other.pk + 1000}/remove/").status_code == 404


def test_nobody_removes_anothers(client: Client, cast: Cast, keyed: None, key: Authenticator) -> None:
    signed_in(client, cast.second_labeler)
    assert client.post(f"/accounts/2fa/keys/{key.pk}/remove/").status_code == 404
    assert Authenticator.objects.filter(pk=key.pk).exists()


def test_an_administrator_resets_keys_too(client: Client, cast: Cast, keyed: None, key: Authenticator) -> None:
    client.force_login(cast.admin)
    assert client.post(f"/accounts/2fa/reset/{cast.labeler.pk}/").status_code == 302
    assert not Authenticator.objects.exists()
    assert AuditEvent.objects.get(verb="second_factor.reset").detail == {"person": cast.labeler.pk}


def test_there_are_ten_at_most(client: Client, cast: Cast, keyed: None) -> None:
    signed_in(client, cast.labeler)
    for number in range(10):
        Authenticator.objects.create(user=cast.labeler, type="webauthn", data={"name": str(number), "credential": {}})
    assert client.get(ADD).status_code == 302
