"""Break Hone under load, again and again, and count what is lost: `python -m tests.faults --faults N`.

Labelers submit over HTTP, exports and training runs of a small model are started, and every few seconds one part is
killed with SIGKILL, stopped, starved of disk or cut off, drawn by `--seed`. Afterwards everything that was begun has to
end by itself, and then every acknowledged judgment must be there once, no task given to more labelers than it wants,
every run ended, every hash as it was. With `--database postgresql` the database runs in a network namespace. The last
line is one JSON object: {"faults": {kind: times}, "broken": {promise: count}, …}. The status is 1 where a
promise broke.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.database import Database, Unavailable
from tests.faults.site import Site
from tests.harness.ports import free_port

GAP_SECONDS = (0.5, 4.0)
"""Between two faults: some meet a Hone that has not recovered from the last one."""
RECOVERY_SECONDS = 180.0
"""After the last fault, within which every labeler has to work again."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="the longest time to break things")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--labelers", type=int, default=8)
    parser.add_argument("--no-runs", action="store_true", help="labelers and exports alone, without training")
    parser.add_argument("--seed", type=int, help="of the faults drawn; by default another one each time")
    parser.add_argument("--kind", action="append", help="faults whose name has this in it; may be given again")
    parser.add_argument("--keep", action="store_true", help="leave the folder with logs and database there")
    chosen = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(10**9) if chosen.seed is None else chosen.seed
    folder = Path(tempfile.mkdtemp(prefix="hone-faults-"))
    try:
        database = Database(folder) if chosen.database == "postgresql" else None
    except Unavailable as reason:
        print(reason)
        return 2
    site = Site(folder, port=free_port(), database=database)
    try:
        site.await_up()
        return _campaign(site, chosen, seed)
    finally:
        site.stop()
        if database is not None:
            database.stop()
        if not chosen.keep:
            site.unmount()
            shutil.rmtree(folder, ignore_errors=True)


def _campaign(site: Site, chosen: argparse.Namespace, seed: int) -> int:
    from django.db import connection

    from tests.faults import kinds, promises
    from tests.faults.work import Work

    for sentence in kinds.missing(site):
        print(sentence, flush=True)
    drawn = [kind for kind in kinds.possible(site) if any(part in kind.name for part in chosen.kind or [""])]
    if not drawn:
        raise SystemExit("No fault of this machine has such a name.")
    work, chance, done = (
        Work(site.port, chosen.labelers, chosen.faults, has_runs=not chosen.no_runs),
        random.Random(seed),
        Counter[str](),
    )
    work.begin()
    began = time.monotonic()
    print(f"Seed {seed}; {len(drawn)} kinds of faults.", flush=True)
    while done.total() < chosen.faults and time.monotonic() - began < chosen.minutes * 60:
        time.sleep(chance.uniform(*GAP_SECONDS))
        kind = chance.choice(drawn)
        at = time.monotonic() - began
        site.revive()  # before the next fault could hide that it has ended
        if kind.act(site, chance):
            done[kind.name] += 1
            count = len(work.acknowledged)
            print(f"{at:7.1f} s  {done.total():>4}  {kind.name}  ({count} judgments acknowledged)", flush=True)
    site.revive()
    connection.close()  # the server may have been killed since it was opened
    idle = work.await_everybody(RECOVERY_SECONDS)
    work.end()
    unfinished = promises.await_end()
    site.revive()
    seconds = time.monotonic() - began
    leftovers = site.stop()
    broken = {
        **promises.broken(work.acknowledged),
        **unfinished,
        "labelers who could not work again": idle,
        "supervisors that ended by themselves": len(site.ended_by_itself),
        "processes that outlived their supervisor": len(leftovers),
    }
    print("\n".join(work.times.table()))
    print("\n".join(f"{name:<45}{times:>6}" for name, times in sorted(done.items())))
    counts = promises.counts()
    print("\n".join(f"{name}: {count}" for name, count in counts.items()))
    print("\n".join([*promises.failures()[:40], *site.ended_by_itself]))
    print("\n".join([f"{len(work.refused)} submits refused", *work.refused[:10]]))
    print("\n".join(f"{name}: {count}{' BROKEN' if count else ''}" for name, count in broken.items()))
    found = {
        "seed": seed, "database": chosen.database, "seconds": round(seconds),
        "faults": dict(done), "broken": broken,
        "acknowledged": len(work.acknowledged), "refused": len(work.refused), "counts": counts,
    }  # fmt: skip
    print(json.dumps(found))
    return 1 if any(broken.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
