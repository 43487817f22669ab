"""`manage.py serve`, the real one, with a job that trains: up, one at a time, gone within six seconds, nothing lost."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from annotate.data import snapshots
from annotate.labeling import queue
from annotate.models import AuditEvent, Demonstration, Snapshot
from config.serving.descendants import descendants
from rlhf.models import TrainingRun
from rlhf.runs.queues import workers
from tests.conftest import ROOT, end, free_port, is_alive, wait_until
from tests.factories import volume
from tests.factories.cast import Cast, judge, make_cast, make_prompt, make_responses
from tests.models_core.tiny import make_tiny_model

Status = TrainingRun.Status
PATIENCE = 300.0
"""What is awaited comes within seconds on a quiet machine; a busy one may take many times as long."""
STOPPED_SECONDS = 30.0
"""Five times the six seconds that the supervisor keeps to by its own clock (test_processes.py holds those)."""
JUDGMENTS = 2_000
# A start of Hone is a dozen processes, and each test starts it once or twice.
pytestmark = pytest.mark.timeout(1200)


class Served:
    """Hone as `make run` starts it, with a data folder and a port of its own and the test's database."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.environment = environment | {
            "HONE_DATA": str(folder / "data"),
            "HONE_PORT": str(free_port()),
            "HONE_BASE_MODEL": str(make_tiny_model(folder / "tiny")),
        }
        self.said = folder / "said"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        with self.said.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,
            )
        wait_until(self.is_up, seconds=PATIENCE, what="Hone to be up")
        return self.process

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.said.read_text()
        return "Hone is up" in self.said.read_text()

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.environment['HONE_PORT']}{path}", timeout=20) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stop(self, number: signal.Signals) -> float:
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        return time.monotonic() - started

    def train_without_end(self, *settings: str) -> TrainingRun:
        """A run that is under way: steps are coming in from its process."""
        queued = self.manage("train", "kindness", "sft", "--set", "epochs=1000", "--set", "save_every=1", *settings)
        assert queued.returncode == 0, queued.stderr
        run = TrainingRun.objects.get(pk=json.loads(queued.stdout.splitlines()[-1])["run"])
        wait_until(lambda: self.is_training(run), seconds=PATIENCE, what="the run to train")
        return run

    @staticmethod
    def has_data(run: TrainingRun) -> bool:
        """Whether the run has its snapshot and its process has begun."""
        run.refresh_from_db()
        assert run.status not in (Status.FAILED, Status.CANCELLED), run.error
        return run.status == Status.SUCCEEDED or bool(run.process_group)

    @staticmethod
    def is_training(run: TrainingRun) -> bool:
        run.refresh_from_db()
        assert run.status not in TrainingRun.ENDED, run.error
        return run.status == Status.RUNNING and bool(run.process_group) and run.run_metrics.exists()


@pytest.fixture
def people(transactional_db: None) -> Cast:
    cast = make_cast()
    for number in range(200):
        prompt = make_prompt(cast.project, f"What is {number} plus one?")
        (response,) = make_responses(prompt, f"It is {number + 1}.", model="a person")
        Demonstration.objects.create(prompt=prompt, response=response)
    return cast


@pytest.fixture
def served(tmp_path: Path, process_environment: dict[str, str], people: Cast) -> Iterator[Served]:
    served = Served(tmp_path, process_environment)
    yield served
    end(served.process)


@pytest.mark.long
def test_ctrl_c_ends_a_running_job_in_time_and_the_next_start_goes_on(served: Served) -> None:
    wait_until(
        lambda: workers.listening() == {"default", "cpu", "live"}, seconds=PATIENCE, what="workers to be heard of"
    )
    assert served.get("/healthz") == (200, b"ok\n")
    assert served.get("/readyz")[0] == 200
    run = served.train_without_end()
    steps = run.run_metrics.count()
    processes = descendants(served.process.pid)
    assert run.process_group in processes

    second = served.manage("serve")
    assert second.returncode == 1
    assert second.stderr == (
        f"CommandError: Hone is already running with this data folder (process {served.process.pid}, "
        f"http://127.0.0.1:{served.environment['HONE_PORT']}).\n"
    )

    assert served.stop(signal.SIGINT) < STOPPED_SECONDS
    assert served.process.returncode == 0
    assert [process for process in processes if is_alive(process)] == []
    assert "Traceback" not in served.said.read_text()
    run.refresh_from_db()
    assert run.status == Status.QUEUED

    data = Path(served.environment["HONE_DATA"])
    # Made by serve, the broker, the web, workers and the training process.
    kept = [data, *data.rglob("*")]
    assert {"web.log", "valkey.conf", "secret_key"} <= {path.name for path in kept}
    assert any("runs" in path.parts for path in kept)
    assert [path for path in kept if not path.is_symlink() and path.stat().st_mode & 0o077] == []

    served.start()
    wait_until(lambda: served.is_training(run), seconds=PATIENCE, what="the run to go on")
    wait_until(lambda: run.run_metrics.count() > steps, seconds=PATIENCE, what="further steps")
    assert served.manage("sample", "kindness").returncode == 0  # the broker takes messages, too
    assert served.stop(signal.SIGTERM) < STOPPED_SECONDS


@pytest.mark.long
@pytest.mark.any_database
def test_a_killed_supervisor_leaves_no_process(served: Served) -> None:
    run = served.train_without_end()
    processes = descendants(served.process.pid)
    assert run.process_group in processes
    served.process.kill()
    served.process.wait()
    wait_until(lambda: not any(map(is_alive, processes)), seconds=PATIENCE, what="every process to end")
    served.start()
    wait_until(lambda: served.is_training(run), seconds=PATIENCE, what="the run to go on")
    served.stop(signal.SIGTERM)


