"""Models measured on files by the API: gzipped files, requests sent twice, a run that is killed and cancelled."""

import gzip
import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection

from annotate.errors import Refused
from hone_client import Hone
from rlhf.api import model_routes
from rlhf.model_registry import benchmarks
from rlhf.models import ModelVersion, TrainingRun
from rlhf.runs.execution import supervisor
from rlhf.runs.execution.run_files import RunFiles
from tests.conftest import wait_until
from tests.factories.cast import Cast
from tests.harness.api_client import ROOT, ApiClient
from tests.rlhf.runs.test_supervisor import is_gone, kill, memory_left

__all__ = ["memory_left"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing_sent")]

PAIRS = b'{"id": "1", "prompt": "Why?", "chosen": "Because.", "rejected": "No.", "subset": "mine"}\n'


@pytest.fixture
def reward(cast: Cast) -> ModelVersion:
    return ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/7000/run/model")


@pytest.fixture
def client(cast: Cast) -> ApiClient:
    return ApiClient(cast.researcher, "train", "write")


def measure(
    client: ApiClient, version: ModelVersion, name: str, content: bytes, *, config: Any = None, key: str = "key"
) -> tuple[int, Any]:
    form: dict[str, Any] = {"file": SimpleUploadedFile(name, content)}
    form |= {} if config is None else {"config": config if isinstance(config, str) else json.dumps(config)}
    address = f"{ROOT}/projects/kindness/models/{version.pk}/benchmarks"
    reply = client.post(address, form, headers={"idempotency-key": key})
    return reply.status_code, reply.json()


def uploads() -> list[Path]:
    return list((settings.HONE_DATA / "uploads").glob("*"))


@pytest.mark.any_database
def test_a_gzipped_file_is_unpacked_and_a_request_sent_again_starts_nothing(
    client: ApiClient, reward: ModelVersion
) -> None:
    packed = gzip.compress(PAIRS * 3)
    status, run = measure(client, reward, "a/Pairs.JSONL.GZ", packed, config={"max_length": 64})
    assert status == 201, run
    assert (status, run["stage"], run["status"], run["config"]) == (201, "benchmark", "queued", {"max_length": 64})
    assert run["options"] == {"file": "Pairs.jsonl", "sha256": hashlib.sha256(PAIRS * 3).hexdigest()}
    assert [item["model"] for item in run["inputs"]] == [reward.pk]
    inputs = RunFiles(TrainingRun.objects.get()).inputs
    assert [(path.name, path.read_bytes()) for path in inputs.iterdir()] == [("Pairs.jsonl", PAIRS * 3)]
    assert measure(client, reward, "a/Pairs.JSONL.GZ", packed, config={"max_length": 64}) == (201, run)
    status, reply = measure(client, reward, "a/Pairs.JSONL.GZ", packed)
    assert (status, reply["detail"]) == (422, "This Idempotency-Key was used for another request.")
    assert measure(client, reward, "b.jsonl.gz", gzip.compress(PAIRS), config={"max_length": 64})[0] == 422
    assert TrainingRun.objects.count() == 1
    assert uploads() == []


@pytest.mark.parametrize(
    ("name", "content", "config", "status", "said"),
    [
        ("rows.jsonl.gz", PAIRS, None, 400, "rows.jsonl.gz is not compressed by gzip, as its name says."),
        ("rows.jsonl.gz", gzip.compress(PAIRS, mtime=0)[:-9], None, 400, "rows.jsonl.gz is a broken gzip file."),
        ("rows.jsonl.gz", gzip.compress(b"", mtime=0), None, 400, "rows.jsonl is empty."),
        ("rows.jsonl.gz", gzip.compress(b"\0" * 65 * 2**20, mtime=0), None, 400, "unfolds to more than 200 times"),
        ("rows.json.gz", gzip.compress(b"[1]", mtime=0), None, 400, "rows.json"),
        ("rows.txt.gz", gzip.compress(b"Hens.", mtime=0), None, 400, "not on text"),
        ("rows.gz", gzip.compress(PAIRS, mtime=0), None, 400, "Choose a file of one of these kinds: .jsonl"),
        ("rows.jsonl", PAIRS, {"no_such": 1}, 400, "no_such"),
        ("rows.jsonl", PAIRS, {"max_length": "many"}, 400, "max_length"),
        ("rows.jsonl", PAIRS, "[1]", 400, "config is a JSON object of settings."),
        ("rows.jsonl", PAIRS, "{oops", 400, "JSON"),
    ],
)  # fmt: skip
def test_what_can_not_be_measured_on_is_said_and_leaves_nothing(
    client: ApiClient, reward: ModelVersion, name: str, content: bytes, config: Any, status: int, said: str
) -> None:
    found, reply = measure(client, reward, name, content, config=config)
    assert found == status, reply
    assert said in reply["detail"]
    assert not TrainingRun.objects.exists()
    assert uploads() == []
    assert not list((settings.HONE_DATA / "runs").glob("*/inputs/*"))


def test_a_request_that_fails_after_its_run_was_written_leaves_no_folder(
    client: ApiClient, reward: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply of its key is written in the same transaction, which may fail by it."""
    made: list[Path] = []

    def fail(run: TrainingRun) -> Any:
        made.extend(RunFiles(run).inputs.iterdir())
        raise Refused("no", status=409)

    with monkeypatch.context() as patch:
        patch.setattr(model_routes, "run_out", fail)
        assert measure(client, reward, "rows.jsonl", PAIRS)[0] == 409
    assert [path.name for path in made] == ["rows.jsonl"]
    assert not TrainingRun.objects.exists()
    assert list((settings.HONE_DATA / "runs").iterdir()) == []
    assert measure(client, reward, "rows.jsonl", PAIRS)[0] == 201


def test_bodies_of_other_kinds_and_what_is_too_large(
    client: ApiClient, reward: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"/projects/kindness/models/{reward.pk}/benchmarks"
    assert client.call("post", address, {"file": "x"})[0] == 422
    assert client.call("post", address)[0] == 422
    monkeypatch.setattr(benchmarks, "LARGEST_UNFOLDED", len(PAIRS) * 2)
    assert measure(client, reward, "rows.jsonl.gz", gzip.compress(PAIRS * 2))[0] == 201
    status, reply = measure(client, reward, "rows.jsonl.gz", gzip.compress(PAIRS * 3), key="other")
    assert (status, "rows.jsonl.gz holds more than 0 MB" in reply["detail"]) == (413, True)
    monkeypatch.setattr(benchmarks, "LARGEST", 3)
    assert measure(client, reward, "rows.jsonl", PAIRS, key="third")[0] == 413
    assert (TrainingRun.objects.count(), uploads()) == (1, [])


def test_the_client_sends_a_file(live_server: Any, client: ApiClient, reward: ModelVersion, tmp_path: Path) -> None:
    file = tmp_path / 'the "pairs".jsonl'
    file.write_bytes(PAIRS)
    project = Hone(live_server.url, client.secret).project("kindness")
    run = project.measure(reward.pk, file, key="once", max_length=64)
    assert project.measure(reward.pk, file, key="once", max_length=64) == run
    assert RunFiles(TrainingRun.objects.get()).inputs.joinpath('the "pairs".jsonl').read_bytes() == PAIRS
    assert run["config"] == {"max_length": 64}


@pytest.mark.any_database
@pytest.mark.usefixtures("memory_left")
def test_a_measurement_that_is_killed_begins_again_and_is_cancelled_by_the_api(
    client: ApiClient, base: ModelVersion
) -> None:
    rows = [{"id": str(n), "prompt": [{"role": "user", "content": f"Why {n}?"}], "response": "So."} for n in range(999)]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    config = {"precision": "fp32", "num_generated": 999, "max_new_tokens": 900}
    _status, started = measure(client, base, "rows.jsonl.gz", gzip.compress(content), config=config)
    run = TrainingRun.objects.get(pk=started["id"])
    groups: list[int | None] = []

    def stop(run: TrainingRun) -> None:
        groups.append(run.process_group)
        assert client.call("post", f"/projects/kindness/runs/{run.pk}/cancel")[0] == 200

    first = execute_while(run, kill)
    assert (first.status, first.attempt, first.error) == ("queued", 1, "")
    second = execute_while(run, stop)
    assert (second.status, second.attempt, second.error) == ("cancelled", 2, "")
    assert is_gone(groups[0])
    assert [path.name for path in RunFiles(run).inputs.iterdir()] == ["rows.jsonl"]
    assert not (RunFiles(run).run / "report.json").exists()
    assert client.call("get", f"/projects/kindness/runs/{run.pk}")[1]["status"] == "cancelled"


def execute_while(run: TrainingRun, action: Callable[[TrainingRun], None]) -> TrainingRun:
    """Supervise a run here, and do something in another thread once its child is at work."""

    def is_at_work() -> bool:
        return TrainingRun.objects.filter(pk=run.pk, process_group__isnull=False, progress__gt=0).exists()

    def act() -> None:
        try:
            wait_until(is_at_work, seconds=120, what="the first rows")
            action(TrainingRun.objects.get(pk=run.pk))
        finally:
            connection.close()

    TrainingRun.objects.filter(pk=run.pk).update(progress=0)
    thread = threading.Thread(target=act)
    thread.start()
    supervisor.execute(run.pk)
    thread.join()
    run.refresh_from_db()
    return run
