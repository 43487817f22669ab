"""`python -m benchmarks overoptimization` on a tiny model: the grid, its points and pictures, and going on."""

import json
import math

import pytest

from benchmarks import results
from benchmarks.gold_reward import stages
from benchmarks.overoptimization import command, curves, plots
from benchmarks.overoptimization.curves import Fit, Point
from models_core import __main__ as models_core_command
from tests.benchmarks.conftest import Cut, tiny_options
from tests.models_core.recipe_runs import StopAfter, chat, write


@pytest.fixture
def given(tiny, prompts, tmp_path, vowels):
    pairs = [{"id": str(n), "prompt": chat(f"say {n}"), "chosen": "aaaa", "rejected": "z"} for n in range(12)]
    hidden = write(tmp_path / "pairs.jsonl", pairs)
    files = ["--prompts", str(prompts), "--hidden", str(hidden), "--folder", str(tmp_path / "made")]
    grid = ["--sizes", "4", "8", "--kl-coefs", "0", "0.5", "--hidden-sizes", "4", "--plots", str(tmp_path / "plots")]
    sizes = ["--held-out", "6", "--policy-prompts", "8", "--model", str(tiny)]
    return [*files, *grid, *sizes, *tiny_options("hidden.precision=fp32", "hidden.epochs=1", "ppo.eval_every=1")]


