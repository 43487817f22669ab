"""Processor and memory of a run's processes, sampled into a short file and drawn on its page."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlhf.models import TrainingRun
from rlhf.runs.execution.monitoring import system_metrics
from rlhf.runs.execution.monitoring.stall_detection import StallDetector
from rlhf.runs.execution.monitoring.system_metrics import SystemMetrics
from rlhf.runs.execution.run_files import RunFiles
from tests.factories.cast import Cast
from tests.harness.nvml import fake_nvml
from tests.rlhf.views.test_views import as_user, url


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own that holds 64 MB and uses a processor."""
    code = "held = bytearray(64_000_000); print(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def samples(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_processor_and_memory_of_the_session_are_sampled(
    busy: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_metrics, "SECONDS", 0.0)
    path = tmp_path / "system" / "metrics.jsonl"
    metrics = SystemMetrics(session=busy.pid, path=path)
    while len(found := samples(path) if path.exists() else []) < 3 or not any(row["cores"] for row in found):
        metrics.look()
    assert all(64_000_000 < row["memory"] < 200_000_000 for row in found)
    assert all(row["cores"] >= 0 for row in found)


def test_it_is_not_time_for_a_sample_yet(busy: subprocess.Popen[bytes], tmp_path: Path) -> None:
    metrics = SystemMetrics(session=busy.pid, path=tmp_path / "system" / "metrics.jsonl")
    metrics.look()
    assert list(tmp_path.iterdir()) == []


def test_the_file_stays_short_and_is_sampled_half_as_often_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_metrics, "MOST_SAMPLES", 8)
    path = tmp_path / "system" / "metrics.jsonl"
    metrics = SystemMetrics(session=0, path=path)
    for number in range(8):
        metrics._write({"time": float(number), "every": metrics._every})
    assert [row["time"] for row in samples(path)] == [1.0, 3.0, 5.0, 7.0]
    assert metrics._every == 2 * system_metrics.SECONDS
    metrics._write({"time": 9.0, "every": metrics._every})
    assert SystemMetrics(session=0, path=path)._every == 2 * system_metrics.SECONDS  # a resumed run goes on so


def test_gpus_that_the_worker_may_use_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = fake_nvml(monkeypatch, memory=[8 * 2**30] * 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    path = tmp_path / "system" / "metrics.jsonl"

    def sampled() -> dict[str, float]:
        metrics = SystemMetrics(session=0, path=path)
        metrics._sampled -= metrics._every
        metrics.look()
        return {name: value for name, value in samples(path)[-1].items() if name.startswith("gpu")}

    assert sampled() == {
        "gpu_1_utilisation": 10, "gpu_1_memory": 2**30, "gpu_2_utilisation": 20, "gpu_2_memory": 2 * 2**30,
    }  # fmt: skip

    def no_driver() -> None:
        raise library.NVMLError("Driver Not Loaded")

    library.nvmlInit = no_driver
    assert sampled() == {}


def test_samples_are_no_sign_of_progress(tmp_path: Path) -> None:
    path = tmp_path / "system" / "metrics.jsonl"
    SystemMetrics(session=0, path=path)._write({"time": 0.0})
    stall = StallDetector(session=0, folders=[tmp_path], ignored=path.parent)
    before = stall._newest_change()
    SystemMetrics(session=0, path=path)._write({"time": 1.0})
    assert stall._newest_change() == before


@pytest.mark.django_db
def test_the_page_has_their_charts_and_their_file(cast: Cast) -> None:
    run = TrainingRun.objects.create(project=cast.project, stage="sft", status="succeeded")
    client = as_user("manager", cast)
    assert client.get(url(cast, "system_metrics", run.pk)).json() == {"series": {}}
    path = RunFiles(run).system
    path.parent.mkdir(parents=True)
    rows = [
        {"time": 60.0, "every": 5.0, "memory": 2**30},
        {"time": 90.0, "every": 5.0, "cores": 1.5, "memory": 3 * 2**29, "gpu_0_memory": 2**31},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"time": 9')
    assert client.get(url(cast, "system_metrics", run.pk)).json()["series"] == {
        "memory": [[0.0, 0.5], [1.0, 1.5]], "cores": [[0.5], [1.5]], "gpu_0_memory": [[0.5], [2.0]],
    }  # fmt: skip
    file = client.get(url(cast, "system_file", run.pk)).content.decode().splitlines()
    assert file[:3] == ["\ufeffmetric,minute,value", "memory,0,1", "memory,0.5,1.5"]
    page = client.get(url(cast, "run", run.pk)).content.decode()
    assert "GPU 0: Memory (GiB)" in page
