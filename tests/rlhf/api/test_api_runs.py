"""Runs and models by the API: started once, read, measured, cancelled."""

from typing import Any

import pytest

from annotate.models import Snapshot
from rlhf.loop import versions
from rlhf.models import ModelVersion, RunMetric, TrainingRun
from tests.factories.cast import Cast, cast
from tests.harness.api_client import ApiClient

__all__ = ["cast"]

PROJECT = "/projects/kindness"


@pytest.fixture
def client(cast: Cast) -> ApiClient:
    return ApiClient(cast.researcher, "train", "export", "write")


def test_a_run_is_started_once_and_cancelled(client: ApiClient, cast: Cast) -> None:
    wanted = {"stage": "sft", "config": {"epochs": 1, "seed": 7}}
    key = {"idempotency-key": "run"}
    status, run = client.call("post", f"{PROJECT}/runs", wanted, **key)
    assert (status, run["status"], run["seed"]) == (201, "queued", 7)
    assert (run["config"], run["created_by"]) == ({"epochs": 1, "seed": 7}, "researcher")
    assert [item["role"] for item in run["inputs"]] == ["model"]
    assert client.call("post", f"{PROJECT}/runs", wanted, **key) == (201, run)
    assert TrainingRun.objects.count() == Snapshot.objects.count() == 1
    _status, listed = client.call("get", f"{PROJECT}/runs?stage=sft&status=queued")
    assert [item["id"] for item in listed["items"]] == [run["id"]]
    assert client.call("get", f"{PROJECT}/runs?stage=ppo")[1]["items"] == []
    status, cancelled = client.call("post", f"{PROJECT}/runs/{run['id']}/cancel")
    assert (status, cancelled["status"]) == (200, "cancelled")
    assert client.call("get", f"{PROJECT}/runs/{run['id']}")[1]["status"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"stage": "sft", "config": {"epochs": "many"}}, 400),
        ({"stage": "sft", "config": {"no_such": 1}}, 400),
        ({"stage": "sft", "config": {"learning_rate": 10**400}}, 400),
        ({"stage": "sft", "config": {"epochs": [[]]}}, 400),
        ({"stage": "nothing"}, 400),
        ({"stage": "sft", "inputs": {"model": 10**9}}, 404),
        ({"stage": "sft", "inputs": {"model": 2**70}}, 404),
        ({"stage": "sft", "snapshot": -1}, 404),
        ({"stage": "sft", "inputs": {"no such role": 1}}, 422),
        ({"stage": "sft", "corpus": "../secret"}, 400),
    ],
)
def test_a_run_that_can_not_be(client: ApiClient, body: dict[str, Any], status: int) -> None:
    found, reply = client.call("post", f"{PROJECT}/runs", body)
    assert found == status, reply
    assert not TrainingRun.objects.exists()


def test_metrics_and_models(client: ApiClient, cast: Cast) -> None:
    base = versions.active_policy(cast.project)
    _status, run = client.call("post", f"{PROJECT}/runs", {"stage": "sft"})
    RunMetric.objects.bulk_create(
        RunMetric(run_id=run["id"], step=step, name=name, value=value)
        for step in range(3)
        for name, value in (("loss", 2.0 - step), ("accuracy", 0.5))
    )
    _status, reply = client.call("get", f"{PROJECT}/runs/{run['id']}/metrics?name=loss&limit=2")
    assert reply["items"] == [{"name": "loss", "step": 2, "value": 0.0}, {"name": "loss", "step": 1, "value": 1.0}]
    _status, rest = client.call("get", f"{PROJECT}/runs/{run['id']}/metrics?name=loss&limit=2&cursor={reply['next']}")
    assert [item["step"] for item in rest["items"]] == [0]
    assert client.call("get", f"{PROJECT}/runs/{run['id']}/metrics?name=%00")[0] == 422
    ModelVersion.objects.filter(pk=base.pk).update(metrics={"loss": 1.5})
    _status, model = client.call("get", f"{PROJECT}/models/{base.pk}")
    assert (model["kind"], model["active"], model["metrics"]) == ("base", True, {"loss": 1.5})
    assert client.call("get", f"{PROJECT}/models?kind=reward")[1]["items"] == []
