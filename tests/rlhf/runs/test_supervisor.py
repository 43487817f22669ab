"""Runs with their real child process: how they end well, how they end badly, and what is left of them."""

import json
import os
import re
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.utils import timezone

from annotate.errors import Refused
from annotate.models import AuditEvent, Response, Task
from models_core.contract.runs import progress
from rlhf.loop import versions
from rlhf.models import ModelVersion, RunMetric, TrainingRun
from rlhf.runs import failures, launch, runs
from rlhf.runs.execution import machine, run_command, supervisor
from rlhf.runs.execution.monitoring import lease_watch
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.registry import STAGE_SPECS
from tests.conftest import is_alive, wait_until
from tests.factories.cast import Cast
from tests.rlhf.conftest import TINY, make_judgments, make_prompts

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("embedded_broker"),
    pytest.mark.any_database,
]
Status = TrainingRun.Status
Queued = Callable[..., TrainingRun]
LONG = {**TINY, "epochs": 1000, "batch_size": 2, "save_every": 5}
"""Some thousand quick steps: long enough to be stopped, whatever the machine."""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def reward_run(cast: Cast, **config: object) -> TrainingRun:
    return launch.start(project=cast.project, stage="reward", by=cast.manager, config={**LONG, **config})


def execute_while(run: TrainingRun, action: Callable[[TrainingRun], None]) -> TrainingRun:
    """Supervise a run here, and do something in another thread once its child has reported a further step."""
    steps = RunMetric.objects.filter(run=run)
    before = steps.order_by("-step").values_list("step", flat=True).first() or 0

    def has_gone_on() -> bool:
        has_child = TrainingRun.objects.filter(pk=run.pk, process_group__isnull=False).exists()
        return has_child and steps.filter(step__gt=before).exists()

    def act() -> None:
        try:
            wait_until(has_gone_on, seconds=120, what="the first step")
            action(TrainingRun.objects.get(pk=run.pk))
        finally:
            connection.close()

    thread = threading.Thread(target=act)
    thread.start()
    supervisor.execute(run.pk)
    thread.join()
    run.refresh_from_db()
    return run


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A control group of this test's, for memory."""
    parents = [
        Path("/sys/fs/cgroup" if controllers == "" else "/sys/fs/cgroup/memory") / path.lstrip("/")
        for _number, controllers, path in (
            line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()
        )
        if controllers in ("", "memory")
    ]
    for parent in parents:
        group = parent / f"hone-test-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "memory.max").exists() or (group / "memory.limit_in_bytes").exists():
            members = group / "cgroup.procs"
            yield group
            wait_until(lambda: not members.read_text(), what="the group's end")  # noqa: B023
            group.rmdir()
            return
        group.rmdir()
    pytest.skip("this process may make no control group with a memory limit")


def limit_memory(group: Path, limit: int) -> None:
    name = "memory.max" if (group / "memory.max").exists() else "memory.limit_in_bytes"
    (group / name).write_text(str(limit))


def group_of(run: TrainingRun) -> int:
    """Of a child that runs: without one, 0 would stand for the group of the tests themselves."""
    assert run.process_group
    return run.process_group


def is_gone(group: int | None) -> bool:
    try:
        os.killpg(group or 0, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_command_without_a_run_folder_tells_its_progress_in_its_log(
    queued: Queued, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0)
    files = RunFiles(queued())
    files.make()
    assert files.progress() is None
    ticker = progress.Ticker("responses")
    ticker(16, 64)
    ticker(48, 64)
    files.log.write_text("Loading the model.\n" + capsys.readouterr().err)
    assert files.progress() == 0.75


def test_once_the_base_model_is_there_a_run_says_what_it_does(
    queued: Queued, cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_prompts(cast, 2)
    shares, prepare, renew = iter([0.5, 1.0]), run_command.prepare, runs.renew
    said: list[tuple[str, float | None]] = []

    def note(lease: runs.Lease, **values: Any) -> None:
        if "activity" in values:
            said.append((values["activity"], values.get("progress")))
        renew(lease, **values)

    monkeypatch.setattr(run_command, "base_model_progress", lambda name: next(shares, None))
    monkeypatch.setattr(
        run_command, "prepare", lambda *given, **named: replace(prepare(*given, **named), base_model="a-model")
    )
    monkeypatch.setattr(runs, "renew", note)
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "REPORT_SECONDS", 0.0)
    supervisor.execute(queued().pk)
    activity = STAGE_SPECS["sample"].activity
    fetching = run_command.FETCHING_BASE_MODEL
    assert said[1:] == [(activity, None), (fetching, 0.5), (activity, 0.0), (supervisor.STORING, None)]


@pytest.mark.both_databases
def test_responses_come_into_the_queue_once_however_often_the_run_is_executed(
    queued: Queued, cast: Cast, base: ModelVersion
) -> None:
    make_prompts(cast, 3)
    run = queued()
    supervisor.execute(run.pk)
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error, run.attempt) == (Status.SUCCEEDED, "", 1)
    assert (run.result["prompts"], run.result["responses"]) == (2, 4)
    assert run.result["tokens_per_s"] > 0
    responses = Response.objects.filter(author=base.author)
    assert responses.count() == 4
    assert {response.sampling["max_new_tokens"] for response in responses} == {4}
    assert {response.finish_reason for response in responses} <= {"eos", "length"}
    assert Task.objects.count() == run.result["tasks"] > 0

    # The worker died between storing the responses and ending the run: the next one finds them and adds none.
    TrainingRun.objects.filter(pk=run.pk).update(status=Status.QUEUED)
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt) == (Status.SUCCEEDED, 2)
    assert (Response.objects.filter(author=base.author).count(), Task.objects.count()) == (4, run.result["tasks"])