def test_the_grid_its_points_and_its_pictures(given, tmp_path, commands, capsys):
    assert command.main([*given, "--golds", "positivity", "hidden"]) == 0
    out = capsys.readouterr().out.splitlines()
    rows = results.read(tmp_path / "made" / "results.jsonl")
    assert [(row["gold"], row["size"], row["kl_coef"]) for row in rows] == [
        ("positivity", 4, 0.0),
        ("positivity", 4, 0.5),
        ("positivity", 8, 0.0),
        ("positivity", 8, 0.5),
        ("hidden", 4, 0.0),
        ("hidden", 4, 0.5),
    ]
    for row in rows:
        points = curves.points_of(row)
        assert [point.episodes for point in points] == [0, 4, 8]
        assert (points[0].kl, points[0].proxy, points[0].gold) == pytest.approx((0, 0, 0), abs=1e-4)
        assert 0 <= row["proxy_accuracy"] <= 1
    # Runs at several KL coefficients share their proxy, and both golds the responses that are labelled.
    assert [line[0] for line in commands].count("reward") == 4
    assert [line[0] for line in commands].count("sample") == 2
    for name in ("positivity", "hidden"):
        assert (tmp_path / "plots" / f"overoptimization-{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "plots" / f"overoptimization-{name}.svg").read_text(encoding="utf-8")
    assert [line.split(" | ")[1] for line in out[2:8]] == ["4", "4", "8", "8", "4", "4"]
    assert json.loads(out[-1])["runs"] == 6


def test_one_that_was_interrupted_goes_on_and_computes_nothing_again(given, tmp_path, commands):
    # In the sampling of responses, in the proxy, in the first run, between two runs.
    for limit in (1, 2, 3, 4):
        commands.limit = limit
        with pytest.raises(Cut):
            command.main(given)
    commands.limit = None
    assert command.main(given) == 0
    outs = [line[line.index("--out") + 1] for line in commands]
    assert len(outs) == len(set(outs)) == 2 + 2 + 4
    first, count = (tmp_path / "made" / "results.jsonl").read_bytes(), len(commands)
    assert command.main(given) == 0
    assert len(commands) == count
    assert (tmp_path / "made" / "results.jsonl").read_bytes() == first
    assert command.main([*given, "--seeds", "0", "1"]) == 0
    assert [line[0] for line in commands[count:]] == ["ppo"] * 4


def test_a_run_that_was_stopped_in_its_middle_ends_as_if_it_had_not_been(given, tmp_path, commands, monkeypatch):
    asked = [*given, "--sizes", "4", "--kl-coefs", "0.5", "--set", "ppo.save_every=1"]
    assert command.main([*asked, "--folder", str(tmp_path / "whole")]) == 0
    commands.limit = len(commands) + 3  # the responses and the proxy, but no run
    with pytest.raises(Cut):
        command.main(asked)
    commands.limit = None
    with monkeypatch.context() as patched:
        patched.setattr(models_core_command, "StopSignal", lambda: StopAfter(30))
        with pytest.raises(SystemExit, match="Stopped after step 1 of 2"):
            command.main(asked)
    assert command.main(asked) == 0
    assert [line[0] for line in commands[-2:]] == ["ppo", "ppo"]
    assert commands[-1] == [*commands[-2], "--resume"]
    (whole,), (row,) = (results.read(tmp_path / name / "results.jsonl") for name in ("whole", "made"))
    assert row["points"] == whole["points"]


def test_points_are_in_deviations_of_the_first_responses(tmp_path):
    class Length:
        name = "length"

        def scores(self, rows):
            return [[float(len(response["text"])) for response in row["responses"]] for row in rows]

    def sample(step, text, *, score, kl, held_out=True):
        row = {"step": step, "episodes": 32 * step, "id": "1", "prompt": chat("say it"), "response": text}
        return row | {"score": score, "logprob": kl - 5.0, "reference_logprob": -5.0, "held_out": held_out}

    rows = [
        sample(0, "aa", score=1.0, kl=0.0),
        sample(0, "aaaaaa", score=5.0, kl=0.0),
        sample(2, "a" * 8, score=6.0, kl=1.0),
        sample(2, "a" * 12, score=8.0, kl=8.0),
        sample(2, "a" * 99, score=99.0, kl=99.0, held_out=False),
    ]
    stages.write_rows(tmp_path / "samples.jsonl", rows)
    # Gold: mean 4 and deviation 2, then 10; proxy: mean 3 and deviation 2, then 7.
    assert curves.measured(tmp_path, Length()) == [
        Point(episodes=0, kl=0.0, proxy=0.0, gold=0.0),
        Point(episodes=64, kl=4.5, proxy=2.0, gold=3.0),
    ]


def test_the_law_is_found_again_from_its_own_points():
    law = Fit(alpha=0.9, beta=0.4)
    points = [Point(episodes=0, kl=d * d, proxy=0, gold=law(d)) for d in (0.0, 0.5, 1.0, 2.0, 4.0)]
    found = curves.fitted(points)
    assert (found.alpha, found.beta) == pytest.approx((0.9, 0.4))
    assert found.peak == pytest.approx(math.exp(0.9 / 0.4 - 1))
    assert found(found.peak) > max(found(found.peak * 0.9), found(found.peak * 1.1))
    assert Fit(alpha=0.9, beta=-0.1).peak is None
    assert curves.fitted(points[:3]) is None
    assert Point(episodes=0, kl=-0.01, proxy=0, gold=0).distance == 0.0


def test_where_gold_is_best_is_said_only_where_runs_have_been():
    def row(size, law):
        points = [{"episodes": n, "kl": float(n), "proxy": 0.0, "gold": law(n**0.5)} for n in range(10)]
        return {"gold": "positivity", "size": size, "kl_coef": 0.0, "seed": 0, "proxy_accuracy": 0.7, "points": points}

    lines = command.table([row(4, Fit(0.5, 0.4)), row(8, Fit(0.9, 0.2)), row(16, Fit(0.5, -0.1))]).splitlines()
    assert lines[2].endswith("| 0 | 0 | 9.00 | 0.00 | 0.18 | 0.51, 2.00 |")
    assert [line.split(" | ")[-1] for line in lines[-3:]] == [
        f"{math.exp(2 * (0.5 / 0.4 - 1)):.1f} |",
        "beyond 9.0, where no run went |",
        "beyond 9.0, where no run went |",
    ]


def test_the_same_rows_draw_the_same_picture(tmp_path):
    points = [{"episodes": n, "kl": float(n), "proxy": float(n), "gold": float(n % 3)} for n in range(5)]
    rows = [
        {"gold": "positivity", "size": size, "kl_coef": price, "proxy_accuracy": 0.7, "points": points}
        for size in (4, 8)
        for price in (0.0, 0.1)
    ]
    drawn = [plots.draw(rows, {4: Fit(0.5, 0.1), 8: None}, folder=tmp_path / name, gold="x") for name in ("a", "b")]
    assert drawn[0][0].read_bytes() == drawn[1][0].read_bytes()


def test_the_hidden_gold_needs_its_file(prompts, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command.main(["--prompts", str(prompts), "--folder", str(tmp_path / "made"), "--golds", "hidden"])
    assert "needs --hidden" in capsys.readouterr().err
