"""Whether the program that asked is still there: nothing is generated for one that has left.

A thread that waits for a model sends nothing, so it would not notice. The web process hands the connection on
(`gunicorn.socket`), and a connection that can be read and has nothing to read has ended.
"""

import select
import socket
import threading
import time
from typing import Any

from django.http import HttpRequest

THREADS = "gateway"
"""What the names of the web process's threads for the gateway begin with (config.web.web_worker)."""


class ClientGone(Exception):
    """The program has left, so nobody reads the reply."""


class ClientConnection:
    """The connection of a request. Where the server hands none on, as in tests, the program counts as there."""

    def __init__(self, request: HttpRequest) -> None:
        found: Any = getattr(request, "environ", {}).get("gunicorn.socket")
        self._socket: socket.socket | None = found if isinstance(found, socket.socket) else None
        self.is_in_own_thread = self._socket is None or threading.current_thread().name.startswith(THREADS)
        """False for an address that is written otherwise than the web process looks for: its reply would take a thread
        that is for pages."""

    def wait(self, seconds: float, *, beside: socket.socket | None = None) -> bool:
        """Wait until `beside` can be read, at most for so long; whether it can. Raises ClientGone."""
        until = time.monotonic() + seconds
        while True:
            poll = select.poll()  # select() takes no file descriptor from 1,024 on
            for watched in (self._socket, beside):
                if watched is not None:
                    poll.register(watched, select.POLLIN)
            left = until - time.monotonic()
            ready = {number for number, _event in poll.poll(max(0.0, left) * 1000)}
            if self._socket is not None and self._socket.fileno() in ready:
                self._look()
            if beside is not None and beside.fileno() in ready:
                return True
            if time.monotonic() >= until:
                return False

    def _look(self) -> None:
        assert self._socket is not None
        try:
            ahead = self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            ahead = b""
        if not ahead:
            raise ClientGone
        # Of a program that sends its next request already: it is there, and can't be watched any more.
        self._socket = None
