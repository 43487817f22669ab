"""`python -m benchmarks labels`: the rules on cases worked by hand, and a queue that is labeled to its end."""

import json
import math

import numpy as np
import pytest
import torch

from benchmarks import results
from benchmarks.label_efficiency import command
from benchmarks.label_efficiency.rules import RULES, Pool
from tests.models_core import recipe_runs


def pool(*tasks, labeled=()):
    """Tasks of two responses: the heads' differences of scores, and how far the first response's state is along x."""
    scores = [torch.tensor([difference, [0.0] * len(difference)], dtype=torch.float64) for difference, _ in tasks]
    states = [torch.tensor([[2 * place, 1.0], [0.0, 1.0]], dtype=torch.float64) for _, place in tasks]
    known = [torch.tensor([[2 * place, 1.0], [0.0, 1.0]], dtype=torch.float64) for place in labeled]
    return Pool(states, scores, known)


def chosen(rule, tasks, count=1):
    return RULES[rule](tasks, count, np.random.default_rng(0))


def test_each_rule_prefers_its_own_kind_of_task():
    sure, torn, contradictory = [4.0, 4.0], [0.0, 0.0], [5.0, -5.0]
    wide = [9.0, 1.0]  # the deviation is 4, and both prefer the same response
    waiting = pool((sure, 1), (torn, 1), (contradictory, 1), (wide, 1))
    # Deviations of differences: 0, 0, 5, 4.
    assert chosen("disagreement", waiting, 4) == [2, 3, 0, 1]
    # Both of one half: entropy log 2; information 0 for those whose heads agree on it.
    assert set(chosen("uncertainty", waiting, 2)) == {1, 2}
    assert chosen("information", waiting, 2)[0] == 2
    # The gradient is chance x difference of states: that of a sure guess is next to nothing.
    assert chosen("gradients", waiting, 1) == [1]


def test_diversity_goes_to_what_is_farthest_from_all_that_is_labeled():
    waiting = pool(*[([0.0, 0.0], place) for place in (1.0, 5.0, 9.0, 10.0)], labeled=(0.0,))
    assert chosen("diversity", waiting, 3) == [3, 1, 0]


def test_every_rule_gives_each_task_once():
    waiting = pool(*[([0.1 * n, -0.2 * n], float(n % 3)) for n in range(7)], labeled=(0.0,))
    for name in RULES:
        assert sorted(chosen(name, waiting, 7)) == list(range(7)), name


def test_a_queue_is_labeled_to_its_end(tiny, tmp_path, capsys):
    data = recipe_runs.rankings(tmp_path, count=40)
    asked = ["--data", str(data), "--folder", str(tmp_path / "made"), "--model", str(tiny), "--layers", "0"]
    asked += ["--seeds", "0", "1", "--rules", "random", "disagreement", "--start", "5", "--batch", "5", "--until", "15"]
    asked += ["--chart", str(tmp_path / "labels.svg")]
    assert command.main(asked) == 0
    out = capsys.readouterr().out.splitlines()
    rows = results.read(tmp_path / "made" / "results.jsonl")
    assert [(row["seed"], row["rule"]) for row in rows] == [
        *((0, "random"), (0, "disagreement"), (1, "random"), (1, "disagreement"))
    ]
    assert all(row["sizes"] == [5, 10, 15] and len(row["accuracy"]) == 3 for row in rows)
    # The same tasks to begin with.
    assert rows[0]["accuracy"][0] == rows[1]["accuracy"][0]
    # Letters tell good from bad: every queue ends with all held-out pairs in order.
    assert [row["accuracy"][-1] for row in rows] == [1.0] * 4
    assert json.loads(out[-1])["seeds"] == 2
    assert b"<svg" in (tmp_path / "labels.svg").read_bytes()
    written = (tmp_path / "made" / "results.jsonl").read_bytes()
    assert command.main(asked) == 0  # what is there is not made again
    assert (tmp_path / "made" / "results.jsonl").read_bytes() == written


def test_the_interval_is_students_over_seeds():
    rows = [
        {"seed": seed, "rule": rule, "accuracy": [0.5, value]}
        for rule, values in (("random", (0.6, 0.6, 0.6)), ("information", (0.61, 0.62, 0.63)))
        for seed, value in enumerate(values)
    ]
    found = command.verdict(rows)["rules"]["information"]
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert found == {
        "accuracy": 0.62,
        "minus_random": 0.02,
        "low": pytest.approx(0.02 - half, abs=1e-4),
        "high": pytest.approx(0.02 + half, abs=1e-4),
    }
