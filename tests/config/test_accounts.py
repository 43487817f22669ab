"""Signing in: closed to strangers, slow for guessers, and never confused about where a request came from."""

import pytest
from django.conf import settings as django_settings
from django.test import Client, RequestFactory

from config.accounts import client_address
from tests.cast import PASSWORD, make_user


def sign_in(client: Client, username: str, password: str, **extra: str) -> int:
    return client.post("/accounts/login/", {"login": username, "password": password}, **extra).status_code


def test_a_name_and_a_password_sign_in(db: None, client: Client) -> None:
    make_user("ann")
    assert sign_in(client, "ann", PASSWORD) == 302
    assert client.session["_auth_user_id"]


@pytest.mark.parametrize("page", ["signup/", "password/reset/", "email/", "login/code/", "password/set/"])
def test_nobody_signs_himself_up_or_asks_for_mail(db: None, client: Client, page: str) -> None:
    assert client.get(f"/accounts/{page}").status_code == 404
    assert client.post(f"/accounts/{page}", {"username": "eve", "email": "eve@example.org"}).status_code == 404


def test_guessing_is_locked_out_for_this_name_and_address_alone(db: None, client: Client) -> None:
    make_user("ann")
    for _ in range(django_settings.AXES_FAILURE_LIMIT - 1):
        assert sign_in(client, "ann", "wrong") == 200
    assert sign_in(client, "ann", "wrong") == 429
    assert sign_in(client, "ann", PASSWORD) == 429
    make_user("ben")
    assert sign_in(Client(), "ben", PASSWORD) == 302
    assert sign_in(Client(), "ann", PASSWORD, REMOTE_ADDR="10.0.0.9") == 302


def test_a_right_password_forgets_the_wrong_ones(db: None, client: Client) -> None:
    make_user("ann")
    for _ in range(3):
        for _ in range(django_settings.AXES_FAILURE_LIMIT - 1):
            sign_in(client, "ann", "wrong")
        assert sign_in(client, "ann", PASSWORD) == 302
        client.logout()


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "6.6.6.6", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (2, "6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (3, "203.0.113.7", "203.0.113.7"),
    ],
)
def test_only_our_own_proxies_are_believed(settings: object, proxies: int, forwarded: str, address: str) -> None:
    settings.HONE_PROXIES = proxies  # type: ignore[attr-defined]
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == address


def test_every_page_carries_the_policy_against_foreign_content(db: None, client: Client) -> None:
    directives = set(client.get("/accounts/login/").headers["Content-Security-Policy"].split("; "))
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= directives
    assert not any("unsafe" in directive for directive in directives)
