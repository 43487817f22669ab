import json
import subprocess
import sys

from tests.conftest import ROOT


def test_the_last_line_has_the_figures_of_a_database_and_none_is_lost_or_given_too_often() -> None:
    size = ["--tasks", "40", "--labelers", "2", "--submits", "5", "--database", "sqlite"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "queue", *size], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    figures = json.loads(done.stdout.rstrip("\n").split("\n")[-1])
    assert set(figures) == {"sqlite"}
    times = [figures["sqlite"].pop(name) for name in ("submit_next_p50_ms", "submit_next_p95_ms", "cpu_ms")]
    assert figures["sqlite"] == {"over_assigned": 0, "lost": 0, "submits": 10}
    assert 0 < times[0] <= times[1]
    assert times[2] > 0
