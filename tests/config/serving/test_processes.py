"""The supervisor, with small programs in the place of web and workers: order, restarts, and nobody left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.serving import liveness, programs, supervisor
from tests.conftest import ROOT, is_alive, wait_until

# Each writes its process id, and "ended" when it is told to stop, to the file that all share.
HEAD = """
import os, signal, subprocess, sys, time
def note(text):
    with open("events", "a") as file: file.write(text + "\\n")
"""
POLITE = (
    HEAD
    + """
def leave(*_):
    note("NAME left"); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
note(f"NAME is {os.getpid()}")
while True: time.sleep(1)
"""
)
SLOW = POLITE.replace('note("NAME left")', 'time.sleep(0.5); note("NAME left")')
STUBBORN = (
    HEAD
    + """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
note(f"NAME is {os.getpid()}")
# As a training process: a session of its own, and as deaf.
code = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
code += "; print(os.getpid(), flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
note(f"child is {int(child.stdout.readline())}")
while True: time.sleep(1)
"""
)

Start = Callable[..., "Supervised"]


class Supervised:
    """A running supervisor, what it says, and what its programs noted."""

    def __init__(self, folder: Path, programs: list[dict[str, object]]) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.config.serving.supervised", str(folder), *map(json.dumps, programs)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=(folder / "said").open("wb"),
            stderr=subprocess.STDOUT,
        )

    def events(self) -> list[str]:
        path = self.folder / "events"
        return path.read_text().splitlines() if path.exists() else []

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def ids(self, name: str) -> list[int]:
        return [int(line.split()[-1]) for line in self.events() if line.startswith(f"{name} is ")]

    def wait_for(self, *names: str) -> None:
        wait_until(lambda: all(self.ids(name) for name in names), what=f"{names} to run")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Seconds until it was gone."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        return time.monotonic() - started


def program(name: str, code: str, **options: object) -> dict[str, object]:
    return {"name": name, "code": code.replace("NAME", name), **options}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Supervised] = []

    def start_them(*programs: dict[str, object]) -> Supervised:
        started.append(Supervised(tmp_path, list(programs)))
        return started[-1]

    yield start_them
    for supervised in started:
        if supervised.process.poll() is None:
            supervised.process.kill()
            supervised.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_broker_leaves_last(start: Start, number: signal.Signals) -> None:
    supervised = start(program("broker", POLITE, is_broker=True), program("web", POLITE), program("worker", SLOW))
    supervised.wait_for("broker", "web", "worker")
    assert supervised.stop(number) < 15
    assert supervised.process.returncode == 0
    *others, last = [line for line in supervised.events() if line.endswith("left")]
    assert (sorted(others), last) == (["web left", "worker left"], "broker left")
    assert supervised.said().splitlines() == ["ready", "stopped"]


def test_a_ctrl_c_of_the_terminal_reaches_the_supervisor_alone(start: Start) -> None:
    supervised = start(program("web", POLITE))
    supervised.wait_for("web")
    (web,) = supervised.ids("web")
    assert os.getpgid(web) == web != os.getpgid(supervised.process.pid)
    supervised.stop(signal.SIGINT)
    assert "Traceback" not in (supervised.folder / "web.log").read_text()


def test_the_time_to_stop_is_less_than_six_seconds() -> None:
    assert supervisor.STOP_SECONDS + supervisor.BROKER_STOP_SECONDS + 4 * supervisor.TICK_SECONDS < 6


def test_what_does_not_listen_is_gone_in_time_and_its_children_too(start: Start) -> None:
    supervised = start(program("broker", POLITE, is_broker=True), program("worker", STUBBORN))
    supervised.wait_for("broker", "child")
    processes = [supervised.ids(name)[0] for name in ("broker", "worker", "child")]
    assert all(map(is_alive, processes))
    assert supervised.stop() < 30  # the time above, and five times that on a busy machine
    assert not any(map(is_alive, processes))
    assert "broker left" in supervised.events()


def test_an_orphan_of_a_dead_worker_is_ended_too(start: Start) -> None:
    supervised = start(program("worker", STUBBORN))
    supervised.wait_for("child")
    os.kill(supervised.ids("worker")[0], signal.SIGKILL)
    wait_until(lambda: len(supervised.ids("child")) == 2, what="the worker to run again")
    supervised.stop()
    assert not any(map(is_alive, supervised.ids("child") + supervised.ids("worker")))


def test_what_dies_is_started_again_later_each_time_and_said(start: Start) -> None:
    supervised = start(program("web", HEAD + 'note(f"web is {os.getpid()}"); print("no such table"); sys.exit(3)'))
    wait_until(lambda: len(supervised.ids("web")) == 3, what="two restarts")
    supervised.stop()
    log = supervised.folder / "web.log"
    assert supervised.said().splitlines()[:3] == [
        "ready",
        f"The web ended with status 3 (no such table); starting it again in 0.5 s. Its log: {log}",
        f"The web ended with status 3 (no such table); starting it again in 1 s. Its log: {log}",
    ]


def test_a_full_disk_ends_no_supervisor(start: Start) -> None:
    supervised = start(program("web", POLITE))
    supervised.wait_for("web")
    log = supervised.folder / "web.log"
    log.unlink()
    log.mkdir()  # no log can be opened
    (supervised.folder / "full").touch()  # and nothing said
    os.kill(supervised.ids("web")[0], signal.SIGKILL)
    said = "unsaid: The web can't be started (Is a directory); trying again in "
    wait_until(lambda: any(line.startswith(said) for line in supervised.events()), what="a start that fails")
    (supervised.folder / "full").unlink()
    log.rmdir()
    wait_until(lambda: len(supervised.ids("web")) == 2, what="the web to run again")
    supervised.stop()
    assert supervised.process.returncode == 0


def test_a_program_that_ends_is_not_started_again(start: Start) -> None:
    supervised = start(
        program(
            "download", HEAD + 'note(f"download is {os.getpid()}"); print("no index"); sys.exit(2)', is_one_shot=True
        ),
        program("web", POLITE),
    )
    wait_until(lambda: "The download ended with status 2 (no index)." in supervised.said(), what="the word about it")
    time.sleep(0.8)  # longer than the first delay of a restart
    assert len(supervised.ids("download")) == 1
    supervised.stop()


def test_only_sentences_reach_the_terminal(start: Start) -> None:
    supervised = start(
        program("web", POLITE),
        program(
            "download",
            HEAD + 'print("converting: 50%|#####     |\\r{}")',
            is_one_shot=True,
            start_message="Fetching the model.",
            end_message="The model is here.",
        ),
    )
    wait_until(lambda: "The model is here." in supervised.said(), what="the word about it")
    supervised.stop()
    assert supervised.said().splitlines() == ["Fetching the model.", "ready", "The model is here.", "stopped"]


def test_every_program_of_serve_writes_into_a_log() -> None:
    names = {program.name: program.log for program in programs.all_programs()}
    assert {"broker", "web", "scheduler", "worker default", "download of the base model"} <= set(names)
    assert all(names.values())


def test_a_killed_supervisor_leaves_nobody(start: Start) -> None:
    supervised = start(program("broker", POLITE, is_broker=True), program("web", POLITE))
    supervised.wait_for("broker", "web")
    supervised.process.kill()
    supervised.process.wait()
    for name in ("broker", "web"):
        wait_until(lambda name=name: not is_alive(supervised.ids(name)[0]), what=f"the end of {name}")


def test_what_stops_answering_is_started_anew_with_its_children(start: Start) -> None:
    supervised = start(program("web", POLITE, is_watched=True))
    supervised.wait_for("web")
    time.sleep(2)  # several questions, all answered
    assert len(supervised.ids("web")) == 1
    first = supervised.ids("web")[0]
    os.kill(first, signal.SIGSTOP)
    wait_until(lambda: len(supervised.ids("web")) == 2, what="another web")
    assert not is_alive(first)
    assert "The web failed 4 health checks in a row and is killed.\n" in supervised.said()
    assert re.search(r"^The web was ended by SIGKILL.*; starting it again in 0\.5 s", supervised.said(), re.M)
    time.sleep(2)
    assert len(supervised.ids("web")) == 2  # the new one responds, and the old one's misses aren't held against it
    supervised.stop()


WORKER = (
    HEAD
    + """
