"""The real parts that tests stand on: a browser, a broker, workers, and processes that see the database under test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from absl import logging as absl_logging
from django.conf import settings
from django.db import connection
from django.utils import translation

from config.serving import broker
from tests.databases import migrated_database, open_cursors
from tests.harness.browser import browser, sign_in
from tests.harness.ports import free_port

__all__ = ["browser", "free_port", "sign_in"]

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0

# What tensorboard logs with takes the stream of the moment it is imported, which may be pytest's own of one test, and
# closes it when logging is set up again: every later test of the process would fail.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="session")
def migrated_cache(request: pytest.FixtureRequest) -> Path:
    assert request.config.cache is not None
    return request.config.cache.mkdir("migrated")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(migrated_cache: Path, django_db_modify_db_settings_parallel_suffix: None) -> None:
    """pytest-django's place for what comes before the test database is opened: put a migrated one there."""
    migrated_database.prepare(connection.settings_dict, cache=migrated_cache)
    options = connection.settings_dict["OPTIONS"]
    if "init_command" in options:
        # Tests end processes, not the machine: what was written is there without waiting for the disk, whose other work
        # has kept a commit for longer than the others wait. Processes of their own settings write as users' do.
        options["init_command"] = options["init_command"].replace("synchronous=FULL", "synchronous=OFF")


@pytest.fixture(scope="session")
def migrated_sqlite(migrated_cache: Path) -> Callable[[Path], None]:
    """Puts a migrated SQLite database into a data folder, for processes that have one of their own."""
    return lambda folder: migrated_database.copy_sqlite(folder / "hone.sqlite3", cache=migrated_cache)


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """The database is there already; it goes with the folder or the server that it is in."""
    return True


@pytest.fixture(autouse=True)
def no_write_beside_an_open_query() -> Iterator[None]:
    with open_cursors.refuse_writes():
        yield


def wait_until(condition: Callable[[], object], *, seconds: float = 30.0, what: str = "") -> None:
    """Ask again and again until the condition holds; fail with its name when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s in vain for {what or condition}")
        time.sleep(0.02)


def is_alive(process_id: int | None) -> bool:
    """Whether there is such a process, and it isn't one that has ended and waits for its parent."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def end(process: subprocess.Popen[bytes], *, seconds: float = 15.0) -> None:
    """Stop a process with SIGTERM, or with SIGKILL when it doesn't listen."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def no_language_left_active() -> Iterator[None]:
    """A request activates its language for the thread, and the next test runs in the same one."""
    yield
    translation.deactivate()


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[Path]:
    """The embedded Valkey of the test's data folder, running; settings.CELERY_BROKER_URL already points to it."""
    folder = settings.HONE_DATA
    process = subprocess.Popen(broker.prepare(folder), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    wait_until(lambda: broker.is_responding(folder), what="the embedded broker")
    yield broker.socket_path(folder)
    end(process)


def test_database_url() -> str:
    """The address of the database that the running test writes to, for child processes."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    return os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{values['NAME']}"


test_database_url.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def process_environment(transactional_db: None) -> dict[str, str]:
    """Environment of a child process that shall see the test's database, broker and data folder."""
    return {
        **os.environ,
        "DATABASE_URL": test_database_url(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def celery_worker_process(
    embedded_broker: Path, process_environment: dict[str, str], tmp_path: Path
) -> Iterator[StartWorker]:
    """Starts real Celery workers: `celery_worker_process("default", "cpu")` returns one that listens to both queues.

    It returns when the worker is ready for messages. Every worker is stopped at the end; its output is in
    tmp_path/worker-N.log. Messages that an earlier test left behind are dropped first.
    """
    from config.celery import app

    app.control.purge()
    workers: list[subprocess.Popen[bytes]] = []

    def start(*queues: str, concurrency: int = 1, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        log = tmp_path / f"worker-{len(workers)}.log"
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "config",
            "worker",
            "--queues",
            ",".join(queues or ("default",)),
        ]
        command += ["--concurrency", str(concurrency), "--hostname", f"test{len(workers)}-{os.getpid()}@%h"]
        command += ["--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        with log.open("wb") as output:
            worker = subprocess.Popen(
                command, cwd=ROOT, env={**process_environment, **(env or {})}, stdout=output, stderr=subprocess.STDOUT
            )
        workers.append(worker)

        def is_ready() -> bool:
            said = log.read_text(encoding="utf-8", errors="replace")
            if worker.poll() is not None:
                pytest.fail(f"the worker ended with status {worker.returncode}:\n{said}")
            return " ready." in said

        wait_until(is_ready, seconds=START_SECONDS, what="a worker to be ready")
        return worker

    yield start
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
    for worker in workers:
        end(worker)
