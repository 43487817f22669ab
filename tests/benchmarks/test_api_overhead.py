import json

import pytest

from benchmarks import api_overhead


def test_the_last_line_has_what_the_api_adds(capfd: pytest.CaptureFixture[str]) -> None:
    assert api_overhead.main(["--tasks", "40", "--pairs", "3"]) == 0
    figures = json.loads(capfd.readouterr().out.rstrip("\n").split("\n")[-1])
    assert set(figures) == {"page", "api", "added", "added_cpu_ms", "pairs"}
    assert figures["pairs"] == 3
    for name in ("page", "api"):
        assert 0 < figures[name]["p50_ms"] <= figures[name]["p90_ms"]
    assert figures["added_cpu_ms"] == pytest.approx(figures["api"]["cpu_ms"] - figures["page"]["cpu_ms"], abs=0.011)
