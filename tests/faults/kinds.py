"""The kinds of faults. Each is over when its function returns; Hone's own recovery goes on.

A fault that needs what this machine or database doesn't have (a mounted disk, a C compiler, a network) is not drawn.
"""

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.site import Site, signal_all, stopped

KILLED = (
    *("web worker", "web master", "default worker", "job of the default worker", "training worker"),
    *("job of the training worker", "live worker", "training process", "scheduler", "broker"),
)
STOPPED = ("web worker", "default worker", "training worker", "training process", "scheduler", "broker")
SHORTEST, LONGEST = 2.0, 8.0
"""Seconds that something stays stopped, full, locked or cut off."""
CLOCK_SECONDS = 3_600
FILL_STEP = 2**20
LOCKED_TABLE = "annotate_judgment"


@dataclass(frozen=True)
class Kind:
    """act: does it, and returns False where there was nothing to do it to."""

    name: str
    act: Callable[[Site, random.Random], bool]


def possible(site: Site) -> list[Kind]:
    """The kinds that this site can have."""
    kinds = [Kind(f"SIGKILL: {name}", _killing(name)) for name in KILLED]
    kinds += [Kind(f"SIGSTOP: {name}", _stopping(name)) for name in STOPPED]
    kinds += [Kind("SIGKILL: supervisor", _kill_supervisor), Kind("slow database", _lock_database)]
    if site.has_disk:
        kinds.append(Kind("full disk", _fill_disk))
    if site.has_clock:
        kinds += [Kind("clock an hour fast", _clock(CLOCK_SECONDS)), Kind("clock an hour slow", _clock(-CLOCK_SECONDS))]
    if site.database is not None:
        kinds += [
            Kind("SIGKILL: database", _kill_database),
            Kind("SIGSTOP: database connections", _stop_database),
            Kind("network cut to the database", _cut_network),
        ]
    return kinds


def missing(site: Site) -> list[str]:
    """What this machine can't have, each a sentence."""
    found = []
    if not site.has_disk:
        found.append("No full disk: this user may mount no file system.")
    if not site.has_clock:
        found.append("No clock that jumps: there is no C compiler (Debian: gcc).")
    if site.database is None:
        found.append("No network to cut and no database to kill: SQLite is a file (--database postgresql has both).")
    return found


def _killing(name: str) -> Callable[[Site, random.Random], bool]:
    def kill(site: Site, chance: random.Random) -> bool:
        if not (processes := site.processes().get(name, [])):
            return False
        signal_all([chance.choice(processes)], signal.SIGKILL)
        return True

    return kill


def _stopping(name: str) -> Callable[[Site, random.Random], bool]:
    def stop(site: Site, chance: random.Random) -> bool:
        if not (processes := site.processes().get(name, [])):
            return False
        with stopped([chance.choice(processes)], seconds=_seconds(chance)):
            return True

    return stop


def _kill_supervisor(site: Site, chance: random.Random) -> bool:
    site.service.process.kill()
    site.restart()
    return True


def _lock_database(site: Site, chance: random.Random) -> bool:
    """Every write waits."""
    seconds = _seconds(chance)
    if site.database is None:
        with contextlib.closing(sqlite3.connect(site.data / "hone.sqlite3", timeout=60, isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            held.execute("ROLLBACK")
        return True
    import psycopg

    with psycopg.connect(site.database.url) as connection:
        connection.execute(f"LOCK TABLE {LOCKED_TABLE} IN ACCESS EXCLUSIVE MODE")
        time.sleep(seconds)
        connection.rollback()
    return True


def _fill_disk(site: Site, chance: random.Random) -> bool:
    """Not a byte is free for some seconds."""
    filler = site.data / "filler"
    try:
        with filler.open("wb") as file, contextlib.suppress(OSError):
            free = os.statvfs(site.data).f_bavail * os.statvfs(site.data).f_frsize
            os.posix_fallocate(file.fileno(), 0, max(1, free - FILL_STEP))
        until = time.monotonic() + _seconds(chance)
        while time.monotonic() < until:
            # Whatever is given back meanwhile is taken again.
            with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(b"\0" * 4096):
                    pass
            time.sleep(0.2)
    finally:
        filler.unlink(missing_ok=True)
    return True


def _clock(jump: int) -> Callable[[Site, random.Random], bool]:
    def turn(site: Site, chance: random.Random) -> bool:
        site.set_clock(jump)
        time.sleep(_seconds(chance))
        site.set_clock(0)
        return True

    return turn


def _kill_database(site: Site, chance: random.Random) -> bool:
    assert site.database is not None
    site.database.kill()
    time.sleep(chance.uniform(0.0, SHORTEST))
    site.database.start()
    return True


def _stop_database(site: Site, chance: random.Random) -> bool:
    assert site.database is not None
    if not (processes := site.database.server_processes()):
        return False
    with stopped(chance.sample(processes, k=max(1, len(processes) // 2)), seconds=_seconds(chance)):
        return True


def _cut_network(site: Site, chance: random.Random) -> bool:
    assert site.database is not None
    site.database.cut()
    try:
        time.sleep(_seconds(chance))
    finally:
        site.database.heal()
    return True


def _seconds(chance: random.Random) -> float:
    return chance.uniform(SHORTEST, LONGEST)
