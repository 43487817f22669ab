"""The web process against clients that are slow, silent or too large: others are answered meanwhile."""

import os
import selectors
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gunicorn.config import Config

from config.web.web_worker import BufferingWorker
from tests.conftest import ROOT, end, free_port, wait_until

THREADS = 2
PATIENCE = 10.0  # seconds for a reply on a machine that has much else to do; a blocked site gives none


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Callable[[Path], None]) -> Iterator[int]:
    """gunicorn as `serve` starts it, with few threads."""
    port = free_port()
    folder = tmp_path_factory.mktemp("web")
    environment = {
        "PATH": os.environ["PATH"],
        "HONE_DATA": str(folder / "data"),
        "HONE_PORT": str(port),
        "HONE_WEB_THREADS": str(THREADS),
    }
    migrated_sqlite(folder / "data")
    subprocess.run([sys.executable, "manage.py", "prepare"], cwd=ROOT, env=environment, check=True)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:config.web.gunicorn", "config.wsgi"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return get(port, "/healthz") == 200
        except OSError:
            return False

    try:
        wait_until(is_up, seconds=60, what="the web process")
        yield port
    finally:
        end(process)
    assert process.returncode == 0
    assert "Traceback" not in log.read_text()


def get(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def connect(port: int, data: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    client.sendall(data)
    return client


def reply_to(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET / HTT",
        b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200\r\n\r\nlogin=",
        b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 600000000\r\n\r\nlogin=",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %022d\r\n\r\nbody" % 200,
        b"GET /healthz HTTP/1.0\r\n\r\n",  # answered, and never closed by the client
    ],
    ids=["silent", "in the head", "in the body", "before a large body", "with a long length", "after the reply"],
)
def test_forty_slow_clients_keep_nobody_waiting(port: int, beginning: bytes) -> None:
    slow = [connect(port, beginning) for _ in range(40)]
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.5):
            for client in slow:
                try:
                    client.send(b"x")
                except OSError:
                    continue

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        began = time.monotonic()
        for _ in range(5):
            assert get(port, "/healthz") == 200
            assert get(port, "/accounts/login/") == 200
        assert time.monotonic() - began < 2 * PATIENCE
    finally:
        stop.set()
        dripping.join()
        for client in slow:
            client.close()


def test_a_large_body_is_refused_without_being_read(port: int) -> None:
    head = b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    client = connect(port, head + b"Content-Length: 629145600\r\n\r\n" + b"x" * 100_000)
    reply = reply_to(client)
    assert reply.startswith(b"HTTP/1.1 413 ")
    # The connection ends with it. Who isn't told loses the next request on it.
    assert b"\r\nConnection: close\r\n" in reply


def test_a_body_of_no_stated_length_and_a_head_without_end_are_refused(port: int) -> None:
    in_pieces = connect(port, b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert reply_to(in_pieces).startswith(b"HTTP/1.1 411 ")
    endless = connect(port, b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"x" * 40_000)
    assert reply_to(endless).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("length", ["0" * 20 + "5", "+5", "5, 5", ""])
def test_a_length_that_is_no_plain_number_is_refused(port: int, length: str) -> None:
    client = connect(port, f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
    assert reply_to(client).startswith(b"HTTP/1.1 400 ")


def test_who_is_closed_to_make_room_may_have_sent_something_meanwhile() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    settings = Config()
    settings.set("worker_connections", 2)  # room for one
    worker = BufferingWorker(1, os.getppid(), [listener], None, 30, settings, None)
    with listener, selectors.DefaultSelector() as worker.poller:
        worker.set_accept_enabled(True)
        with connect(listener.getsockname()[1]) as first:
            worker.wait_for_and_dispatch_events(PATIENCE)
            # The poller reports both at once, in the order in which they happened.
            with connect(listener.getsockname()[1]) as second:
                first.sendall(b"GET")
                worker.wait_for_and_dispatch_events(PATIENCE)
                assert [conn.client for conn in worker.arriving.values()] == [second.getsockname()]
                worker.wait_for_and_dispatch_events(0)
        for conn in list(worker.arriving.values()):
            worker._drop(conn)
    worker.tmp.close()


def test_a_request_in_small_parts_and_the_next_on_its_connection(port: int) -> None:
    client = connect(port)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for byte in request:
        client.sendall(bytes([byte]))
    reply = b""
    while not reply.endswith(b"\r\n\r\nok\n"):  # head and body may come apart
        part = client.recv(65536)
        assert part, reply
        reply += part
    client.sendall(request * 2 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert reply_to(client).count(b"HTTP/1.1 200 OK") == 3


def test_who_waits_without_a_request_makes_room(port: int) -> None:
    idle = [connect(port) for _ in range(1100)]  # more than both processes hold
    try:
        assert get(port, "/healthz") == 200
        assert get(port, "/accounts/login/") == 200
    finally:
        for client in idle:
            client.close()
