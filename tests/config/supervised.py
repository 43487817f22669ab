"""A supervisor over programs that a test describes: `python -m tests.config.supervised FOLDER PROGRAM.json...`

In a process of its own, as `serve` is, so that signals and the death of the supervisor can be tried out.
"""

import json
import sys
from pathlib import Path

from config.processes import NotStarted, Program, Supervisor


def main(folder: Path, described: list[str]) -> None:
    def program(name: str, code: str, **options: bool) -> Program:
        return Program(name=name, command=[sys.executable, "-c", code], log=folder / f"{name}.log", **options)

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        Supervisor([program(**json.loads(one)) for one in described], say=say).run(on_ready=lambda: say("ready"))
    except NotStarted as error:
        say(str(error))
        sys.exit(1)
    say("stopped")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
