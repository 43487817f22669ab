"""Hosts that share the database and a bucket alone: what one makes the others train on, show, go on with, remove."""

import shutil
import subprocess
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from annotate.artefacts import bucket, folders, local_folders
from annotate.artefacts.bucket import Bucket, StorageFault
from annotate.data import snapshots
from models_core.contract.runs.run_folder import folder_sha256
from rlhf.loop import versions
from rlhf.model_registry import removal
from rlhf.models import ModelVersion, RunMetric, TrainingRun
from rlhf.reports import stored
from rlhf.runs import estimates, launch, runs
from rlhf.runs.execution import children, run_command, supervisor
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.storage import retention, run_artefacts
from tests.conftest import wait_until
from tests.factories.cast import Cast
from tests.harness.s3_server import SharedBucket, s3_client, shared_bucket
from tests.rlhf.conftest import TINY, make_judgments
from tests.rlhf.runs.test_supervisor import execute_while, one_thread, reward_run
from tests.rlhf.views.test_views import as_user, url

__all__ = ["one_thread", "s3_client", "shared_bucket"]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_sent"),
    pytest.mark.any_database,
]


@pytest.fixture(autouse=True)
def children_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training doesn't give way to other tests."""
    monkeypatch.setattr(children, "give_way", lambda child: None)