import ctypes
# As a worker's pool: one child puts its work back when the worker is gone, the other one is stuck.
def child(name, on_term):
    if os.fork(): return
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    signal.signal(signal.SIGTERM, on_term)
    note(f"{name} is {os.getpid()}")
    while True: time.sleep(60)
def put_back(*_):
    time.sleep(0.5); note("job put back"); os._exit(0)
child("job", put_back)
child("stuck", signal.SIG_IGN)
note(f"NAME is {os.getpid()}")
while True: time.sleep(1)
"""
)


def test_children_of_a_silent_worker_put_their_work_back(start: Start) -> None:
    supervised = start(program("worker", WORKER, is_watched=True, children_stop_seconds=3.0))
    supervised.wait_for("worker", "job", "stuck")
    first, job, stuck = (supervised.ids(name)[0] for name in ("worker", "job", "stuck"))
    # Before its first reply it is given time.
    wait_until(lambda: "asked about worker" in supervised.events(), what="the first health check")
    os.kill(first, signal.SIGSTOP)
    wait_until(lambda: len(supervised.ids("worker")) == 2, what="another worker")
    wait_until(lambda: not is_alive(stuck), what="the stuck child to be ended")
    assert not is_alive(first)
    assert not is_alive(job)
    assert supervised.events().count("job put back") == 1
    assert all(map(is_alive, [supervised.ids(name)[1] for name in ("worker", "job", "stuck")]))
    supervised.stop()


def test_a_liveness_counts_for_a_while_and_silence_without_a_broker_does_not(tmp_path: Path) -> None:
    broker = {"answers": True}
    watched = liveness.LivenessFile(
        tmp_path / "logs" / "worker.alive", is_broker_responding=lambda: broker["answers"], silence_seconds=60
    )
    watched.prepare()
    assert not watched.is_responding()
    watched.path.touch()
    assert watched.is_responding()
    os.utime(watched.path, (time.time() - 61, time.time() - 61))
    assert not watched.is_responding()
    broker["answers"] = False
    assert watched.is_responding()
    # It is back: a worker finds it again within half a minute.
    broker["answers"] = True
    assert watched.is_responding()
    watched.prepare()
    assert not watched.path.exists()


def test_a_short_silence_is_forgiven(start: Start) -> None:
    supervised = start(program("web", POLITE, replies="ynnnynnny"))
    wait_until(lambda: any("no more" in line for line in supervised.events()), what="the replies to be given")
    (web,) = supervised.ids("web")
    assert is_alive(web)
    assert "health checks" not in supervised.said()
    supervised.stop()


def test_what_has_not_answered_yet_is_given_time(start: Start) -> None:
    supervised = start(program("worker", POLITE, replies="nnnnnnny"))
    wait_until(lambda: any("no more" in line for line in supervised.events()), what="the replies to be given")
    (worker,) = supervised.ids("worker")
    assert is_alive(worker)
    assert "health checks" not in supervised.said()
    supervised.stop()


def test_a_log_is_shortened_while_its_program_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "web.log"
    with log.open("ab") as file:
        file.write(b"x" * (supervisor.LONGEST_LOG + 1))
        file.flush()
        supervisor._truncate(log)
        file.write(b"a new line\n")
    assert log.read_bytes() == b"a new line\n"
    assert log.with_name("web.log.old").stat().st_size == supervisor.LONGEST_LOG + 1