def test_a_cancelled_run_saves_a_checkpoint_and_leaves_no_process(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 6)
    groups: list[int | None] = []

    def cancel(run: TrainingRun) -> None:
        groups.append(run.process_group)
        runs.request_cancel(run=run, by=cast.manager)

    run = execute_while(reward_run(cast), cancel)
    assert (run.status, run.error, run.produced) == (Status.CANCELLED, "", None)
    assert list((RunFiles(run).run / "checkpoints").glob("step-*"))
    assert is_gone(groups[0])
    assert "Stopped after step" in run.log


def test_a_cancelled_run_is_resumed_from_its_checkpoint_also_in_smaller_steps(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 6)
    run = execute_while(reward_run(cast), lambda run: runs.request_cancel(run=run, by=cast.manager))
    first = RunFiles(run).checkpoint_step()
    TrainingRun.objects.filter(pk=run.pk).update(config=run.config | {"max_tokens_per_forward": 1024})
    run.refresh_from_db()
    runs.resume(run=run, by=cast.manager)
    with pytest.raises(Refused, match="Somebody has resumed this run already"):
        runs.resume(run=run, by=cast.manager)
    run = execute_while(run, lambda run: runs.request_cancel(run=run, by=cast.manager))
    assert (run.status, run.attempt, run.error) == (Status.CANCELLED, 1, "")
    second = RunFiles(run).checkpoint_step()
    assert first is not None
    assert second is not None
    assert first < second
    steps = list(RunMetric.objects.filter(run=run, name="loss").order_by("step").values_list("step", flat=True))
    assert steps == list(range(1, second + 1))
    assert RunFiles(run).log.read_text().count(f"step {first}/") == 1  # nothing was computed twice


@pytest.mark.long
def test_a_run_of_two_processes_is_cancelled_like_any_other(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 6)
    workers: list[int] = []

    def cancel(run: TrainingRun) -> None:
        group = run.process_group
        workers.extend(map(int, Path(f"/proc/{group}/task/{group}/children").read_text().split()))
        runs.request_cancel(run=run, by=cast.manager)

    run = execute_while(reward_run(cast, processes=2), cancel)
    assert (run.status, run.error, run.produced) == (Status.CANCELLED, "", None)
    assert list((RunFiles(run).run / "checkpoints").glob("step-*"))
    assert len(workers) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert "Stopped after step" in run.log


def kill(run: TrainingRun) -> None:
    os.killpg(group_of(run), signal.SIGKILL)


@pytest.mark.long
@pytest.mark.usefixtures("nothing_sent")
def test_a_training_lets_pages_go_first(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 4)
    own, seen = os.getpriority(os.PRIO_PROCESS, 0), []

    def look(run: TrainingRun) -> None:
        assert run.process_group is not None
        seen.append(os.getpriority(os.PRIO_PGRP, run.process_group))
        autogroup = Path(f"/proc/{run.process_group}/autogroup")
        seen.append(int(autogroup.read_text().split()[-1]) if autogroup.exists() else 10)
        runs.request_cancel(run=run, by=cast.manager)

    execute_while(reward_run(cast), look)
    assert seen == [10, 10]
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


