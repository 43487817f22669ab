"""A PostgreSQL server for one test run: started in a folder, reached over a unix socket only, gone afterwards."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

ACCOUNT = "nobody"
"""PostgreSQL refuses to run as root; this account exists everywhere and owns nothing."""


def find_program(name: str) -> str | None:
    """A program of PostgreSQL, newest version first. Debian keeps them off the PATH."""
    candidates = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: -float(path.parts[-3]))
    return str(candidates[0]) if candidates else shutil.which(name)


@dataclass(frozen=True)
class PostgresServer:
    folder: Path
    url: str

    @classmethod
    def start(cls, folder: Path) -> "PostgresServer":
        if find_program("initdb") is None:
            raise RuntimeError("PostgreSQL isn't installed; `make test` installs it where it may (Debian: postgresql).")
        folder.mkdir()
        # The folder above is private to the user who runs the tests; the server only needs to pass through it.
        folder.parent.chmod(0o711)
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(folder, account.pw_uid, account.pw_gid)
        cls._run(folder, "initdb", "--pgdata", "data", "--auth", "trust", "--username", "hone", "--encoding", "UTF8",
                 "--locale", "C.UTF-8", "--no-sync")  # fmt: skip
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c synchronous_commit=off"
        options += " -c full_page_writes=off -c max_connections=200"
        # Tests roll their rows back. Autovacuum, where it comes by in such a moment, notes tables of many pages without
        # a row, and whatever plan is made of that until it comes again reads them row by row: a matter of chance.
        options += " -c autovacuum=off"
        cls._run(folder, "pg_ctl", "start", "--pgdata", "data", "--log", "server.log", "--wait", "--options", options)
        return cls(folder=folder, url=f"postgres://hone@{quote(str(folder), safe='')}/postgres")

    @property
    def process_id(self) -> int:
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def stop(self) -> None:
        self._run(self.folder, "pg_ctl", "stop", "--pgdata", "data", "--mode", "immediate")

    @staticmethod
    def _run(folder: Path, name: str, *arguments: str) -> None:
        as_root = os.geteuid() == 0
        program = find_program(name)
        assert program is not None
        finished = subprocess.run(
            [program, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            # The server inherits these: a pipe would keep the reader waiting for the server's end.
            stdout=(folder / f"{name}.log").open("wb"),
            stderr=subprocess.STDOUT,
            user=ACCOUNT if as_root else None,
            group=pwd.getpwnam(ACCOUNT).pw_gid if as_root else None,
            extra_groups=[] if as_root else None,
        )
        if finished.returncode != 0:
            raise RuntimeError(f"{name} failed:\n{(folder / f'{name}.log').read_text(errors='replace')}")
