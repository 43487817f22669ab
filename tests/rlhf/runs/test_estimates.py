"""Runs that no machine can hold are refused before they wait; the figures are those of a real run."""

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.errors import Refused
from annotate.models import Snapshot
from models_core.contract.settings import STAGES, parse
from rlhf.loop import sampling
from rlhf.models import ModelVersion, TrainingRun, WorkerHeartbeat
from rlhf.reports import run_table
from rlhf.runs import estimates, launch
from rlhf.runs.execution import machine, supervisor
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.planning import durations, train_rows
from rlhf.runs.queues import workers
from tests.factories.cast import Cast
from tests.rlhf.conftest import TINY, make_judgments

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]
GIB = 2**30
SMOLLM2 = 134_515_008


@pytest.fixture
def worker() -> Callable[..., None]:
    """A living worker of the queue cpu with a machine of these figures."""

    def offer(*, cores: int = 2, memory: int = 24 * GIB, disk_free: int = 80 * GIB) -> None:
        capacity = {"cores": cores, "memory": memory, "disk_free": disk_free}
        WorkerHeartbeat.objects.update_or_create(
            name="w", defaults={"queues": ["cpu"], "capacity": capacity, "seen_at": timezone.now()}
        )

    return offer


@pytest.fixture
def smollm2(cast: Cast) -> ModelVersion:
    from rlhf.loop import versions

    return versions.base(cast.project, name="smollm2-135m-instruct")


def start(cast: Cast, stage: str = "reward", **config: Any) -> TrainingRun:
    return launch.start(project=cast.project, stage=stage, by=None, config=config)


def test_full_fine_tuning_needs_14_bytes_a_parameter_and_its_checkpoints_12(smollm2: ModelVersion) -> None:
    found = estimates.of(stage="sft", config={"keep_checkpoints": 3}, models=[smollm2])
    assert found is not None
    assert found.memory == 14 * SMOLLM2
    assert (found.checkpoints, found.checkpoint_bytes) == (3, 12 * SMOLLM2)
    # Three kept and one being written; the best weights twice; the model in fp32.
    assert found.disk == (4 * 12 + 2 * 4 + 4) * SMOLLM2


def test_as_many_checkpoints_are_kept_as_there_are_steps_for(smollm2: ModelVersion) -> None:
    config = {"keep_checkpoints": 1000, "save_every": 1, "batch_size": 4, "epochs": 1}
    assert estimates.of(stage="reward", config=config, models=[smollm2], rows=42).checkpoints == 11  # type: ignore[union-attr]
    assert estimates.of(stage="reward", config=config, models=[smollm2]).checkpoints == 1000  # type: ignore[union-attr]
    ppo = {"keep_checkpoints": 1000, "save_every": 2, "episodes": 640, "batch_size": 64}
    assert estimates.of(stage="ppo", config=ppo, models=[smollm2]).checkpoints == 5  # type: ignore[union-attr]


def test_ddp_holds_the_model_once_a_process_and_fsdp_once(smollm2: ModelVersion) -> None:
    for parallel, times in (("ddp", 4), ("fsdp", 1)):
        found = estimates.of(stage="sft", config={"processes": 4, "parallel": parallel}, models=[smollm2])
        assert found is not None
        assert found.memory == times * 14 * SMOLLM2


def test_what_no_machine_can_hold_is_refused_with_its_figures(
    cast: Cast, smollm2: ModelVersion, worker: Callable[..., None]
) -> None:
    worker()
    make_judgments(cast, 2)
    with pytest.raises(Refused, match="64 processes are more than the 2 processor cores of the workers’ machine"):
        start(cast, processes=64)
    with pytest.raises(Refused, match=r"may write 1\.5\sTB \(up to 1000 checkpoints of 1\.5\sGB, and the model\)"):
        start(cast, keep_checkpoints=1000, save_every=1)
    worker(memory=GIB)
    with pytest.raises(Refused, match=r"needs at least 1\.8\sGB of memory, and the workers’ machine has 1\.0\sGB"):
        start(cast)
    # Nothing is left of them, not even a snapshot that nobody would read.
    assert not TrainingRun.objects.exists()
    assert not Snapshot.objects.exists()
    worker()
    assert start(cast).status == "queued"


