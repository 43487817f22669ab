"""The command line as another program sees it: exit status, the last line of each stream, and signals."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models_core import __main__ as command_line
from models_core.contract.runs.stopping import PARENT_VARIABLE
from models_core.contract.settings import STAGES
from tests.conftest import wait_until
from tests.models_core.tiny import make_tiny_model

ROOT = Path(__file__).resolve().parents[3]
PROMPT = {"id": "a", "prompt": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps(PROMPT) + "\n")
    return path


def run_whole(*arguments, capsys):
    """Exit status, lines of standard output, lines of standard error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        status = command_line.main([str(argument) for argument in arguments])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    captured = capsys.readouterr()
    return status, captured.out.rstrip("\n").split("\n"), captured.err.rstrip("\n").split("\n")


def run(*arguments, capsys):
    """Exit status, last line of standard output, last line of standard error."""
    status, out, err = run_whole(*arguments, capsys=capsys)
    return status, out[-1], err[-1]


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "models_core", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_sample_ends_with_one_json_object(model, prompts, tmp_path, capsys):
    out = tmp_path / "responses.jsonl"
    arguments = ["sample", "--model", model, "--data", prompts, "--samples", 2, "--out", out, "--seed", 4]
    status, last, _ = run(*arguments, "--set", "max_new_tokens=4", "--set", "precision=fp32", capsys=capsys)
    assert status == 0
    summary = json.loads(last)
    assert (summary["responses"], summary["precision"]) == (2, "float32")
    assert summary["seconds"] > 0
    assert len(json.loads(out.read_text())["responses"]) == 2


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--set", "top_p=2"], "The setting top_p must be a number from 0 to 1, not '2'."),
        (["--set", "epochs=2"], "There is no setting 'epochs' here"),
        (["--set", "top_p"], "--set takes KEY=VALUE, not 'top_p'."),
        (["--seed", "x"], "The setting seed must be a whole number"),
        (["--data", "absent.jsonl"], "There is no file absent.jsonl (--data)."),
        (["--model", "./absent"], "There is no model folder ./absent."),
    ],
)
def test_bad_input_is_status_2_and_a_sentence(model, prompts, tmp_path, capsys, extra, sentence):
    given = {"--model": model, "--data": prompts, "--out": tmp_path / "out"}
    flags = [part for flag, value in given.items() if flag not in extra for part in (flag, value)]
    status, last_out, last_err = run("sample", *flags, *extra, capsys=capsys)
    assert status == 2
    assert sentence in last_err
    assert last_out == ""
    assert not (tmp_path / "out").exists()


def test_a_broken_row_is_named_by_file_and_line(model, prompts, tmp_path, capsys):
    prompts.write_text(json.dumps(PROMPT) + "\n{\n")
    status, _, last = run("sample", "--model", model, "--data", prompts, "--out", tmp_path / "out", capsys=capsys)
    assert (status, last.startswith("prompts.jsonl, line 2: not valid JSON")) == (2, True)


def test_no_gpu_is_said(model, prompts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = ["sample", "--model", model, "--data", prompts, "--out", tmp_path / "out", "--device", "cuda"]
    status, _, last = run(*arguments, capsys=capsys)
    assert (status, last) == (2, "--device cuda: this machine has no GPU that torch can use.")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "Out of memory: take a smaller batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "Out of memory: take a smaller"),
        (OSError(28, "No space left on device"), "No space left on device: free some disk space"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "No space left on device: free some"),
        (PermissionError(13, "Permission denied", "x"), "A file could not be read or written: "),
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug"),
    ],
)
def test_what_the_machine_lacks_is_status_1_and_a_sentence(
    model, prompts, tmp_path, capsys, monkeypatch, error, sentence
):
    def fail(*_):
        raise error

    monkeypatch.setattr(command_line.COMMANDS["sample"], "run", fail)
    status, _, last = run("sample", "--model", model, "--data", prompts, "--out", tmp_path / "out", capsys=capsys)
    assert status == 1
    assert last.startswith(sentence)


def test_help_names_every_command_and_every_setting_without_loading_torch():
    program = "import sys; from models_core.cli.parser import build_parser; print(build_parser().format_help())"
    program += "; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(stage in done.stdout for stage in [*STAGES, "catalogue"])


def test_a_mistyped_flag_is_status_2():
    with pytest.raises(SystemExit) as caught:
        command_line.main(["sample", "--modle", "x"])
    assert caught.value.code == 2


