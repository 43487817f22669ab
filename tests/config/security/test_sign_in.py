"""Guessing passwords is slow for every kind of guesser, and nobody is locked out where they were signed in before."""

import logging
import threading

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import hashers
from django.test import Client

from config.models import RateBucket
from config.security import rate_limits
from config.security.password_hashing import BoundedPBKDF2PasswordHasher, HashingBusy
from tests.conftest import wait_until
from tests.factories.cast import PASSWORD, make_user


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        monkeypatch.setattr(rate_limits.time, "time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time stands still unless a test moves it."""
    return Clock(monkeypatch)


def attempt(name: str, password: str = "wrong", address: str = "10.0.0.1", client: Client | None = None) -> int:
    form = {"login": name, "password": password}
    return (client or Client()).post("/accounts/login/", form, REMOTE_ADDR=address).status_code


def test_eight_wrong_passwords_for_a_name_from_an_address(db: None, clock: Clock) -> None:
    make_user("ann")
    make_user("ben")
    assert [attempt("ann") for _ in range(9)] == [200] * 8 + [429]
    assert attempt("ANN ", PASSWORD) == 429  # the same account
    assert attempt("ben", PASSWORD) == 302
    assert attempt("ann", PASSWORD, address="10.0.0.9") == 302
    clock.now += 112
    assert attempt("ann") == 429
    clock.now += 1
    assert attempt("ann", PASSWORD) == 302


def test_one_address_that_tries_one_password_on_many_names(db: None, clock: Clock) -> None:
    for number in range(50):
        make_user(f"person{number}")
    replies = [attempt(f"person{number}", "Winter2026!") for number in range(120)]
    assert replies == [200] * 40 + [429] * 80
    assert attempt("person0", PASSWORD, address="10.0.0.2") == 302
    clock.now += 60  # two more
    assert [attempt(f"person{number}", "Winter2026!") for number in range(3)] == [200, 200, 429]


def test_an_ipv6_subscriber_is_one_address(db: None, clock: Clock) -> None:
    replies = [attempt(f"person{number}", address=f"2001:db8:1:2::{number:x}") for number in range(41)]
    assert replies == [200] * 40 + [429]
    assert attempt("person0", address="2001:db8:1:3::1") == 200
    # Who holds 48 bits has 65,536 such networks.
    replies = [attempt(f"person{number}", address=f"2001:db8:9:{number:x}::1") for number in range(401)]
    assert replies == [200] * 400 + [429]


def test_twenty_addresses_on_one_name_are_slow_and_lock_nobody_out(db: None, clock: Clock) -> None:
    make_user("ann")
    own, other = Client(), Client()
    assert attempt("ann", PASSWORD, client=own) == 302
    own.post("/accounts/logout/")
    replies = [attempt("ann", address=f"198.51.100.{number}") for number in range(20) for _ in range(8)]
    assert replies == [200] * 16 + [429] * 144
    assert attempt("ann", PASSWORD, client=other, address="10.0.0.2") == 429
    # Where they were signed in before, from wherever that is now.
    assert attempt("ann", PASSWORD, client=own, address="203.0.113.5") == 302
    clock.now += 600
    assert [attempt("ann", address=f"198.51.101.{number}") for number in range(20)] == [200] * 10 + [429] * 10


def test_a_known_browser_guesses_no_more_than_another(db: None, clock: Clock) -> None:
    make_user("ann")
    client = Client()
    attempt("ann", PASSWORD, client=client)
    client.post("/accounts/logout/")
    assert [attempt("ann", client=client, address=f"10.0.0.{number}") for number in range(9)] == [200] * 8 + [429]
    stolen = client.cookies["hone_device"].value
    client.cookies["hone_device"] = stolen[:-1] + ("A" if stolen[-1] != "A" else "B")
    assert attempt("ann", client=client, address="10.0.0.9") == 200  # forged: a stranger's


def test_a_right_password_gives_back_what_it_took(db: None, clock: Clock) -> None:
    make_user("ann")
    for _ in range(60):
        client = Client()
        assert attempt("ann", PASSWORD, client=client) == 302
    for _ in range(3):
        assert [attempt("ann") for _ in range(4)] == [200] * 4
        assert attempt("ann", PASSWORD) == 302


def test_what_is_counted_is_forgotten(db: None, clock: Clock) -> None:
    for number in range(30):
        attempt(f"person{number}", address=f"10.0.{number}.1")
    assert RateBucket.objects.count() == 90
    assert not RateBucket.objects.filter(key__contains="person").exists()
    clock.now += 3600
    attempt("ann")
    assert RateBucket.objects.count() == 3


def test_a_refusal_says_when_to_come_back(db: None, clock: Clock, client: Client) -> None:
    for _ in range(8):
        attempt("ann", client=client)
    reply = client.post("/accounts/login/", {"login": "ann", "password": "wrong"}, REMOTE_ADDR="10.0.0.1")
    assert reply["Retry-After"] == "113"
    assert "Try again in 2 min" in reply.content.decode()
    script = {"HTTP_X_REQUESTED_WITH": "XMLHttpRequest", "REMOTE_ADDR": "10.0.0.1"}
    reply = client.post("/accounts/login/", {"login": "ann", "password": "wrong"}, **script)
    assert (reply.status_code, reply["Content-Type"]) == (429, "text/plain; charset=utf-8")


@pytest.mark.parametrize("shown", ["plain", "hashed"])
def test_the_log_says_who_and_from_where(
    db: None, clock: Clock, settings: object, caplog: pytest.LogCaptureFixture, shown: str
) -> None:
    settings.HONE_LOG_NAMES = shown  # type: ignore[attr-defined]
    make_user("ann")
    caplog.set_level(logging.INFO, "hone.sign_in")
    for _ in range(9):
        attempt("ann", address="203.0.113.5")
    attempt("hunter2\r\nfalse line", address="2001:db8::5")
    said = [record.getMessage() for record in caplog.records if record.name == "hone.sign_in"]
    who = said[0].removeprefix("Wrong password: ").removesuffix(" from 203.0.113.5")
    assert who == "'ann'" if shown == "plain" else who.startswith("name #")
    assert said[:9] == [f"Wrong password: {who} from 203.0.113.5"] * 8 + [
        f"Sign-in refused (pair): {who} from 203.0.113.5"
    ]
    # It may be a password, typed into the wrong field.
    assert said[9].startswith("Wrong password: name #")
    assert said[9].endswith(" from 2001:db8::5")
    assert not any("*" in line or "hunter2" in line or "\n" in line for line in said)


def test_passwords_are_hashed_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert django_settings.PASSWORD_HASHERS  # the tests' own is quicker
    gate, running, most, results = threading.Event(), [], [], []

    def slow(*args: object, **options: object) -> bytes:
        running.append(1)
        most.append(len(running))
        gate.wait(30)
        running.pop()
        return b"hash"

    monkeypatch.setattr(hashers, "pbkdf2", slow)
    hasher = BoundedPBKDF2PasswordHasher()

    def check() -> None:
        try:
            results.append(hasher.encode("password", "salt" * 8)[:13])
        except HashingBusy:
            results.append("busy")

    threads = [threading.Thread(target=check) for _ in range(24)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(results) == 21, what="those without a turn")
    gate.set()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["busy"] * 21 + ["pbkdf2_sha256"] * 3
    assert max(most) == 1


def test_a_busy_process_says_so_and_counts_nothing(
    db: None, clock: Clock, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    make_user("ann")

    def busy(self: object, *args: object) -> str:
        raise HashingBusy

    client = Client(raise_request_exception=False)
    with monkeypatch.context() as patched:
        patched.setattr(hashers.MD5PasswordHasher, "encode", busy)
        for _ in range(20):
            reply = client.post("/accounts/login/", {"login": "ann", "password": "secret phrase"})
            assert (reply.status_code, reply["Retry-After"]) == (503, "5")
            assert "secret phrase" not in reply.content.decode()
    assert attempt("ann", PASSWORD) == 302
