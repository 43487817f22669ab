"""`python -m tests.fuzz --minutes N`: run the parts by turns, print what failed with its command, and a summary.

With `--part` those alone, with `--cases` so many of each. The last line is one JSON object: of each part the number of
cases, the slowest with its seed, and the seeds that failed. The status is 1 where anything failed.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.harness.ports import free_port

NAMES = (
    *("shown", "compared", "masked", "kept", "tokenised"),
    *("lines", "rows", "unknown_keys", "values", "files"),
    *("round_trip", "web"),
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--part", action="append", choices=NAMES, help="may be given several times; all by default")
    parser.add_argument("--seed", type=int, help="of the first case; by default another one each time")
    parser.add_argument("--cases", type=int, help="of each part, if the time is enough")
    chosen = parser.parse_args(arguments)
    wanted = chosen.part or list(NAMES)
    seed = random.SystemRandom().randrange(10**9) if chosen.seed is None else chosen.seed
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hone-fuzz-")))
        # Settings are read once in a process, and before anything is imported that needs them.
        for name in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(name, None)
        os.environ |= {"HONE_DATA": str(folder), "HONE_LOG_LEVEL": "ERROR"}
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        import django

        django.setup()
        from tests.fuzz import campaign, file_parts, project_parts, text_parts, web_part

        parts = [*text_parts.PARTS, *file_parts.PARTS, *project_parts.PARTS]
        if {"web", "round_trip"} & {*wanted}:
            project_parts.prepare(folder)
        if "web" in wanted:
            server = web_part.Server(folder, port=free_port())
            server.fill()
            stack.enter_context(server.running())
            parts += web_part.parts(server)
        parts = [part for part in parts if part.name in wanted]
        tallies = campaign.run(
            parts, seed=seed, until=time.monotonic() + 60 * chosen.minutes, most_cases=chosen.cases, said=_said
        )
    for name, tally in tallies.items():
        print(f"{name:<14}{tally.cases:>8} cases, slowest {tally.slowest:.2f} s, {len(tally.failures)} failed")
    found = {
        name: {
            "cases": tally.cases,
            "slowest_s": round(tally.slowest, 3),
            "slowest_seed": tally.slowest_seed,
            "failed": [failure.seed for failure in tally.failures],
        }
        for name, tally in tallies.items()
    }
    print(json.dumps({"seed": seed, "parts": found}))
    return 1 if any(tally.failures for tally in tallies.values()) else 0


def _said(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