def test_seeds_are_refused_together_when_the_disk_has_room_for_some(
    cast: Cast, smollm2: ModelVersion, worker: Callable[..., None]
) -> None:
    make_judgments(cast, 2)
    worker(disk_free=20 * GIB)
    with pytest.raises(Refused, match="Keep fewer checkpoints"):
        launch.start_seeds(project=cast.project, seeds=16, by=None, config={})
    assert not TrainingRun.objects.exists()


def test_a_model_whose_size_is_not_known_here_is_not_refused_for_it(
    cast: Cast, worker: Callable[..., None], settings: Any
) -> None:
    settings.HONE_BASE_MODEL = "somebody/a-model-of-the-hub"
    worker(memory=1, disk_free=0)
    make_judgments(cast, 2)
    assert start(cast).status == "queued"


def test_more_runs_than_the_limit_are_refused_by_page_and_command(
    cast: Cast, base: ModelVersion, settings: Any
) -> None:
    settings.HONE_RUNS_A_PROJECT = 2
    make_judgments(cast, 2)
    first = start(cast, **TINY)
    start(cast, **TINY)
    with pytest.raises(Refused, match="2 runs of this project wait or run already") as caught:
        start(cast, **TINY)
    assert caught.value.status == 429
    with pytest.raises(Refused, match="2 runs of this project"):
        sampling.start(project=cast.project, by=None, prompt_count=1)
    with pytest.raises(CommandError, match="2 runs of this project"):
        call_command("train", cast.project.slug, "reward")
    client = Client()
    client.force_login(cast.manager, backend="annotate.people.backends.PasswordBackend")
    page = client.post(reverse("rlhf:new_run", args=[cast.project.slug, "reward"]), {"seeds": 1})
    assert page.status_code == 400
    TrainingRun.objects.filter(pk=first.pk).update(status="cancelled")
    assert start(cast, **TINY).status == "queued"


def test_other_projects_count_for_the_site(cast: Cast, base: ModelVersion, settings: Any) -> None:
    settings.HONE_RUNS_A_SITE = 1
    make_judgments(cast, 2)
    start(cast, **TINY)
    with pytest.raises(Refused, match="1 runs of this site wait or run already"):
        sampling.start(project=cast.other_project, by=None, prompt_count=1)


def test_workers_say_what_their_machine_has(cast: Cast) -> None:
    workers.record_heartbeat(name="here", queues=["cpu"])
    found = workers.capacity("cpu")
    assert found["cores"] == machine.capacity(settings.HONE_DATA)["cores"] >= 1
    assert found["memory"] is not None
    assert found["memory"] > 100 * 2**20
    assert workers.capacity("gpu")["cores"] is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("embedded_broker")
