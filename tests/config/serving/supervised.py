"""A supervisor over programs that a test describes: `python -m tests.config.serving.supervised FOLDER PROGRAM.json...`

In a process of its own, as `serve` is, so that signals and the death of the supervisor can be tried out.
"""

import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from config.serving import supervisor
from config.serving.supervisor import NotStarted, Program, Supervisor

# The broker of a test is a Python program, which a busy machine lets run long after it received the signal to end.
supervisor.BROKER_STOP_SECONDS = 4.0


def main(folder: Path, described: list[str]) -> None:
    def program(name: str, code: str, *, is_watched: bool = False, replies: str = "", **options: Any) -> Program:
        """A watched program responds unless it is stopped. Or its replies are given: y and n, then y for ever."""
        command = [sys.executable, "-c", code]
        given = iter(replies)
        is_responding: Callable[[], bool] | None = None
        if replies:
            is_responding = partial(next_reply, given, folder / "events")
        elif is_watched:
            is_responding = partial(is_not_stopped, name, folder / "events")
        return Program(name=name, command=command, log=folder / f"{name}.log", is_responding=is_responding, **options)

    def say(line: str) -> None:
        if (folder / "full").exists():
            with (folder / "events").open("a") as file:
                file.write(f"unsaid: {line}\n")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        print(line, flush=True)

    try:
        programs = [program(**json.loads(one)) for one in described]
        Supervisor(programs, say=say, watch_seconds=0.5).run(on_ready=lambda: say("ready"))
    except NotStarted as error:
        say(str(error))
        sys.exit(1)
    say("stopped")


def is_not_stopped(name: str, events: Path) -> bool:
    """By the kernel's word, not by the time since it was heard of: on a busy machine nobody is heard of for long."""
    noted = re.findall(rf"^{name} is (\d+)$", events.read_text() if events.exists() else "", re.M)
    try:
        responds = not noted or Path(f"/proc/{noted[-1]}/stat").read_text().rpartition(")")[2].split()[0] != "T"
    except OSError:
        return False
    with events.open("a") as file:
        file.write(f"asked about {name}\n")
    return responds


def next_reply(given: Iterator[str], events: Path) -> bool:
    reply = next(given, "")
    with events.open("a") as file:
        file.write(f"reply {reply or 'y, and no more are given'}\n")
    return reply != "n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
