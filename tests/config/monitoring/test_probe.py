"""What Kubernetes asks of workers: one that is silent while the broker responds is started again, no other."""

import os
import runpy
import sys
import time
from pathlib import Path

import pytest

from config.monitoring.probe import problem


@pytest.mark.parametrize(
    ("age", "reachable", "restarted"), [(50, True, False), (70, True, True), (70, False, False), (None, True, True)]
)
def test_a_silent_worker_is_restarted(tmp_path: Path, age: float | None, reachable: bool, restarted: bool) -> None:
    file = tmp_path / "alive"
    if age is not None:
        file.touch()
        os.utime(file, times=(time.time() - age,) * 2)
    variables = {"LIVENESS_FILE": str(file), "REDIS_URL": "redis://broker:6379/1"}
    asked: list[str] = []

    def is_reachable(url: str) -> bool:
        asked.append(url)
        return reachable

    found = problem(variables, is_reachable=is_reachable)
    assert bool(found) is restarted
    assert asked == ([] if age == 50 else ["redis://broker:6379/1"])


def test_its_status_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVENESS_FILE", str(tmp_path / "alive"))
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.delitem(sys.modules, "config.monitoring.probe")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("config.monitoring.probe", run_name="__main__")
    assert ended.value.code == f"{tmp_path}/alive was not touched for 60 s, and the broker responds."
    (tmp_path / "alive").touch()
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("config.monitoring.probe", run_name="__main__")
    assert ended.value.code == 0
