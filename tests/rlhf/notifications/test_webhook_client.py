"""A receiver has one deadline for the whole exchange, however it spends the time, and no address that is a private
one in another dress."""

import socket
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import pytest

from rlhf.notifications import webhook_client
from rlhf.notifications.webhook_client import NotDelivered


@pytest.fixture(autouse=True)
def soon(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HONE_PRIVATE_WEBHOOKS = True
    monkeypatch.setattr(webhook_client, "SECONDS", 0.4)


@pytest.fixture
def stop() -> Iterator[Event]:
    found = Event()
    yield found
    found.set()


def drip(first: bytes, again: bytes, stop: Event) -> str:
    """The address of a server that sends `first`, then `again` every 20 ms, ten seconds long."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as connection:
            try:
                connection.recv(10**5)
                connection.sendall(first)
                for _ in range(500):
                    if stop.wait(0.02):
                        return
                    connection.sendall(again)
            except OSError:
                return

    Thread(target=serve, daemon=True).start()
    return f"//127.0.0.1:{server.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("scheme", "first", "again"),
    [
        ("http", b"HTTP/1.1 200", b"H"),
        ("http", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("http", b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        ("https", b"\x16\x03\x03\x40\x00", b"\x02"),
    ],
    ids=["status", "continue", "headers", "handshake"],
)
def test_a_receiver_that_drips_is_left_at_the_deadline(scheme: str, first: bytes, again: bytes, stop: Event) -> None:
    began = time.monotonic()
    with pytest.raises(NotDelivered) as refused:
        webhook_client.post(scheme + ":" + drip(first, again, stop), b"{}", key="k", headers={})
    assert time.monotonic() - began < 3
    assert refused.value.message.code == "webhook_unreachable"
    assert refused.value.message.values == {"error": "no complete reply within 0.4 s"}


def test_a_name_server_that_hangs_is_left_at_the_deadline(stop: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **given: stop.wait(10))
    began = time.monotonic()
    with pytest.raises(NotDelivered) as refused:
        webhook_client.post("http://slow.example/", b"{}", key="k", headers={})
    assert time.monotonic() - began < 3
    assert refused.value.message.values == {"error": "no complete reply within 0.4 s"}


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("fec0::1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a83f:8110", False),
        ("64:ff9b:1::7f00:1", False),
        ("64:ff9b::5db8:d70e", True),
        ("::7f00:1", False),
        ("::ffff:0:7f00:1", False),
        ("::ffff:7f00:1", False),
        ("2002:7f00:1::", False),
        ("168.63.129.16", False),
        ("168.63.129.17", True),
        ("2606:2800:21f:cb07::1", True),
    ],
)
def test_addresses_that_stand_for_private_ones_are_private(address: str, is_public: bool) -> None:
    assert webhook_client.is_public(address) is is_public