def paths(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_snapshot_of_one_host_is_trained_on_by_another_and_its_model_read_by_a_third(
    cast: Cast, base: ModelVersion, shared_bucket: SharedBucket
) -> None:
    make_judgments(cast, 6)
    config = {**TINY, "epochs": 2, "batch_size": 2, "save_every": 2}
    run = launch.start(project=cast.project, stage="reward", by=cast.manager, config=config)
    assert run.snapshot is not None
    assert snapshots.build(run.snapshot.pk).state == "ready"

    b = shared_bucket.at("b")
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == ("succeeded", ""), run.log
    version = versions.latest_reward(cast.project)
    assert version is not None
    assert folder_sha256(b / version.folder) == version.sha256
    trained = {name: (b / version.folder / name).read_bytes() for name in paths(b / version.folder)}

    needed = estimates.of(stage="reward", config=config, models=[version])
    assert needed is not None

    # The web process of a third shows everything with the small files alone.
    c = shared_bucket.at("c")
    # It knows how large the model is, and that it has to come to a worker's disk.
    size = sum(len(content) for content in trained.values())
    elsewhere = estimates.of(stage="reward", config=config, models=[version])
    assert elsewhere == replace(needed, disk=needed.disk + size)
    client = as_user("manager", cast)
    assert client.get(url(cast, "run", run.pk)).status_code == 200
    report = client.get(url(cast, "report_file", run.pk))
    assert b"".join(report.streaming_content) == (b / f"runs/{run.pk}/run/report.json").read_bytes()  # type: ignore[attr-defined]
    page = client.get(url(cast, "model", version.pk)).content.decode()
    assert "model/model.safetensors" in page
    assert version.has_files
    assert paths(c / "runs") <= {f"{run.pk}/{name}" for name in run_artefacts.SHOWN}
    assert stored.exists(run)
    # A job there gets the model itself.
    assert run_command.model_argument(version) == str(c / version.folder)
    assert {name: (c / version.folder / name).read_bytes() for name in paths(c / version.folder)} == trained
    hashes = client.get(url(cast, "model_hashes", version.pk))
    assert len(b"".join(hashes.streaming_content).splitlines()) == len(trained)  # type: ignore[attr-defined]

    # A deleted model goes from the storage, whichever host removes it.
    shared_bucket.at("d")
    removal.delete(version, by=cast.manager)
    assert removal.remove_files(version.pk) == size
    assert [name for name in shared_bucket.names() if "/run/" in name] == []
    assert not ModelVersion.ever.get(pk=version.pk).has_files
    # Those that had fetched it are told to clean up.
    shared_bucket.at("c")
    call_command("publish_artefacts", "--clean")
    assert not (c / version.folder).exists()
    assert (c / f"runs/{run.pk}/run/report.json").is_file()


def test_a_run_goes_on_at_another_host_from_the_newest_published_checkpoint(
    cast: Cast, base: ModelVersion, shared_bucket: SharedBucket
) -> None:
    make_judgments(cast, 6)
    run = reward_run(cast)
    assert run.snapshot is not None
    snapshots.build(run.snapshot.pk)
    checkpoints = f"runs/{run.pk}/run/checkpoints"

    def cut_off(run: TrainingRun) -> None:
        """The host is gone without a word, and the run is queued again once its lease is over."""
        wait_until(lambda: folders.published(checkpoints) is not None, seconds=100, what="a published checkpoint")
        TrainingRun.objects.filter(pk=run.pk).update(
            status="queued", lease_token=None, lease_until=None, process_group=None
        )

    execute_while(run, cut_off)
    listed = folders.published(checkpoints)
    assert listed is not None
    step = max(int(name.partition("/")[0].removeprefix("step-")) for name in listed.files)
    before = (shared_bucket.folder / f"a/runs/{run.pk}/run/metrics.jsonl").read_bytes().splitlines()

    b = shared_bucket.at("b")
    assert run_artefacts.checkpoint_step(run) == step

    # Rows of metrics would not say so: the first host came further, and may have published that too.
    def cancel_further_on(run: TrainingRun) -> None:
        checkpoint = partial(run_artefacts.checkpoint_step, run)
        wait_until(lambda: (checkpoint() or 0) > step, seconds=100, what="a checkpoint after that one")
        runs.request_cancel(run=run, by=cast.manager)

    run = execute_while(run, cancel_further_on)
    assert (run.status, run.error) == ("cancelled", "")
    after = (b / f"runs/{run.pk}/run/metrics.jsonl").read_bytes().splitlines()
    assert after[:step] == before[:step]
    done = run_artefacts.checkpoint_step(run)
    assert done is not None
    assert done > step
    assert len(after) == done
    found = RunMetric.objects.filter(run=run, name="loss", step__lte=done).order_by("step")
    assert list(found.values_list("step", flat=True)) == list(range(1, done + 1))

    # Back at the first host, whose own files are older than those of the second by now.
    a = shared_bucket.at("a")
    files = RunFiles(run)
    run_artefacts.fetch(files, heartbeat=local_folders.silent)
    assert files.checkpoint_step() == done
    assert (a / f"runs/{run.pk}/run/metrics.jsonl").read_bytes().splitlines() == after

    # Old checkpoints go from the storage, whichever host removes them.
    shared_bucket.at("c")
    (kept,) = retention.kept(cast.project)
    sizes = [path.stat().st_size for path in (b / checkpoints).rglob("*") if path.is_file()]
    assert (kept.run, kept.step, kept.bytes) == (run, done, sum(sizes))
    assert retention.remove([kept], by=cast.manager) == kept.bytes
    assert (retention.kept(cast.project), run_artefacts.checkpoint_step(run)) == ([], None)


def test_a_run_fails_with_what_is_to_be_set(cast: Cast, base: ModelVersion, shared_bucket: SharedBucket) -> None:
    make_judgments(cast, 2)
    run = reward_run(cast)
    shared_bucket.settings.HONE_ARTEFACTS = "s3://no-such-bucket"
    supervisor.execute(run.pk)
    run.refresh_from_db()
    sentence = "The storage s3://no-such-bucket has no bucket no-such-bucket. Create it, or correct HONE_ARTEFACTS."
    assert (run.status, run.error) == ("failed", sentence)
    assert run.failure["code"] == "storage_no_bucket"
    # Pages of what is on this host stay.
    assert sentence in as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode()


def test_a_run_whose_lease_is_lost_by_a_hanging_storage_is_left_alone(
    cast: Cast, base: ModelVersion, shared_bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_judgments(cast, 2)
    run = reward_run(cast)

    def hang(self: Bucket, name: str) -> None:
        TrainingRun.objects.filter(pk=run.pk).update(lease_until=timezone.now() - runs.LEASE)
        assert runs.reap() == 1
        raise bucket.fault("storage_no_bucket", location="s3://hone", bucket="hone")

    monkeypatch.setattr(Bucket, "read", hang)
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt, run.activity) == ("queued", 1, "lost its worker; waiting to resume")


def test_a_run_of_the_same_number_in_another_database_is_another_run(
    cast: Cast, base: ModelVersion, shared_bucket: SharedBucket
) -> None:
    run = reward_run(cast)
    for place in ("log.txt", "run/run.json", "run/checkpoints/step-5/w", "inputs/rows.jsonl"):
        write(RunFiles(run).path / place, b"{}")
    write(RunFiles(run).run / "result.json", b'{"status": "succeeded"}')
    run_artefacts.publish_result(RunFiles(run), heartbeat=local_folders.silent)
    b = shared_bucket.at("b")
    restored = TrainingRun.objects.get(pk=run.pk)
    assert RunFiles(restored).owner == RunFiles(run).owner
    assert run_artefacts.checkpoint_step(restored) == 5

    other = TrainingRun.objects.get(pk=run.pk)
    other.created_at += timedelta(microseconds=1)
    run_artefacts.fetch(RunFiles(other), heartbeat=local_folders.silent)
    assert not (b / "runs").exists()
    assert (run_artefacts.checkpoint_step(other), run_artefacts.size_of(other, "log.txt")) == (None, None)
    assert not run_artefacts.fetch_file(other, "log.txt").exists()
    assert not run_artefacts.shown(other).log.exists()
    run_artefacts.fetch(RunFiles(run), heartbeat=local_folders.silent)
    assert RunFiles(run).is_finished


class TestAway:
    """A run whose storage can't be reached for a while; nothing is trained."""

    @pytest.fixture
    def run(
        self,
        cast: Cast,
        base: ModelVersion,
        shared_bucket: SharedBucket,
        monkeypatch: pytest.MonkeyPatch,
    ) -> TrainingRun:
        monkeypatch.setattr(supervisor, "STORAGE_TRY_SECONDS", 0.0)
        make_judgments(cast, 2)
        return reward_run(cast)

    @staticmethod
    def away(**values: Any) -> StorageFault:
        return bucket.fault("storage_unreachable", kind=bucket.StorageAway, location="s3://hone", endpoint="AWS")

    def test_it_waits_and_goes_on(self, run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = list[str]()

        def read(self: Bucket, name: str) -> None:
            run.refresh_from_db()
            seen.append(run.activity)
            if len(seen) < 3:
                raise TestAway.away()
            raise bucket.fault("storage_denied", location="s3://hone", reply="AccessDenied")

        monkeypatch.setattr(Bucket, "read", read)
        supervisor.execute(run.pk)
        run.refresh_from_db()
        assert seen == ["preparing", "waiting for the storage", "waiting for the storage"]
        assert (run.status, run.failure["code"]) == ("failed", "storage_denied")

    def test_it_is_queued_again_and_fails_in_its_last_attempt(
        self, run: TrainingRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read(self: Bucket, name: str) -> None:
            raise TestAway.away()

        monkeypatch.setattr(Bucket, "read", read)
        monkeypatch.setattr(supervisor, "STORAGE_PATIENCE_SECONDS", -1.0)
        found = []
        for _attempt in range(run.max_attempts):
            supervisor.execute(run.pk)
            run.refresh_from_db()
            found.append((run.status, run.attempt, run.activity))
        waiting = "waiting for the storage"
        assert found == [("queued", 1, waiting), ("queued", 2, waiting), ("failed", 3, "")]
        assert run.failure["code"] == "storage_unreachable"

    def test_it_is_cancelled_while_it_waits(
        self, run: TrainingRun, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read(self: Bucket, name: str) -> None:
            runs.request_cancel(run=TrainingRun.objects.get(pk=run.pk), by=cast.manager)
            raise TestAway.away()

        monkeypatch.setattr(Bucket, "read", read)
        supervisor.execute(run.pk)
        run.refresh_from_db()
        assert (run.status, run.error) == ("cancelled", "")


def test_a_damaged_model_is_refused(cast: Cast, base: ModelVersion, shared_bucket: SharedBucket) -> None:
    run = TrainingRun.objects.create(project=cast.project, stage="sft")
    files = RunFiles(run)
    files.model.mkdir(parents=True)
    (files.model / "model.safetensors").write_bytes(b"weights")
    sha256 = folder_sha256(files.model)
    run_artefacts.publish_result(files, heartbeat=local_folders.silent)
    version = versions.register(
        run, kind=ModelVersion.Kind.SFT, folder=f"{files.relative}/run/model", sha256=sha256, metrics={}
    )
    shared_bucket.at("b")
    (name,) = [name for name in shared_bucket.names() if name.startswith(f"files/{version.folder}/")]
    shared_bucket.put(name, b"weighty")
    with pytest.raises(StorageFault, match=r"model\.safetensors of .* is damaged on the storage"):
        run_command.model_argument(version)
    assert not RunFiles(run).model.exists()


def test_a_model_that_another_worker_published_since_takes_the_place_of_the_one_here(
    cast: Cast, shared_bucket: SharedBucket
) -> None:
    run = TrainingRun.objects.create(project=cast.project, stage="sft")
    files = RunFiles(run)
    write(files.model / "w", b"of an attempt whose worker was lost")
    run_artefacts.publish_result(files, heartbeat=local_folders.silent)
    shared_bucket.at("b")
    write(RunFiles(run).model / "w", b"of the attempt that succeeded")
    run_artefacts.publish_result(RunFiles(run), heartbeat=local_folders.silent)
    version = versions.register(
        run, kind=ModelVersion.Kind.SFT, folder=f"runs/{run.pk}/run/model", sha256="", metrics={}
    )
    shared_bucket.at("a")
    shared_bucket.settings.HONE_ARTEFACTS = "s3://no-such-bucket"
    with pytest.raises(StorageFault):
        run_artefacts.fetch_model(version)
    shared_bucket.settings.HONE_ARTEFACTS = f"s3://{shared_bucket.name}/team"
    run_artefacts.fetch_model(version)
    assert (files.model / "w").read_bytes() == b"of the attempt that succeeded"


def test_pages_wait_for_no_download(cast: Cast, shared_bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_artefacts, "_away_until", 0.0)
    run = TrainingRun.objects.create(project=cast.project, stage="sft", status="succeeded")
    write(RunFiles(run).path / "log.txt", b"said")
    run_artefacts.publish_result(RunFiles(run), heartbeat=local_folders.silent)
    shared_bucket.at("b")
    with local_folders.locked(RunFiles(run).relative, local_folders.silent):
        assert not run_artefacts.shown(run).log.exists()
    reserved = shared_bucket.settings.HONE_RESERVED_DISK_GB
    shared_bucket.settings.HONE_RESERVED_DISK_GB = 10**6  # nor does a full disk take a page away
    assert not run_artefacts.shown(run).log.exists()
    shared_bucket.settings.HONE_RESERVED_DISK_GB = reserved
    run_artefacts._away_until = 0.0
    assert run_artefacts.shown(run).log.read_bytes() == b"said"


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_whoever_lost_the_run_replaces_and_removes_nothing_of_its_result(
    cast: Cast, shared_bucket: SharedBucket
) -> None:
    """The reply to the first host's look at the list takes longer than its lease; another publishes meanwhile."""
    run = TrainingRun.objects.create(project=cast.project, stage="sft")
    stale = RunFiles(run)
    write(stale.model / "w", b"of a")
    real, lost = Bucket.read, list[bool]()

    def read(self: Bucket, name: str) -> bytes | None:
        found = real(self, name)
        if name.endswith("run/model.json") and not lost:
            lost.append(True)
            shared_bucket.at("b")
            for place in ("run/model/w", "run/checkpoints/step-5/w", "inputs/rows.jsonl"):
                write(RunFiles(run).path / place, b"of b")
            run_artefacts.publish_inputs(RunFiles(run), heartbeat=local_folders.silent)
            run_artefacts.publish_result(RunFiles(run), heartbeat=local_folders.silent)
            shared_bucket.at("a")
        return found

    def heartbeat() -> None:
        if lost:
            raise runs.LeaseLost

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bucket, "read", read)
        with pytest.raises(runs.LeaseLost):
            run_artefacts.publish_result(stale, heartbeat=heartbeat)
    with pytest.raises(runs.LeaseLost):
        run_artefacts.publish_result(stale, heartbeat=heartbeat)
    write(stale.inputs / "rows.jsonl", b"of a")
    with pytest.raises(runs.LeaseLost):
        run_artefacts.publish_inputs(stale, heartbeat=heartbeat)
    shared_bucket.at("c")
    for place in ("run/model", "run/checkpoints", "inputs"):
        folders.ensure(f"{RunFiles(run).relative}/{place}")
    found = {name: (RunFiles(run).path / name).read_bytes() for name in paths(RunFiles(run).path)}
    assert found == dict.fromkeys(("run/model/w", "run/checkpoints/step-5/w", "inputs/rows.jsonl"), b"of b")


class TestProgress:
    @pytest.fixture
    def files(self, cast: Cast, shared_bucket: SharedBucket) -> RunFiles:
        """Of a run with a checkpoint, that has just ended."""
        files = RunFiles(TrainingRun.objects.create(project=cast.project, stage="sft"))
        for name in ("run/run.json", "run/result.json", "run/checkpoints/step-5/state.pt", "inputs/rows.jsonl"):
            (files.path / name).parent.mkdir(parents=True, exist_ok=True)
            (files.path / name).write_bytes(b"{}")
        return files

    def test_the_end_is_published_with_the_model_alone(self, files: RunFiles) -> None:
        run_artefacts.Progress(files, is_held=lambda: True).publish()
        listed = folders.published(files.relative)
        assert listed is not None
        assert listed.files.keys() == {"run/run.json"}
        run_artefacts.publish_result(files, heartbeat=local_folders.silent)
        listed = folders.published(files.relative)
        assert listed is not None
        assert listed.files.keys() == {"run/run.json", "run/result.json"}

    def test_a_checkpoint_that_goes_meanwhile_is_published_as_it_was(
        self, files: RunFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = folders.publish

        def publish(folder: str, **values: Any) -> None:
            shutil.rmtree(files.checkpoints / "step-5", ignore_errors=True)
            (files.checkpoints / "step-6").mkdir(exist_ok=True)
            real(folder, **values)

        monkeypatch.setattr(folders, "publish", publish)
        run_artefacts.Progress(files, is_held=lambda: True).publish()
        listed = folders.published(f"{files.relative}/run/checkpoints")
        assert listed is not None
        assert listed.files.keys() == {"step-5/state.pt"}
        assert not local_folders.scratch(f"{files.relative}/run/checkpoints").exists()

    def test_whoever_lost_the_run_replaces_nothing(self, files: RunFiles, caplog: pytest.LogCaptureFixture) -> None:
        run_artefacts.Progress(files, is_held=lambda: False).publish()
        with suppress(runs.LeaseLost), run_artefacts.Progress(files, is_held=lambda: True) as progress:
            raise runs.LeaseLost
        progress.publish()
        assert folders.published(files.relative) is None
        assert caplog.text.count("another worker may have taken the run over") == 2

    def test_a_fault_of_the_files_keeps_no_checkpoint_back(
        self, files: RunFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        real = folders.publish

        def publish(folder: str, **values: Any) -> None:
            if folder == files.relative:
                raise bucket.fault("storage_folder_changes", folder=folder)
            real(folder, **values)

        monkeypatch.setattr(folders, "publish", publish)
        run_artefacts.Progress(files, is_held=lambda: True).publish()
        listed = folders.published(f"{files.relative}/run/checkpoints")
        assert listed is not None
        assert listed.files.keys() == {"step-5/state.pt"}
        assert "its files changed while they were being read" in caplog.text

    def test_without_storage_nothing_is_linked(self, files: RunFiles, shared_bucket: SharedBucket) -> None:
        shared_bucket.settings.HONE_ARTEFACTS = ""
        run_artefacts.Progress(files, is_held=lambda: True).publish()
        assert [path.name for path in (shared_bucket.folder / "a").iterdir()] == ["runs"]

    def test_a_storage_that_is_away_stops_no_run(
        self, files: RunFiles, shared_bucket: SharedBucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        shared_bucket.settings.HONE_ARTEFACTS = "s3://no-such-bucket"
        run_artefacts.Progress(files, is_held=lambda: True).publish()
        assert "could not be published: The storage s3://no-such-bucket has no bucket" in caplog.text


def test_training_gets_no_key_of_the_storage(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, env, **others: started.append(env))
    for name in children.OF_STORAGE:
        monkeypatch.setenv(name, "secret")
    for settings.HONE_ARTEFACTS in ("", "s3://hone"):
        children.start(["sft"])
    without, with_storage = started
    assert set(children.OF_STORAGE) <= without.keys()
    assert set(children.OF_STORAGE) & with_storage.keys() == set()
