"""How the children of a Celery worker of Hone's end."""

import subprocess
import sys
from pathlib import Path

from config.celery import app
from tests.conftest import ROOT, end, wait_until


def test_a_pool_child_ends_soon_though_its_worker_reads_no_results_any_more(
    embedded_broker: Path, process_environment: dict[str, str], tmp_path: Path
) -> None:
    """It happens to about one worker in twenty that is told to stop while it hands out a job."""
    app.control.purge()
    log, reply = tmp_path / "log", tmp_path / "reply"
    command = [sys.executable, "-m", "celery", "-A", "tests.config.result_wait_app", "worker", "--queues", "default"]
    command += [
        "--concurrency",
        "1",
        "--loglevel",
        "INFO",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    ]
    with log.open("wb") as output:
        worker = subprocess.Popen(command, cwd=ROOT, env=process_environment, stdout=output, stderr=output)
    try:
        wait_until(lambda: " ready." in log.read_text(), what="the worker to be ready")
        app.send_task("tests.wait_for_a_reader", [str(reply)], queue="default")
        wait_until(lambda: reply.exists() and bool(reply.read_text()), what="the child to give up")
        was_read, seconds = reply.read_text().split()
        assert was_read == "False"
        assert 0.9 < float(seconds) < 5, "billiard's own wait is 30 s, longer than a stop may take"
    finally:
        end(worker)
