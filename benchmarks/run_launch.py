"""A run started from its page beside the same command by hand: `python -m benchmarks launch`.

With everything of `make run` up, an admin starts a reward training of SmolLM2-135M by the page's form. Measured are the
seconds from sending the form to the end of the first training step, as the run's metrics have it, and those from the
first step to the last. Then Hone is stopped and the same command runs alone, so that the difference is what claiming,
watching and reporting a run cost. The pairs take turns in who comes first. `processor` is what everything of Hone but
the training uses of all cores meanwhile. The last line is one JSON object:

{"first_step_s": [...], "by_hand_first_step_s": [...], "steps_s": [...], "by_hand_steps_s": [...], "supervision": share,
"processor": [share, ...]}
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import service
from benchmarks.load.browser import Browser, Times
from benchmarks.load.people import succeeded
from config.serving import descendants
from models_core.contract import catalogue
from models_core.contract.rows import json_lines
from tests.faults.work import FilledIn, make_admin
from tests.harness.ports import free_port

LONGEST_SECONDS = 1_800.0
LOOK_SECONDS, WAIT_SECONDS = 0.1, 5.0
"""Between two looks, until the command is known and from then on: a look takes time from the run on the same cores."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks launch", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--judgments", type=int, default=1_000, help="to train on")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="a name of the catalogue, or a folder")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the training")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hone-launch-") as folder:
        if chosen.model in catalogue.MODELS:
            catalogue.resolve(chosen.model)
            Path(folder, "models").symlink_to(catalogue.default_store().resolve())
        figures = _measured(chosen, Path(folder))
    print(f"{'':<10}{'first step, s':>16}{'steps after it, s':>20}")
    for name, prefix in (("Hone", ""), ("by hand", "by_hand_")):
        first, steps = median(figures[f"{prefix}first_step_s"]), median(figures[f"{prefix}steps_s"])
        print(f"{name:<10}{first:>16.1f}{steps:>20.1f}")
    print(json.dumps(figures))
    return 0


def _measured(chosen: argparse.Namespace, data: Path) -> dict[str, Any]:
    port = free_port()
    hone = service.Service(data, port, chosen.model)
    hone.await_up()
    try:
        manager_name, _labelers = service.make_people(0)
        service.fill(prompts=chosen.judgments, judgments=chosen.judgments)
        admin = Browser(port, Times(), number=1)
        succeeded(admin.sign_in(make_admin(manager_name), service.PASSWORD), what="The sign-in")
        admin.get("/p/demo/models/", "models page")  # where the base model becomes a version
        settings = dict(each.split("=", 1) for each in chosen.set)
        # The first run of an installation compiles kernels, which are kept: it is not counted, and gives the command.
        command, *_figures = _by_page(hone, admin, settings)
        found: dict[str, list[float]] = {"first_step_s": [], "steps_s": []}
        found |= {f"by_hand_{name}": [] for name in found}
        found["processor"] = []
        for pair in range(chosen.pairs):
            for by_hand in (pair % 2 == 1, pair % 2 == 0):
                if by_hand:
                    hone.stop()
                    first, steps = _by_hand(command, data / f"by-hand-{pair}")
                    hone.start()
                    hone.await_up()
                else:
                    _command, first, steps, share = _by_page(hone, admin, settings)
                    found["processor"].append(round(share, 4))
                prefix = "by_hand_" if by_hand else ""
                found[f"{prefix}first_step_s"].append(round(first, 2))
                found[f"{prefix}steps_s"].append(round(steps, 2))
    finally:
        hone.stop()
    return {**found, "supervision": round(median(found["steps_s"]) / median(found["by_hand_steps_s"]) - 1, 4)}


def _by_page(hone: service.Service, admin: Browser, settings: dict[str, str]) -> tuple[list[str], float, float, float]:
    """The command of the run, seconds to its first step and from there to its last, and the others' share of cores."""
    from rlhf.models import TrainingRun
    from rlhf.runs.execution.run_files import RunFiles

    path = "/p/demo/training/new/reward"
    fields = FilledIn(admin.get(path, "page of a new run").text).fields
    fields |= {f"set_{name}": value for name, value in settings.items()}
    fields.pop("csrfmiddlewaretoken", None)
    before = set(TrainingRun.objects.values_list("pk", flat=True))
    began, command = time.time(), list[str]()
    succeeded(admin.post(path, fields, "start of a run"), what="The start of a run")
    until, used, seen = began + LONGEST_SECONDS, 0.0, began
    while True:
        run = TrainingRun.objects.exclude(pk__in=before).order_by("pk").first()
        if run is None:
            raise SystemExit("The form started no run; are the settings right?")
        if not command and (command := _training_command(hone)):
            used, seen = _others_seconds(hone), time.time()
        if run.ended or time.time() > until:
            break
        time.sleep(WAIT_SECONDS if command else LOOK_SECONDS)
    if run.status != TrainingRun.Status.SUCCEEDED or not command:
        raise SystemExit(f"The run ended as {run.status}: {run.error}")
    share = (_others_seconds(hone) - used) / (time.time() - seen) / len(os.sched_getaffinity(0))
    return command, *_times(RunFiles(run).run, began), share


def _by_hand(command: list[str], out: Path) -> tuple[float, float]:
    arguments = list(command)
    arguments[arguments.index("--out") + 1] = str(out)
    began = time.time()
    subprocess.run(
        [sys.executable, *arguments[1:]],
        cwd=service.ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return _times(out, began)


def _training_command(hone: service.Service) -> list[str]:
    for process in descendants.descendants(hone.process.pid):
        words = _words(process)
        if "models_core" in words and "--out" in words:
            return words
    return []


def _others_seconds(hone: service.Service) -> float:
    """What the processes of Hone have used of the processor, without trainings."""
    running = [hone.process.pid, *descendants.descendants(hone.process.pid)]
    return service.processor_seconds(process for process in running if "models_core" not in _words(process))


def _words(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode().strip("\0").split("\0")
    except OSError:  # it has ended meanwhile
        return []


def _times(folder: Path, began: float) -> tuple[float, float]:
    lines = json_lines.written(folder / "metrics.jsonl")
    steps = [line["time"] for line in lines if line.get("step", 0) > 0 and "loss" in line]
    return steps[0] - began, steps[-1] - steps[0]
