"""gunicorn's threaded worker, made safe from slow clients: a thread gets a request only when the request is here.

gunicorn's own hands each connection to a thread, which then waits for what the client sends; as many idle sockets as
there are threads stop the site. Here the main loop collects a request as it arrives, without blocking, and closes what
isn't whole in time. Bodies too large for memory are read by threads, but never by more than half of them, and not
slower than a stated rate. Connections are closed in the main loop as well, without waiting for the client.

A reply of the gateway lasts as long as a model writes. Its requests have threads of their own, so that pages wait for
none of them.
"""

import contextlib
import re
import selectors
import socket
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from django.conf import settings
from gunicorn.workers.gthread import TConn, ThreadWorker

from rlhf.gateway.client_connection import THREADS

HEAD_BYTES = 32 * 2**10
"""Request line and headers."""
BUFFERED_BYTES = 256 * 2**10
"""A body up to so long is collected before a thread sees the request."""
MOST_BUFFERED_BYTES = 64 * 2**20
"""Of all connections together."""
ARRIVAL_SECONDS = 30.0
"""From the first byte of a request to its last, if it is collected."""
IDLE_SECONDS = 10.0
"""Without a request."""
SEND_SECONDS = 30.0
"""In which a client takes each part of an HTTP response."""
LINGER_SECONDS = 2.0
"""Between the end of an HTTP response and the end of its connection, for the client to read it."""
GRACE_SECONDS, LEAST_RATE = 15.0, 16 * 2**10
"""A large body has so much time ahead, and then as many bytes a second as this, counted from its beginning."""

END_OF_HEAD = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.I)
LENGTH_AT_ALL = re.compile(rb"\r\ncontent-length[ \t]*:", re.I)
IN_PIECES = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.I)
OF_GATEWAY = re.compile(rb"[A-Z]{1,10} /v1/")
"""The request line of one that the gateway answers."""
SPARE_THREADS = 4
"""Beside those that wait for models, for what the gateway refuses at once."""
CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.I)