def test_sigterm_stops_between_two_tokens_with_status_3(model, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(PROMPT | {"id": str(index)}) + "\n" for index in range(5000)))
    process = start(
        *("sample", "--model", model, "--data", prompts, "--samples", 64, "--out", tmp_path / "out"),
        *("--set", "batch_size=16", "--set", "precision=fp32"),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert "responses" in process.stderr.readline()  # it is sampling now
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert out == ""
    assert err.strip().split("\n")[-1].startswith("Stopped")
    assert not (tmp_path / "out").exists()


ORPHAN = """
import os, subprocess, sys
environment = os.environ | {sys.argv[2]: str(os.getpid())}
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=environment, stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
sys.stdin.read()
"""
CHILD = (
    "from models_core.contract.runs.stopping import follow_parent; import signal; follow_parent();"
    "print('ready', flush=True); signal.pause()"
)


DEAF_CHILD = (
    "from models_core.contract.runs import stopping; import time; stopping.ORPHAN_SECONDS = 0.3;"
    "stopping.follow_parent(); stopping.StopSignal().listen(); print('ready', flush=True); time.sleep(60)"
)


@pytest.mark.parametrize("code", [CHILD, DEAF_CHILD], ids=["asked", "killed"])
def test_a_command_ends_with_the_process_that_started_it(code):
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, code, PARENT_VARIABLE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    child, ready = parent.stdout.readline().split()
    assert ready == "ready"
    watch = os.pidfd_open(int(child))
    parent.kill()
    parent.communicate()

    assert select.select([watch], [], [], 30)[0], "the child outlived its parent"
    os.close(watch)


SUPERVISOR = """
import ctypes, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # as `manage.py serve`, it adopts what a dead worker leaves behind
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
worker = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], **pipes)
print(worker.pid, worker.stdout.readline().strip(), flush=True)
sys.stdin.read()
"""
SAVES = (
    "import pathlib, signal, sys\n"
    "from models_core.contract.runs.stopping import StopSignal, follow_parent\n"
    "stop = StopSignal().listen(); follow_parent(); print('ready', flush=True)\n"
    "while not stop.requested: signal.pause()\n"
    "pathlib.Path('FILE.asked').touch()\n"
    "signal.sigwait({signal.SIGUSR1})\n"
    "pathlib.Path('FILE').touch()"
)


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals")
def test_a_training_saves_although_supervisor_and_worker_die_one_after_the_other(tmp_path):
    saved = tmp_path / "saved"
    child_code = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n" + SAVES
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, ORPHAN, child_code.replace("FILE", str(saved)), PARENT_VARIABLE],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    worker, child, _ready = map(str, supervisor.stdout.readline().split())
    watch = os.pidfd_open(int(child))
    os.kill(int(worker), signal.SIGKILL)
    wait_until((tmp_path / "saved.asked").exists, what="the first SIGTERM")
    supervisor.kill()
    supervisor.communicate()
    assert not select.select([watch], [], [], 0.2)[0], "the second SIGTERM ended it"
    os.kill(int(child), signal.SIGUSR1)  # what it needs to save is there
    assert select.select([watch], [], [], 30)[0]
    os.close(watch)
    assert saved.exists()


def test_a_parent_that_died_too_early_is_noticed():
    done = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=ROOT, env=os.environ | {PARENT_VARIABLE: "1"}, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGTERM


def test_pretraining_and_evaluation_from_the_command_line(tmp_path, capsys):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(f"{number} is a number, and {number + 1} is one more. " * 6 for number in range(20)))
    small = ("vocab_size=300", "layers=1", "width=16", "heads=2", "max_length=32", "epochs=1", "precision=fp32")
    settings = [argument for value in small for argument in ("--set", value)]
    out = tmp_path / "run"
    status, last, _ = run("pretrain", "--data", corpus, "--eval", corpus, "--out", out, *settings, capsys=capsys)
    assert (status, last) == (2, "")
    measured = tmp_path / "measured.txt"
    measured.write_text("100 is a number, and 101 is one more. " * 6)
    status, last, _ = run("pretrain", "--data", corpus, "--eval", measured, "--out", out, *settings, capsys=capsys)
    assert status == 0
    trained = json.loads(last)
    report = tmp_path / "report.json"
    arguments = ("evaluate", "--model", out / "model", "--data", measured, "--out", report)
    status, lines, _ = run_whole(*arguments, "--set", "precision=fp32", capsys=capsys)
    assert status == 0
    assert lines[0].startswith("| measure")
    assert json.loads(lines[-1])["bits_per_byte"] == pytest.approx(trained["bits_per_byte"], abs=1e-6)
    assert json.loads(report.read_text())["documents"] == 1