@pytest.fixture
def memory_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's counter is the whole machine's, and a test beside this one runs a child out of memory."""
    monkeypatch.setattr(machine, "oom_kills", lambda: 0)


@pytest.mark.long
@pytest.mark.usefixtures("nothing_sent", "memory_left")
def test_a_killed_child_goes_on_from_its_checkpoint_until_its_attempts_are_used_up(
    cast: Cast, base: ModelVersion
) -> None:
    make_judgments(cast, 6)

    def kill_after_a_checkpoint(run: TrainingRun) -> None:
        folder = RunFiles(run).run / "checkpoints"
        wait_until(lambda: any(folder.glob("step-*")), seconds=60, what="the first checkpoint")
        kill(run)

    run = execute_while(reward_run(cast, save_every=1), kill_after_a_checkpoint)
    assert (run.status, run.attempt, run.error, run.lease_token) == (Status.QUEUED, 1, "", None)
    assert run.activity == failures.INTERRUPTED_ACTIVITY
    steps = [int(path.name[5:]) for path in (RunFiles(run).run / "checkpoints").glob("step-*")]
    assert max(steps) >= 1

    run = execute_while(run, kill)
    assert (run.status, run.attempt) == (Status.QUEUED, 2)

    run = execute_while(run, kill)
    assert (run.status, run.attempt) == (Status.FAILED, 3)
    assert run.error == (
        "Its process was ended by signal 9 (Killed) in each attempt. The kernel reports no lack of memory."
    )
    interrupted = AuditEvent.objects.filter(verb="run.interrupted", subject_id=str(run.pk))
    assert [event.detail["attempt"] for event in interrupted.order_by("pk")] == [1, 2, 3]


@pytest.mark.long
@pytest.mark.usefixtures("nothing_sent", "memory_left")
def test_a_killed_process_of_two_is_told_from_a_wrong_setting_and_tried_again(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 6)

    def kill_one(run: TrainingRun) -> None:
        group = run.process_group
        worker = Path(f"/proc/{group}/task/{group}/children").read_text().split()[-1]
        os.kill(int(worker), signal.SIGKILL)

    run = execute_while(reward_run(cast, processes=2), kill_one)
    assert (run.status, run.attempt, run.error) == (Status.QUEUED, 1, "")


@pytest.mark.usefixtures("nothing_sent")
def test_a_child_that_the_kernel_ends_for_lack_of_memory_is_tried_in_smaller_steps_and_then_says_so(
    cast: Cast, base: ModelVersion, memory_group: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_judgments(cast, 6)
    # Loading torch alone takes several times as much.
    limit_memory(memory_group, 64 * 2**20)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho $$ > {memory_group}/cgroup.procs\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    run = reward_run(cast)
    for attempt, tokens in ((1, 1024), (2, 512)):
        supervisor.execute(run.pk)
        run.refresh_from_db()
        assert (run.status, run.attempt, run.config["max_tokens_per_forward"]) == (Status.QUEUED, attempt, tokens)
        assert run.notes[-1]["values"] == {"attempt": attempt, "before": 2 * tokens, "after": tokens}
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt, run.failure) == (Status.FAILED, 3, failures.OUT_OF_MEMORY.as_json())
    assert run.config == LONG | {"max_tokens_per_forward": 512}


@pytest.mark.usefixtures("nothing_sent")
def test_a_stopped_child_is_ended_and_goes_on_from_its_checkpoint(
    cast: Cast, base: ModelVersion, settings: Any
) -> None:
    settings.HONE_IDLE_MINUTES = 0.05
    make_judgments(cast, 6)
    groups: list[int | None] = []

    def stop(run: TrainingRun) -> None:
        groups.append(run.process_group)
        os.killpg(group_of(run), signal.SIGSTOP)

    run = execute_while(reward_run(cast), stop)
    assert (run.status, run.attempt, run.activity) == (Status.QUEUED, 1, failures.STALLED_ACTIVITY)
    assert is_gone(groups[0])


@pytest.mark.usefixtures("nothing_sent")
def test_a_run_ends_when_the_disk_is_nearly_full(cast: Cast, base: ModelVersion, settings: Any) -> None:
    make_judgments(cast, 6)
    run = reward_run(cast)

    def fill(run: TrainingRun) -> None:
        settings.HONE_RESERVED_DISK_GB = 1_000_000

    run = execute_while(run, fill)
    assert run.status == Status.FAILED
    assert re.fullmatch(r"Only .* are free below the data folder, and 976\.6\sTB of it are reserved .*", run.error), (
        run.error
    )
    assert RunMetric.objects.filter(run=run).exists()


@pytest.mark.both_databases
def test_a_queued_run_waits_while_the_disk_is_nearly_full(
    queued: Queued, cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for a while would fail every run of the queue, one after the other."""
    run = queued()
    settings.HONE_RESERVED_DISK_GB = 1_000_000
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt, run.activity) == (Status.QUEUED, 0, "waiting for free disk space")
    assert not RunFiles(run).path.exists()
    # Nor does a message of a run that has ended, sent twice, begin the one that waits.
    ended = TrainingRun.objects.create(project=cast.project, stage=run.stage, queue=run.queue, status=Status.FAILED)
    supervisor.execute(ended.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt, run.activity) == (Status.QUEUED, 0, "waiting for free disk space")
    # The disk is full a moment after the run was claimed.
    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "_waits_for_disk", lambda run_id: False)
        supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt, run.activity) == (Status.QUEUED, 0, "waiting for free disk space")
    settings.HONE_RESERVED_DISK_GB = 0
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt) == (Status.FAILED, 1)
    assert "no prompts" in run.error