class Connection(TConn):
    """With what has arrived of its next request."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.arrived = bytearray()
        self.deadline = 0.0
        self.needed = 0
        """Bytes of the whole request, once its head is here."""
        self.is_large = False
        self.is_of_gateway = False


class BufferingWorker(ThreadWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.arriving: dict[int, Connection] = {}
        """By file descriptor, in the order in which they began to wait."""
        self.lingering: dict[int, tuple[Connection, float]] = {}
        self.large: deque[Connection] = deque()
        """Whole heads of large requests that wait for a thread that may read their bodies."""
        self.free_for_large = max(1, self.cfg.threads // 2)
        self.buffered = 0
        self.gateway_threads: ThreadPoolExecutor | None = None
        """Made at the first request of the gateway."""

    # --- connections, in the main thread ---

    def accept(self, listener: socket.socket) -> None:
        if self.nr_conns >= self.worker_connections - 1:
            self._make_room()
        try:
            client, address = listener.accept()
        except OSError:  # it has left again, or another process has it, or there are no file descriptors left
            return
        self.nr_conns += 1
        self._await_request(Connection(self.cfg, client, address, listener.getsockname()))

    def _make_room(self) -> None:
        """Close the connection that has waited longest without a request."""
        if self.arriving:
            self._drop(next(iter(self.arriving.values())))
        elif self.lingering:
            self._end_linger(next(iter(self.lingering.values()))[0])

    def _await_request(self, conn: Connection) -> None:
        conn.needed, conn.is_large, conn.is_of_gateway = 0, False, False
        if conn.parser is not None and (early := conn.parser.unreader.take_buffered()):
            conn.arrived += early  # of a client that pipelines requests
            self.buffered += len(early)
        conn.deadline = time.monotonic() + (ARRIVAL_SECONDS if conn.arrived else IDLE_SECONDS)
        conn.sock.setblocking(False)
        self.arriving[conn.sock.fileno()] = conn
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_bytes, conn))
        if conn.arrived:
            self._look_at(conn)

    def _on_bytes(self, conn: Connection, sock: socket.socket) -> None:
        if self.arriving.get(sock.fileno()) is not conn:  # closed since the poller saw it, to make room for another
            return
        try:
            data = conn.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(conn)
            return
        if not conn.arrived:
            conn.deadline = time.monotonic() + ARRIVAL_SECONDS
        conn.arrived += data
        self.buffered += len(data)
        self._look_at(conn)

    def _look_at(self, conn: Connection) -> None:
        """Hand the request on if it is whole, refuse it if it never will be."""
        if not conn.needed:
            end = conn.arrived.find(END_OF_HEAD, 0, HEAD_BYTES)
            if end < 0:
                if len(conn.arrived) >= HEAD_BYTES:
                    self._refuse(conn, "431 Request Header Fields Too Large")
                return
            head = bytes(conn.arrived[: end + len(END_OF_HEAD)])
            if IN_PIECES.search(head):
                self._refuse(conn, "411 Length Required")
                return
            length = LENGTH.search(head)
            if length is None and LENGTH_AT_ALL.search(head):
                # gunicorn may read a number out of it, and its thread would wait for so many bytes.
                self._refuse(conn, "400 Bad Request")
                return
            conn.needed = len(head) + (int(length[1]) if length else 0)
            conn.is_large = conn.needed - len(head) > BUFFERED_BYTES
            conn.is_of_gateway = OF_GATEWAY.match(head) is not None
            if CONTINUE.search(head) and not conn.is_large:
                self._send(conn, b"HTTP/1.1 100 Continue\r\n\r\n")
        if conn.is_large and conn.is_of_gateway:
            self._unwatch(conn)
            self._dispatch(conn)
        elif conn.is_large:
            self._unwatch(conn)
            self.large.append(conn)
            self._dispatch_large()
        elif len(conn.arrived) >= conn.needed:
            self._unwatch(conn)
            self._dispatch(conn)
        elif self.buffered > MOST_BUFFERED_BYTES:
            self._refuse(conn, "503 Service Unavailable")

    def _dispatch_large(self) -> None:
        while self.large and self.free_for_large:
            self.free_for_large -= 1
            self._dispatch(self.large.popleft())

    def _dispatch(self, conn: Connection) -> None:
        if not conn.is_of_gateway:
            super().enqueue_req(conn)
            return
        if self.gateway_threads is None:
            self.gateway_threads = ThreadPoolExecutor(
                settings.HONE_GATEWAY_REQUESTS + SPARE_THREADS, thread_name_prefix=THREADS
            )
        done = self.gateway_threads.submit(self.handle, conn)
        done.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))

    def enqueue_req(self, conn: Connection) -> None:
        raise AssertionError("a request is collected before it gets a thread")

    def finish_request(self, conn: Connection, fs: Any) -> None:
        if conn.is_large and not conn.is_of_gateway:
            self.free_for_large += 1
            self._dispatch_large()
        try:
            keep = not fs.cancelled() and fs.result() and not conn.is_large and self.alive
        except Exception:
            keep = False
        try:
            if keep:
                self._await_request(conn)
            else:
                self._linger(conn)
        except (OSError, ValueError, KeyError):
            self._close(conn)

    def murder_pending(self) -> None:
        """Called each second or oftener: what is late is closed."""
        now = time.monotonic()
        for conn in list(self.arriving.values()):
            if now > conn.deadline or (not self.alive and not conn.arrived):
                self._drop(conn)
        for conn, until in list(self.lingering.values()):
            if now > until:
                self._end_linger(conn)
        while self.large and now > self.large[0].deadline:
            self._refuse(self.large.popleft(), "503 Service Unavailable")

    def _linger(self, conn: Connection) -> None:
        """Nothing more is sent; what still comes is thrown away, so that the client can read the response first."""
        conn.sock.setblocking(False)
        conn.sock.shutdown(socket.SHUT_WR)
        self.lingering[conn.sock.fileno()] = conn, time.monotonic() + LINGER_SECONDS
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_late_bytes, conn))

    def _on_late_bytes(self, conn: Connection, sock: socket.socket) -> None:
        if self.lingering.get(sock.fileno(), (None, 0.0))[0] is not conn:  # as above
            return
        try:
            if conn.sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end_linger(conn)

    def _end_linger(self, conn: Connection) -> None:
        self.lingering.pop(conn.sock.fileno(), None)
        self.poller.unregister(conn.sock)
        self._close(conn)

    def _refuse(self, conn: Connection, status: str) -> None:
        if conn.sock.fileno() in self.arriving:
            self._unwatch(conn)
        self._send(conn, f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        try:
            self._linger(conn)
        except OSError:
            self._close(conn)

    @staticmethod
    def _send(conn: Connection, data: bytes) -> None:
        with contextlib.suppress(OSError):
            conn.sock.send(data)

    def _unwatch(self, conn: Connection) -> None:
        self.poller.unregister(conn.sock)
        del self.arriving[conn.sock.fileno()]
        self.buffered -= len(conn.arrived)

    def _drop(self, conn: Connection) -> None:
        self._unwatch(conn)
        self._close(conn)

    def _close(self, conn: Connection) -> None:
        self.nr_conns -= 1
        conn.close()

    # --- requests, in a thread ---

    def handle(self, conn: Connection) -> Any:
        try:
            conn.sock.settimeout(SEND_SECONDS)
            conn.init()
            conn.parser.unreader.unread(bytes(conn.arrived))
        except OSError:
            return False
        conn.arrived = bytearray()
        conn.data_ready = True
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Connection) -> Any:
        conn.sock.settimeout(SEND_SECONDS)
        if conn.is_large:
            req.force_close()  # the reply says so to the client: see _keepalive_after
            conn.parser.unreader.chunk = self._with_least_rate(conn)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        # What a page didn't read of a large body is thrown away by the main loop, not by this thread.
        return False if conn.is_large else super()._keepalive_after(conn, keepalive)

    @staticmethod
    def _with_least_rate(conn: Connection) -> Any:
        began, read, chunk = time.monotonic(), 0, conn.parser.unreader.chunk

        def bounded(size_hint: int | None = None) -> bytes:
            nonlocal read
            late_by = time.monotonic() - began - GRACE_SECONDS - read / LEAST_RATE
            if late_by > 0:
                raise TimeoutError("the body comes too slowly")
            conn.sock.settimeout(min(SEND_SECONDS, max(0.1, -late_by)))
            try:
                data: bytes = chunk(size_hint)
            finally:
                conn.sock.settimeout(SEND_SECONDS)
            read += len(data)
            return data

        return bounded
