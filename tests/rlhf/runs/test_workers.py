"""Runs in real Celery workers: killed, told to stop, told twice, and with nobody listening."""

import os
import signal
import subprocess
import sys
import time

import pytest
from django.core.management import CommandError, call_command

from config.celery import app
from rlhf.models import ModelVersion, RunMetric, TrainingRun, WorkerHeartbeat
from rlhf.runs import launch, runs, waiting
from rlhf.runs.execution import supervisor
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.queues import workers
from tests.conftest import StartWorker, is_alive, test_database_url, wait_until
from tests.factories.cast import Cast
from tests.rlhf.conftest import SAMPLING, TINY, make_judgments, make_prompts

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]
Status = TrainingRun.Status
SECONDS = 120.0
LONG = {**TINY, "epochs": 150, "batch_size": 2, "save_every": 5}


def start_reward_run(cast: Cast) -> TrainingRun:
    make_judgments(cast, 6)
    return launch.start(project=cast.project, stage="reward", by=None, config=LONG)


def wait_for_step(run: TrainingRun, step: int) -> None:
    wait_until(lambda: RunMetric.objects.filter(run=run, step__gte=step).exists(), seconds=SECONDS, what=f"step {step}")
    run.refresh_from_db()


def wait_for(run: TrainingRun, *statuses: str) -> None:
    def has_come() -> bool:
        run.refresh_from_db()
        return run.status in statuses

    wait_until(has_come, seconds=SECONDS, what=f"the run to be {statuses}")


def supervising_process(run: TrainingRun) -> int:
    return int(run.worker.rpartition("/")[2])


@pytest.mark.long
@pytest.mark.both_databases
def test_a_run_whose_worker_and_supervisor_are_killed_is_lost_found_and_resumed_to_its_end(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion
) -> None:
    worker = celery_worker_process("cpu")
    run = start_reward_run(cast)
    wait_for_step(run, 12)
    # Found first: a supervisor that outlives its worker asks the child to stop, and a second request ends it at once.
    child, pool_child = run.process_group, supervising_process(run)
    os.kill(worker.pid, signal.SIGKILL)
    os.kill(pool_child, signal.SIGKILL)
    worker.wait()
    wait_until(lambda: not is_alive(child), seconds=SECONDS, what="the orphaned child to end")
    run.refresh_from_db()
    assert run.status == Status.RUNNING  # nobody was left to write otherwise

    celery_worker_process("default", "cpu")
    wait_for(run, *TrainingRun.ENDED)
    assert (run.status, run.attempt, run.error) == (Status.SUCCEEDED, 2, "")
    steps = list(RunMetric.objects.filter(run=run, name="loss").order_by("step").values_list("step", flat=True))
    assert steps == list(range(1, len(steps) + 1))
    assert "Stopped after step" in RunFiles(run).log.read_text()  # the orphan saved before it went
    assert run.produced is not None


def test_a_killed_worker_s_supervisor_puts_the_run_back_itself(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion
) -> None:
    worker = celery_worker_process("cpu")
    run = start_reward_run(cast)
    wait_for_step(run, 3)
    child, pool_child = run.process_group, supervising_process(run)
    os.kill(worker.pid, signal.SIGKILL)
    wait_for(run, Status.QUEUED)
    assert run.attempt == 0
    assert not is_alive(child)
    wait_until(lambda: not is_alive(pool_child), what="the pool child to end")


def test_a_worker_told_to_stop_puts_its_run_back_within_six_seconds(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion
) -> None:
    worker = celery_worker_process("cpu")
    assert workers.is_listening("cpu")
    run = start_reward_run(cast)
    wait_for_step(run, 3)
    child = run.process_group
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    wait_for(run, Status.QUEUED)
    assert time.monotonic() - began < supervisor.SHUTDOWN_GRACE_SECONDS + 3
    assert (run.attempt, run.lease_token) == (0, None)
    assert not is_alive(child)
    worker.wait(30)
    assert list((RunFiles(run).run / "checkpoints").glob("step-*"))
    assert not workers.is_listening("cpu")


@pytest.mark.both_databases
def test_a_failed_run_holds_nobody_up_and_doubled_messages_do_no_harm(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion
) -> None:
    failing = launch.start(project=cast.project, stage="reward", by=None, config=LONG)
    make_prompts(cast, 4)
    call_command(
        "sample",
        cast.project.slug,
        "--prompts",
        "2",
        "--samples",
        "2",
        *(f"--set={k}={v}" for k, v in SAMPLING.items()),
    )
    sampling = TrainingRun.objects.get(stage="sample")
    for _ in range(3):
        app.send_task("rlhf.execute_run", (sampling.pk,), queue="cpu")
    celery_worker_process("default", "cpu", concurrency=2)
    for run in (failing, sampling):
        runs.notify_worker(run)
    wait_for(failing, Status.FAILED)
    wait_for(sampling, Status.SUCCEEDED)
    assert "There are no rankings yet" in failing.error
    assert (sampling.attempt, sampling.result["responses"]) == (1, 4)
    for _ in range(2):
        app.send_task("rlhf.after_run", (sampling.pk,), queue="default")
        app.send_task("rlhf.reap_queue", queue="default")


@pytest.mark.both_databases
@pytest.mark.usefixtures("embedded_broker")
def test_waiting_where_nobody_listens_says_so_and_gives_up(
    cast: Cast, base: ModelVersion, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_prompts(cast, 2)
    monkeypatch.setattr(waiting, "PATIENCE", waiting.timedelta(seconds=0.2))
    with pytest.raises(CommandError, match=r"No worker consumes the queue cpu\. Run .* stays queued"):
        call_command("sample", cast.project.slug, "--wait")
    assert "No worker consumes the queue cpu" in capsys.readouterr().err
    assert TrainingRun.objects.get().status == Status.QUEUED


@pytest.mark.both_databases
@pytest.mark.usefixtures("embedded_broker")
def test_without_a_broker_the_run_is_queued_all_the_same(
    cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_prompts(cast, 2)
    command = (
        "from rlhf.loop import sampling; from annotate.models import Project;"
        "sampling.start(project=Project.objects.get(slug='kindness'), by=None)"
    )
    ended = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", command],
        env={**os.environ, "REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": test_database_url()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert "The broker did not accept the message" in ended.stderr
    assert TrainingRun.objects.get().status == Status.QUEUED


def test_a_draining_worker_leaves_runs_to_another_and_takes_them_again(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion
) -> None:
    celery_worker_process("cpu")
    worker = WorkerHeartbeat.objects.get()
    workers.drain(name=worker.name, draining=True, by=cast.admin)

    def broker_knows(queue: str, *, consumers: int) -> bool:
        found = app.control.inspect(timeout=2).active_queues() or {}
        return sum(each["name"] == queue for queues in found.values() for each in queues) == consumers

    wait_until(lambda: broker_knows("cpu", consumers=0), seconds=SECONDS, what="the worker to leave its queue")
    make_prompts(cast, 2)
    call_command("sample", cast.project.slug, "--prompts", "1", *(f"--set={k}={v}" for k, v in SAMPLING.items()))
    run = TrainingRun.objects.get()
    workers.drain(name=worker.name, draining=False, by=cast.admin)
    wait_for(run, Status.RUNNING)  # its message has waited in the queue
    assert run.worker.rpartition("/")[2] in map(str, WorkerHeartbeat.objects.get().processes)
