"""The broker, workers and scheduler of a demo's own data folder, for as long as the demo runs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from config.serving.supervisor import LAUNCH
from rlhf.runs.queues import workers

QUEUES = {"default", "cpu"}
START_SECONDS = 120.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.2


class ServicesFailed(Exception):
    """They didn't come up: a sentence for the user."""


@contextmanager
def running() -> Iterator[None]:
    """`manage.py serve --without web` until the block ends, or this process does. Raises ServicesFailed."""
    log = Path(settings.HONE_DATA) / "logs" / "serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-S", str(LAUNCH), str(os.getpid())]
    command += [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "serve", "--without", "web"]
    with log.open("ab") as output:
        serve = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0)
    try:
        _await_workers(serve, log)
        yield
    finally:
        serve.terminate()
        try:
            serve.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            serve.kill()
            serve.wait()


def _await_workers(serve: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not workers.listening() >= QUEUES:
        if serve.poll() is not None:
            last = (log.read_text(encoding="utf-8", errors="replace").strip() or "nothing").split("\n")[-1]
            raise ServicesFailed(f"The workers did not start; the last line of {log} is: {last}")
        if time.monotonic() > deadline:
            raise ServicesFailed(f"No worker listens after {START_SECONDS:.0f} s. Their logs are in {log.parent}.")
        time.sleep(POLL_SECONDS)