def main_process(served: Served, *words: bytes) -> int | None:
    """The child of the supervisor with these words in its command."""
    for process in descendants(served.process.pid):
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            if set(words) <= set(command) and parent_of(process) == served.process.pid:
                return process
        except OSError:
            continue
    return None


@pytest.mark.long
@pytest.mark.any_database
def test_processes_that_die_or_stop_answering_are_replaced_and_the_training_is_kept(served: Served) -> None:
    """All at once: a worker is killed, and another, the scheduler and the web's two processes are stopped."""
    run = served.train_without_end("--set", "batch_size=1")  # for longer than they are watched
    training, attempt = run.process_group, run.attempt
    programs = {"worker live": b"live@%h", "worker cpu": b"cpu@%h", "scheduler": b"beat"}
    before = {name: main_process(served, word) for name, word in programs.items()}
    web = web_processes(served)
    assert None not in before.values()
    assert len(web) == 2
    for name, process in before.items():
        assert process is not None
        os.kill(process, signal.SIGKILL if name == "worker live" else signal.SIGSTOP)
    for process in web:
        os.kill(process, signal.SIGSTOP)

    def are_replaced() -> bool:
        return all(main_process(served, word) not in (None, before[name]) for name, word in programs.items())

    def is_web_replaced() -> bool:
        return not any(map(is_alive, web)) and len(web_processes(served)) == 2 and is_responding(served)

    wait_until(are_replaced, seconds=PATIENCE, what="other workers and another scheduler")
    wait_until(is_web_replaced, seconds=PATIENCE, what="other web processes")
    said = served.said.read_text()
    assert re.search(
        r"^The worker live was ended by SIGKILL.*; starting it again in 0\.5 s\. Its log: .*\.log$", said, re.M
    )
    for name in ("worker cpu", "scheduler", "web"):
        assert f"The {name} failed 4 health checks in a row and is killed." in said
    # The job put its run back with a checkpoint, and the new worker goes on with it.
    wait_until(
        lambda: served.is_training(run) and run.process_group != training, seconds=PATIENCE, what="the run to go on"
    )
    assert not is_alive(training)
    # It was handed back, not lost: that is no further attempt.
    assert run.attempt == attempt
    assert not AuditEvent.objects.filter(verb="run.lost").exists()
    assert served.stop(signal.SIGTERM) < STOPPED_SECONDS


def web_processes(served: Served) -> list[int]:
    """gunicorn's children."""
    found = []
    for process in descendants(served.process.pid):
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes()
            if b"gunicorn" in words and parent_of(process) != served.process.pid:
                found.append(process)
        except OSError:
            continue  # it has ended meanwhile
    return found


def parent_of(process: int) -> int:
    found = re.search(r"^PPid:\t(\d+)$", Path(f"/proc/{process}/status").read_text(), re.M)
    return int(found[1]) if found else 0


def is_responding(served: Served) -> bool:
    try:
        return served.get("/healthz") == (200, b"ok\n")
    except OSError:
        return False


def test_a_taken_port_is_said_at_once(tmp_path: Path, process_environment: dict[str, str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env=process_environment | {"HONE_DATA": str(tmp_path), "HONE_PORT": str(port)},
            capture_output=True,
            text=True,
        )
    assert result.returncode == 1
    assert result.stderr == (
        f"CommandError: Hone can't listen on 127.0.0.1:{port} (Address already in use); set HONE_PORT to a free port.\n"
    )


@pytest.mark.long
@pytest.mark.any_database
def test_a_training_on_thousands_of_judgments_runs_beside_exports_and_a_labeler(served: Served, people: Cast) -> None:
    """Snapshots report their progress, and their builders meet, while others write: none finds it locked."""
    volume.add_judgments(people.project, people.labeler, JUDGMENTS)
    volume.add_comparisons(people.project, range(JUDGMENTS, JUDGMENTS + 200))
    wait_until(
        lambda: workers.listening() == {"default", "cpu", "live"}, seconds=PATIENCE, what="workers to be heard of"
    )
    queued = served.manage("train", "kindness", "reward", "--set", "epochs=1", "--set", "max_length=64")
    assert queued.returncode == 0, queued.stderr
    run = TrainingRun.objects.get(pk=json.loads(queued.stdout.splitlines()[-1])["run"])
    for _number in range(3):
        snapshots.request(project=people.project, kind="rankings", by=people.manager)
    out = ["export_data", "kindness", "--format", "hone", "--out"]
    with ThreadPoolExecutor() as pool:
        exports = [pool.submit(served.manage, *out, str(served.said.parent / f"out-{number}")) for number in range(2)]
        while (assignment := queue.claim_next(labeler=people.second_labeler, project=people.project)) is not None:
            judge(assignment, [[pk] for pk in assignment.presentation])
            if all(export.done() for export in exports) and Served.has_data(run):
                break
        for export in exports:
            assert export.result().returncode == 0, export.result().stderr
    wait_until(lambda: Served.has_data(run), seconds=PATIENCE, what="the run to have its data")
    wait_until(lambda: not Snapshot.objects.exclude(state="ready").exists(), seconds=PATIENCE, what="every snapshot")
    assert Snapshot.objects.count() == 6
    assert Snapshot.objects.filter(rows__gte=JUDGMENTS).count() == 6
    served.stop(signal.SIGTERM)
    logs = {path.name: path.read_text() for path in (served.said.parent / "data" / "logs").glob("*.log")}
    assert [name for name, text in logs.items() if "database is locked" in text] == []
