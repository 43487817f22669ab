"""Workers with one GPU or several: what they tell of them, which runs they take, and what a run's child sees."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate.data import stored_messages
from annotate.errors import Refused
from config.serving import programs
from rlhf.models import ModelVersion, TrainingRun, WorkerHeartbeat
from rlhf.runs import estimates, failures, launch, runs
from rlhf.runs.execution import children, machine, supervisor
from rlhf.runs.execution.monitoring import gpu_devices
from rlhf.runs.queues import waiting_order, workers
from tests.factories.cast import Cast
from tests.harness.markup import markup
from tests.harness.nvml import fake_nvml
from tests.rlhf.conftest import TINY, make_judgments, make_prompts
from tests.rlhf.views.test_views import as_user

GIB = 2**30
Offer = Callable[..., None]


@pytest.fixture(autouse=True)
def asked_anew() -> None:
    gpu_devices._of.cache_clear()
    machine.gpus.cache_clear()


@pytest.fixture
def offer(settings: Any) -> Offer:
    """Living workers of the queue gpu with GPUs of so many GiB."""
    settings.HONE_GPUS = 4

    def workers_with(*gpus: list[int]) -> None:
        WorkerHeartbeat.objects.all().delete()
        for number, sizes in enumerate(gpus):
            devices = [{"number": n, "name": "G", "memory": size * GIB} for n, size in enumerate(sizes)]
            capacity = {"cores": 2, "memory": GIB // 2, "disk_free": 500 * GIB, "gpu_devices": devices}
            WorkerHeartbeat.objects.create(name=f"w{number}", queues=["gpu"], capacity=capacity, seen_at=timezone.now())

    return workers_with


@pytest.mark.parametrize(
    ("visible", "names", "numbers"),
    [
        (None, ["0", "1", "2"], [0, 1, 2]),
        ("2,0", ["2", "0"], [2, 0]),
        ("GPU-1", ["GPU-1"], [1]),
        ("0,-1,2", ["0"], [0]),
        ("", [], []),
    ],
)
def test_a_worker_knows_the_gpus_that_it_may_use(
    visible: str | None, names: list[str], numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvml(monkeypatch, memory=[4 * GIB, 8 * GIB, 16 * GIB])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_devices.names() == names
    assert [reading["number"] for reading in gpu_devices.of_this_process().readings()] == numbers


def test_a_gpu_that_does_not_answer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    library = fake_nvml(monkeypatch, memory=[GIB, GIB])
    memory = library.nvmlDeviceGetMemoryInfo

    def lost(number: int) -> Any:
        if number == 0:
            raise library.NVMLError("GPU is lost")
        return memory(number)

    library.nvmlDeviceGetMemoryInfo = lost
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [reading["number"] for reading in gpu_devices.of_this_process().readings()] == [1]


@pytest.mark.django_db
def test_the_page_of_workers_shows_memory_and_utilisation(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, memory=[8 * GIB, 8 * GIB])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    workers.record_heartbeat(name="gpu1@host", queues=["gpu"])
    page = markup(as_user("manager", cast).get(reverse("rlhf:workers"))).replace("\xa0", " ")
    assert "GPU 1: NVIDIA H200, 1.0 GB of 8.0 GB in use, 10% busy" in page


# ---- which runs ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_sent")
def test_a_run_that_no_worker_has_the_gpus_for_is_refused(cast: Cast, base: ModelVersion, offer: Offer) -> None:
    make_judgments(cast, 2)

    def start(**config: Any) -> TrainingRun:
        return launch.start(project=cast.project, stage="reward", by=None, config=dict(TINY) | config)

    offer([80], [80, 80])
    with pytest.raises(Refused, match=r"4 processes need a GPU each, and no worker has more than 2\. .*PER_WORKER"):
        start(processes=4)
    assert start(processes=2).status == "queued"  # the machine's memory, GIB / 2 here, is not the GPU's
    WorkerHeartbeat.objects.update(capacity={"cores": 2, "memory": 64 * GIB, "disk_free": 500 * GIB})
    with pytest.raises(Refused, match="4 processes are more than the 2 processor cores"):  # they tell of no GPU
        start(processes=4)


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_sent")
def test_the_least_memory_of_each_gpu_is_held_against_the_largest(
    cast: Cast, base: ModelVersion, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_judgments(cast, 2)
    monkeypatch.setattr(estimates, "of", lambda **given: estimates.Estimate(memory=60 * GIB, disk=0))
    start = {"project": cast.project, "stage": "reward", "by": None}
    offer([24], [40, 16])
    with pytest.raises(
        Refused, match=r"at least 60\.0\sGB of memory on each GPU, and the workers’ GPUs have 40\.0\sGB"
    ):
        launch.start(**start, config=dict(TINY))
    with pytest.raises(
        Refused, match=r"at least 30\.0\sGB of memory on each GPU, and the workers’ GPUs have 16\.0\sGB"
    ):
        launch.start(**start, config=dict(TINY) | {"processes": 2})
    offer([40, 32])
    assert launch.start(**start, config=dict(TINY) | {"processes": 2}).status == "queued"
    needs = estimates.needs(stage="reward", config={"processes": 2}, queue="gpu", models=[], snapshot=None)
    assert needs.memory_offered == 72 * GIB


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_sent")
def test_a_worker_leaves_runs_of_more_processes_to_one_with_more_gpus(
    queued: Any, cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_judgments(cast, 2)
    inputs = {"model": base}
    two = runs.enqueue(project=cast.project, stage="sft", config={"processes": 2}, inputs=inputs, by=None, queue="gpu")
    one = queued(queue="gpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert waiting_order.first("gpu") == one.pk
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert waiting_order.first("gpu") == two.pk
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert waiting_order.first("gpu") == two.pk  # it knows nothing of its GPUs


# ---- a run's child ---------------------------------------------------------------------------------------------------


TELLS = (
    "import os, sys; sys.stderr.write(f\"{os.environ['CUDA_VISIBLE_DEVICES']} {os.environ.get('CUDA_DEVICE_ORDER')}\")"
)
"""A child that says which GPUs it sees, in the run's log, without loading torch."""


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("nothing_sent")
def test_a_child_sees_a_gpu_for_each_of_its_processes(cast: Cast, queued: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_prompts(cast, 2)
    plain = children.subprocess.Popen

    def telling(arguments: list[str], **more: Any) -> Any:
        return plain([sys.executable, "-c", TELLS] if "models_core" in arguments else arguments, **more)

    monkeypatch.setattr(children.subprocess, "Popen", telling)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    said = {}
    for queue in ("gpu", "cpu"):
        run = queued(queue=queue)
        supervisor.execute(run.pk)
        run.refresh_from_db()
        said[queue] = run.log
    assert said == {"gpu": "2 PCI_BUS_ID", "cpu": "2,3 None"}
    assert gpu_devices.for_processes(2) == {"CUDA_VISIBLE_DEVICES": "2,3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_sent")
def test_out_of_memory_on_a_gpu_is_told_with_what_the_run_needed(
    cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_judgments(cast, 2)
    fake_nvml(monkeypatch, memory=[GIB, 2 * GIB])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    config = dict(TINY) | {"max_tokens_per_forward": 64}  # no smaller steps are left
    failed = {}
    for queue in ("gpu", "cpu"):
        run = runs.enqueue(
            project=cast.project, stage="sft", config=config, inputs={"model": base}, by=None, queue=queue
        )
        lease = runs.claim(run_id=run.pk, worker="w")
        assert lease is not None
        failures.end(lease, returncode=1, failure={"code": "out_of_memory"}, memory_ran_out=False)
        run.refresh_from_db()
        failed[queue] = run.failure
    needed = estimates.of(stage="sft", config=config, models=[base])
    assert needed is not None
    assert failed["gpu"] == {
        "code": "out_of_gpu_memory", "values": {"needed": {"bytes": needed.memory}, "offered": {"bytes": 2 * GIB}},
    }  # fmt: skip
    sentence = stored_messages.in_english(failed["gpu"]).replace("\xa0", " ")
    assert "and the GPU has 2.0 GB." in sentence
    assert failed["cpu"] == failures.OUT_OF_MEMORY.as_json()


def test_serve_starts_a_worker_for_each_group_of_gpus(settings: Any) -> None:
    settings.HONE_GPUS, settings.HONE_GPUS_PER_WORKER = 4, 2
    found = {program.name: program.environment for program in programs.all_programs()}
    visible = {name: environment.get("CUDA_VISIBLE_DEVICES") for name, environment in found.items()}
    assert visible["worker gpu0"] == "0,1"
    assert visible["worker gpu2"] == "2,3"
    assert visible["worker cpu"] == ""
    assert visible["worker live"] is None
    assert found["worker gpu2"]["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
