"""A PostgreSQL server in a network namespace: its process can be killed, and the link to it cut.

Unlike the server of the tests it writes as a real one does: what it has confirmed outlives a SIGKILL.
"""

import itertools
import os
import pwd
import signal
import subprocess
import time
from pathlib import Path

from tests.databases.postgresql import ACCOUNT, find_program

HERE, THERE = "10.213.7.1", "10.213.7.2"
PORT = 5432
READY_SECONDS = 60.0
SETTINGS = {
    "listen_addresses": THERE,
    "max_connections": "200",
    # A client on the other side of a cut link is given up after some seconds, and its locks with it.
    "tcp_user_timeout": "10000",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


class Unavailable(Exception):
    """This machine or user can't have such a server; a sentence."""


class Database:
    """Raises Unavailable where there is no PostgreSQL, or no right to make namespaces."""

    def __init__(self, folder: Path) -> None:
        if find_program("initdb") is None:
            raise Unavailable("PostgreSQL isn't installed (Debian: postgresql).")
        if os.geteuid() != 0:
            raise Unavailable("Only root may make network namespaces.")
        self.folder = folder / "postgresql"
        self.name = f"hone-faults-{os.getpid()}"
        self.link = f"hf{os.getpid()}"
        account = pwd.getpwnam(ACCOUNT)
        self.folder.mkdir(parents=True)
        os.chown(self.folder, account.pw_uid, account.pw_gid)
        folder.chmod(0o711)
        self._as_account("initdb", "--pgdata", str(self.folder / "data"), "--auth", "trust", "--username", "hone",
                         "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")  # fmt: skip
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {HERE}/32 trust\n")
        self._make_network()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"postgres://hone@{THERE}:{PORT}/postgres"

    def start(self) -> None:
        """Start the server, after a kill too, and wait until it takes connections."""
        settings = itertools.chain(*(("-c", f"{name}={value}") for name, value in SETTINGS.items()))
        program = find_program("postgres")
        assert program is not None
        command = [program, "-D", str(self.folder / "data"), "-k", str(self.folder), *settings]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, "setpriv", *_account(), *command],
                cwd=self.folder,
                # Not Hone's variables: by them its processes are told from others.
                env={"PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL isn't up: {(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL to the server's first process; the others leave when they notice."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def server_processes(self) -> list[int]:
        """Those that serve one connection each."""
        found = []
        assert self.process is not None
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            if HERE.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
        return found

    def cut(self) -> None:
        """Take the link down: packets are lost, and nobody is told."""
        _ip("link", "set", self.link, "down")

    def heal(self) -> None:
        _ip("link", "set", self.link, "up")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
        _ip("netns", "del", self.name, check=False)
        _ip("link", "del", self.link, check=False)

    def _make_network(self) -> None:
        try:
            _ip("netns", "add", self.name)
            _ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            _ip("addr", "add", f"{HERE}/30", "dev", self.link)
            _ip("link", "set", self.link, "up")
            for arguments in (["addr", "add", f"{THERE}/30", "dev", "eth0"], ["link", "set", "eth0", "up"]):
                _ip("-n", self.name, *arguments)
        except (OSError, subprocess.CalledProcessError) as error:
            self.process = None
            self.stop()
            raise Unavailable(f"This machine makes no network namespaces ({error}).") from None

    def _is_ready(self) -> bool:
        program = find_program("pg_isready")
        assert program is not None
        return subprocess.run([program, "-q", "-h", THERE, "-p", str(PORT)], check=False).returncode == 0

    def _as_account(self, name: str, *arguments: str) -> None:
        program = find_program(name)
        assert program is not None
        command = ["setpriv", *_account(), program, *arguments]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)


def _account() -> list[str]:
    account = pwd.getpwnam(ACCOUNT)
    return ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, stderr=None if check else subprocess.DEVNULL)
