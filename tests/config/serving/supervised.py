"""A supervisor over programs that a test describes: `python -m tests.config.serving.supervised FOLDER PROGRAM.json...`

In a process of its own, as `serve` is, so that signals and the death of the supervisor can be tried out.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from config.serving import supervisor
from config.serving.supervisor import NotStarted, Program, Supervisor

# The broker of a test is a Python program, which a busy machine lets run much later than it is told to end.
supervisor.BROKER_STOP_SECONDS = 4.0


def main(folder: Path, described: list[str]) -> None:
    def program(name: str, code: str, *, beat: str = "", **options: Any) -> Program:
        """With a `beat` it answers while the file of that name is newer than half a second."""
        command = [sys.executable, "-c", code]
        answering = (lambda: is_fresh(folder / beat)) if beat else None
        return Program(name=name, command=command, log=folder / f"{name}.log", is_responding=answering, **options)

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        programs = [program(**json.loads(one)) for one in described]
        Supervisor(programs, say=say, watch_seconds=0.5).run(on_ready=lambda: say("ready"))
    except NotStarted as error:
        say(str(error))
        sys.exit(1)
    say("stopped")


def is_fresh(beat: Path) -> bool:
    return beat.exists() and time.time() - beat.stat().st_mtime < 0.5


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