@pytest.mark.long
@pytest.mark.both_databases
def test_a_run_that_was_taken_away_is_stopped_and_written_no_more(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 6)
    other = uuid.uuid4()
    groups: list[int | None] = []

    def take_away(run: TrainingRun) -> None:
        groups.append(run.process_group)
        TrainingRun.objects.filter(pk=run.pk).update(lease_token=other, worker="another-host/1/2")

    run = execute_while(reward_run(cast), take_away)
    assert (run.status, run.lease_token, run.worker) == (Status.RUNNING, other, "another-host/1/2")
    assert is_gone(groups[0])


@pytest.mark.long
def test_before_a_lease_runs_out_that_nobody_can_renew_the_child_saves_and_leaves(
    cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is behind a network that was cut: the supervisor waits in a write, and knows of nothing."""
    renew, waited = runs.renew, list[int]()

    def renew_or_wait(lease: runs.Lease, **values: Any) -> None:
        run = TrainingRun.objects.get(pk=lease.run_id)
        group = run.process_group
        if group is None or not list((RunFiles(run).run / "checkpoints").glob("step-*")):
            return renew(lease, **values)
        waited.append(group)
        cut.setattr(lease_watch, "SAVE_AFTER", 0.0)  # seconds since the last renewal
        # Its leader is a zombie, which belongs to this process, until the supervisor looks again.
        wait_until(lambda: not is_alive(group), seconds=60, what="the child to end")
        raise OperationalError("server closed the connection unexpectedly")

    make_judgments(cast, 6)
    run = reward_run(cast)
    with monkeypatch.context() as cut:
        cut.setattr(runs, "renew", renew_or_wait)
        supervisor.execute(run.pk)
    run.refresh_from_db()
    assert waited, (run.status, run.error, run.log)
    assert (run.status, run.attempt, run.error) == (Status.RUNNING, 1, "")  # nobody could write otherwise
    assert is_gone(waited[0])
    assert "Stopped after step" in RunFiles(run).log.read_text()
    assert runs.reap(now=timezone.now() + runs.LEASE + timedelta(seconds=1)) == 1
    run.refresh_from_db()
    assert (run.status, run.activity) == (Status.QUEUED, "lost its worker; waiting to resume")


@pytest.mark.long
def test_a_child_that_was_told_to_leave_for_its_lease_is_put_back_where_the_database_is_there_again(
    cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_sight(_run: TrainingRun) -> None:
        monkeypatch.setattr(lease_watch, "SAVE_AFTER", -1.0)

    make_judgments(cast, 6)
    run = execute_while(reward_run(cast), lose_sight)
    assert (run.status, run.attempt, run.lease_token) == (Status.QUEUED, 0, None)
    assert list((RunFiles(run).run / "checkpoints").glob("step-*"))


def test_a_model_is_registered_with_its_hash_and_another_attempt_registers_no_second(
    cast: Cast, base: ModelVersion
) -> None:
    make_judgments(cast, 6)
    run = reward_run(cast, epochs=1)
    supervisor.execute(run.pk)
    run.refresh_from_db()
    version = run.produced
    assert version is not None
    assert (run.status, str(version), version.active) == (Status.SUCCEEDED, "reward 1", False)
    assert list(version.parents.all()) == [base]
    result = json.loads((RunFiles(run).run / "result.json").read_text())
    assert version.sha256 == result["sha256"]
    assert version.metrics["rankings"] == run.result["rankings"]
    assert RunMetric.objects.filter(run=run, name="loss").exists()
    supervisor.execute(run.pk)
    assert cast.project.model_versions.filter(kind="reward").count() == 1

    # A model whose files were changed is not trained from.
    (settings.HONE_DATA / version.folder / "config.json").write_text("{}")
    ppo = launch.start(project=cast.project, stage="ppo", by=None, config={})
    supervisor.execute(ppo.pk)
    ppo.refresh_from_db()
    assert ppo.status == Status.FAILED
    assert "differ from those that were stored" in ppo.error


def test_a_model_that_is_missing_fails_the_run_with_its_name(queued: Queued, cast: Cast, base: ModelVersion) -> None:
    make_prompts(cast, 2)
    gone = ModelVersion.objects.create(
        project=cast.project, kind="policy", number=1, folder="runs/gone/model", author=None
    )
    run = launch.start(
        project=cast.project, stage="sft", by=None, config={}, inputs={"model": gone}, snapshot=_demonstrations(cast)
    )
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == (
        Status.FAILED,
        f"The files of policy 1 are missing: there is no folder {settings.HONE_DATA / 'runs/gone/model'}.",
    )
    run = queued(inputs={"model": versions.base(cast.project, name="/nowhere/at-all")})
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert "/nowhere/at-all" in run.error


def _demonstrations(cast: Cast) -> object:
    return cast.project.snapshots.create(kind="demonstrations", state="ready", sha256="0" * 64, folder="snapshots/0")


def test_bad_input_is_told_in_the_words_of_the_recipe(queued: Queued, cast: Cast) -> None:
    make_prompts(cast, 2)
    run = queued(config={"max_new_tokens": 120, "max_length": 128})
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert run.failure["code"] == "process_message"
    assert run.error.startswith("Its process reported: max_new_tokens 120 leaves no room for a prompt")


def test_a_project_without_prompts_or_judgments_says_what_to_do(queued: Queued, cast: Cast, base: ModelVersion) -> None:
    for run, reason in [
        (queued(), "Kindness has no prompts to sample from. Import some first."),
        (
            reward_run(cast),
            "The snapshot could not be built: There are no rankings yet that match, so there is nothing to freeze.",
        ),
    ]:
        supervisor.execute(run.pk)
        run.refresh_from_db()
        assert (run.status, run.error) == (Status.FAILED, reason)


def test_a_full_disk_is_named_whether_the_worker_or_the_child_meets_it(queued: Queued, cast: Cast) -> None:
    make_prompts(cast, 2)
    run = queued()
    files = RunFiles(run)
    files.make()
    partial = files.inputs / f".prompts.jsonl.{os.getpid()}"
    partial.symlink_to("/dev/full")
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.failure["code"]) == (Status.FAILED, "disk_full")

    run = queued()
    files = RunFiles(run)
    files.make()
    files.output.symlink_to("/dev/full")
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.failure["code"]) == (Status.FAILED, "disk_full")


def test_secrets_stay_with_the_worker(
    monkeypatch: pytest.MonkeyPatch, queued: Queued, cast: Cast, tmp_path: Path
) -> None:
    monkeypatch.setenv("HONE_SECRET_KEY", "x" * 40)
    make_prompts(cast, 2)
    run = queued()
    files = RunFiles(run)
    files.make()
    with supervisor.child_process(["--help"], files) as child:
        # Held still: it would soon have printed its help and be gone. While it is loaded its environment is empty.
        os.kill(child.pid, signal.SIGSTOP)
        environ = Path(f"/proc/{child.pid}/environ")
        wait_until(environ.read_bytes, what="the child's environment")
        environment = environ.read_bytes()
    assert b"HONE_SECRET_KEY" not in environment
    assert b"HONE_PARENT_PID" in environment


@pytest.mark.parametrize(
    ("failure", "code", "sentence"),
    [
        ({"code": "out_of_memory", "message": "Out of memory: ..."}, "out_of_memory", "Out of memory. Reduce"),
        ({"code": "disk_full", "message": "No space left"}, "disk_full", "The disk is full."),
        (
            {"code": "bad_input", "message": "rankings.jsonl, line 3: not valid JSON. MemoryError"},
            "process_message",
            "Its process reported: rankings.jsonl, line 3: not valid JSON. MemoryError",
        ),
        ({"code": "of a later version", "message": "Odd."}, "process_message", "Its process reported: Odd."),
        ({"code": ["no"], "message": None}, "ended_silently", "Its process ended with exit status 1 and without"),
        ({}, "ended_silently", "Its process ended with exit status 1 and without"),
    ],
)
def test_a_failure_of_the_child_is_known_by_its_code(failure: dict[str, Any], code: str, sentence: str) -> None:
    message = failures.of_child(returncode=1, failure=failure)
    assert message.code == code
    assert str(message).startswith(sentence)