@pytest.mark.any_database
def test_a_real_run_stays_within_its_estimate_of_the_disk(
    cast: Cast, base: ModelVersion, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_judgments(cast, 8)
    config = {**TINY, "batch_size": 1, "save_every": 1, "keep_checkpoints": 3}
    run = start(cast, **config)
    found = estimates.of(stage="reward", config=config, models=[base], rows=8)
    assert found is not None
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "succeeded", run.error
    checkpoints = sorted((RunFiles(run).run / "checkpoints").glob("step-*"))
    # A finished run keeps none; what it wrote last stands for each.
    sizes = [sum(path.stat().st_size for path in folder.iterdir()) for folder in checkpoints]
    weights = sum(path.stat().st_size for path in RunFiles(run).model.glob("*.safetensors"))
    assert weights <= found.disk
    # The headers and random states of such a small model weigh more than its numbers.
    assert all(size <= found.checkpoint_bytes + 64 * 1024 for size in sizes)


@pytest.mark.parametrize("header", [b"[1]", b"{", b'{"w": {}}', b'{"w": 1}', b'{"w": {"shape": 1}}', b""])
def test_of_a_header_that_is_none_nothing_is_said(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert estimates._parameters_in(tmp_path) is None


def test_a_form_says_how_long_runs_of_its_shape_took(cast: Cast, base: ModelVersion) -> None:
    """Two of the shape were measured on this queue; others have another batch, another queue, or failed."""
    make_judgments(cast, 2)
    measured = [({}, 0.5), ({"learning_rate": 0.1}, 0.8), ({"batch_size": 2}, 9.0), ({}, 7.0), ({}, 8.0)]
    for number, (values, seconds) in enumerate(measured):
        run = start(cast, **TINY, **values)
        TrainingRun.objects.filter(pk=run.pk).update(
            status="failed" if number == 3 else "succeeded", queue="gpu" if number == 4 else "cpu",
            result={"seconds_per_step": seconds}, finished_at=timezone.now(),
        )  # fmt: skip
    given: dict[str, Any] = {"stage": "reward", "config": {**TINY, "epochs": 2, "batch_size": 8}, "queue": "cpu"}
    assert durations.expected(models=[base], rows=16, **given) is None
    default = parse(STAGES["reward"], TINY).batch_size  # type: ignore[attr-defined]
    given["config"] = {**TINY, "epochs": 2}
    found = durations.expected(models=[base], rows=10 * default, **given)
    assert found == durations.Duration(runs=2, step=(0.5, 0.8), steps=20)
    assert found.total == (10.0, 16.0)
    client = Client()
    client.force_login(cast.manager, backend="annotate.people.backends.PasswordBackend")
    address = reverse("rlhf:new_run", args=[cast.project.slug, "reward"])
    page = " ".join(client.get(address).content.decode().split())
    assert "unknown: this shape has neither run on this queue nor been measured" in page
    TrainingRun.objects.update(config={})
    page = " ".join(client.get(address).content.decode().split())
    steps = math.ceil(train_rows.expected(cast.project, kind="rankings", snapshot=None) / default)  # type: ignore[operator]
    assert (
        f"{run_table.time_in_words(max(1.0, 0.5 * steps))} to {run_table.time_in_words(9 * steps)}, by 3 earlier runs"
        in page
    )


def test_rows_to_learn_from_are_those_of_the_snapshot_or_of_what_a_new_one_would_freeze(
    cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(kind: str = "rankings", snapshot: Snapshot | None = None, aggregation: str = "") -> int | None:
        return train_rows.expected(cast.project, kind=kind, snapshot=snapshot, aggregation=aggregation)

    assert (rows(), rows("demonstrations"), rows("")) == (None, None, None)
    make_judgments(cast, 12)
    train = cast.project.prompts.filter(split="train").count()
    assert 0 < train < 12
    assert (rows(), rows("prompts"), rows(aggregation="consensus")) == (train, train, train)
    files = {"rankings.train.jsonl": {"rows": 300}, "rankings.test.jsonl": {"rows": 50}}
    ready = Snapshot.objects.create(
        project=cast.project, kind="rankings", state="ready", rows=350, sha256="0" * 64, files=files
    )
    assert rows(snapshot=ready) == 300
    assert rows() == train
    # Beyond what a form counts while one types, the newest snapshot stands for the data.
    monkeypatch.setattr(train_rows, "MOST_COUNTED", 2)
    assert (rows(), rows(aggregation="weighted")) == (300, 3)


def test_seconds_of_a_step_are_those_between_the_last_lines(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 2)
    files = RunFiles(start(cast, **TINY))
    files.make()
    files.run.mkdir()
    assert files.seconds_per_step() is None
    lines = [f'{{"step": {step}, "time": {1000 + (step > 1) * 60 + step * 0.5}}}\n' for step in range(1, 12)]
    (files.run / "metrics.jsonl").write_text("".join(lines) + '{"step": 12, "ti')
    assert files.seconds_per_step() == 0.5
