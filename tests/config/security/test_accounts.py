"""Signing in: closed to strangers, slow for guessers, and never confused about where a request came from."""

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from config.security.accounts import client_address
from config.web.edge import EdgeMiddleware
from tests.factories.cast import PASSWORD, make_user


def sign_in(client: Client, username: str, password: str, **extra: str) -> int:
    return client.post("/accounts/login/", {"login": username, "password": password}, **extra).status_code


def test_a_name_and_a_password_sign_in(db: None, client: Client) -> None:
    make_user("ann")
    assert sign_in(client, "ann", PASSWORD) == 302
    assert client.session["_auth_user_id"]


@pytest.mark.parametrize("page", ["signup/", "password/reset/", "email/", "login/code/", "password/set/"])
def test_nobody_signs_up_or_asks_for_mail(db: None, client: Client, page: str) -> None:
    assert client.get(f"/accounts/{page}").status_code == 404
    assert client.post(f"/accounts/{page}", {"username": "eve", "email": "eve@example.org"}).status_code == 404


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "6.6.6.6", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (2, "6.6.6.6, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (3, "203.0.113.7", "203.0.113.7"),
        (1, "6.6.6.6, 203.0.113.7:51234", "203.0.113.7"),
        (1, "[2001:db8::7]:443", "2001:db8::7"),
        (1, "[2001:db8::7]", "2001:db8::7"),
        (1, "2001:DB8:0::7", "2001:db8::7"),
        (1, "::ffff:203.0.113.7", "203.0.113.7"),
        (1, "fe80::1%eth0", "fe80::1"),
        (1, "203.0.113.7, unknown", "10.0.0.1"),
        (1, "203.0.113.7, <script>", "10.0.0.1"),
        (1, "'; DROP TABLE x; --", "10.0.0.1"),
        (1, "2001:db8::7:443:1:2:3:4:5:6", "10.0.0.1"),
        (2, "garbage, 10.0.0.2", "10.0.0.1"),
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


@pytest.mark.parametrize(
    ("https", "proxies", "header", "secure"),
    [(0, 0, "https", False), (1, 1, "https", True), (1, 1, "https, http", False), (1, 2, "http, https, http", True)],
)
def test_only_our_own_proxy_says_what_scheme_was_used(
    settings: object, https: int, proxies: int, header: str, secure: bool
) -> None:
    settings.HONE_PROXIES = proxies  # type: ignore[attr-defined]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if proxies else None  # type: ignore[attr-defined]
    seen = []
    edge = EdgeMiddleware(lambda request: seen.append(request.is_secure()) or HttpResponse())
    edge(RequestFactory().get("/", HTTP_X_FORWARDED_PROTO=header))
    assert seen == [secure]


def test_a_malformed_address_signs_in_on_every_database(db: None, client: Client, settings: object) -> None:
    settings.HONE_PROXIES = 1  # type: ignore[attr-defined]
    make_user("ann")
    assert sign_in(client, "ann", "wrong", HTTP_X_FORWARDED_FOR="10.1.2.3:4444") == 200
    assert sign_in(client, "ann", PASSWORD, HTTP_X_FORWARDED_FOR="no address at all") == 302
