"""A PostgreSQL server at an address: its process can be killed and started, and the link to it cut (`Database`).

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

PORT = 5432
READY_SECONDS = 60.0
SETTINGS = {
    "max_connections": "200",
    # A client on the other side of a cut link is given up after some seconds, and its locks with it.
    "tcp_user_timeout": "10000",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


class Unavailable(Exception):
    """This machine or user can't have such a server; a sentence."""


class PostgreSQL:
    """A server that listens at `address`, for clients of the network `clients`. Raises Unavailable without one."""

    within: tuple[str, ...] = ()
    """A command that runs the server's in another namespace."""

    def __init__(self, folder: Path, *, address: str, clients: str) -> None:
        if find_program("initdb") is None:
            raise Unavailable("PostgreSQL isn't installed (Debian: postgresql).")
        if os.geteuid() != 0:
            raise Unavailable("Only root may make network namespaces.")
        self.folder, self.address = folder / "postgresql", address
        account = pwd.getpwnam(ACCOUNT)
        self.folder.mkdir(parents=True)
        os.chown(self.folder, account.pw_uid, account.pw_gid)
        folder.chmod(0o711)
        self._as_account("initdb", "--pgdata", str(self.folder / "data"), "--auth", "trust", "--username", "hone",
                         "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")  # fmt: skip
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {clients} trust\n")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgres://hone@{self.address}:{PORT}/postgres"

    def start(self) -> None:
        """Start the server, after a kill too, and wait until it takes connections."""
        values = SETTINGS | {"listen_addresses": self.address}
        settings = itertools.chain(*(("-c", f"{name}={value}") for name, value in values.items()))
        program = find_program("postgres")
        assert program is not None
        command = [program, "-D", str(self.folder / "data"), "-k", str(self.folder), *settings]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.within, "setpriv", *_account(), *command],
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

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)

    def _is_ready(self) -> bool:
        program = find_program("pg_isready")
        assert program is not None
        return subprocess.run([program, "-q", "-h", self.address, "-p", str(PORT)], check=False).returncode == 0

    def _as_account(self, name: str, *arguments: str) -> None:
        program = find_program(name)
        assert program is not None
        command = ["setpriv", *_account(), program, *arguments]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)


class Database(PostgreSQL):
    """In a network namespace, running. Raises Unavailable where there is none, or no right to make namespaces."""

    def __init__(self, folder: Path) -> None:
        # An address of its own: the link of a command that was killed may still be there.
        within = f"10.212.{os.getpid() % 256}"
        self.here = f"{within}.1"
        super().__init__(folder, address=f"{within}.2", clients=f"{self.here}/32")
        self.name = f"hone-faults-{os.getpid()}"
        self.link = f"hf{os.getpid()}"
        self.within = ("ip", "netns", "exec", self.name)
        self._make_network()
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def server_processes(self) -> list[int]:
        """Those that serve one connection each."""
        found = []
        assert self.process is not None
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            if self.here.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
        return found

    def cut(self) -> None:
        """Take the link down: packets are lost, and nobody is told."""
        ip("link", "set", self.link, "down")

    def heal(self) -> None:
        ip("link", "set", self.link, "up")

    def stop(self) -> None:
        super().stop()
        ip("netns", "del", self.name, check=False)
        ip("link", "del", self.link, check=False)

    def _make_network(self) -> None:
        try:
            ip("netns", "add", self.name)
            ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            ip("addr", "add", f"{self.here}/30", "dev", self.link)
            ip("link", "set", self.link, "up")
            for arguments in (["addr", "add", f"{self.address}/30", "dev", "eth0"], ["link", "set", "eth0", "up"]):
                ip("-n", self.name, *arguments)
        except (OSError, subprocess.CalledProcessError) as error:
            self.stop()
            raise Unavailable(f"This machine makes no network namespaces ({error}).") from None


def _account() -> list[str]:
    account = pwd.getpwnam(ACCOUNT)
    return ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]


def ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, stderr=None if check else subprocess.DEVNULL)
