"""`python -m benchmarks rounds` on a tiny model: two rounds with simulated labelers, and what they are measured by."""

import json
import random

import pytest

from benchmarks import results
from benchmarks.closed_loop import ai_judge, command
from benchmarks.gold_reward.golds import positivity
from models_core.ai_feedback import judge_chats
from tests.benchmarks.conftest import tiny_options

pytestmark = pytest.mark.usefixtures("vowels")


def test_two_rounds_are_sampled_judged_trained_and_measured(tiny, prompts, tmp_path, commands, capsys):
    folder, drawn = tmp_path / "made", tmp_path / "rounds.svg"
    sizes = ["--held-out", "6", "--policy-prompts", "8", "--labelled", "6", "--rounds", "2", "--seeds", "4"]
    asked = ["--prompts", str(prompts), "--folder", str(folder), "--model", str(tiny), *sizes, "--chart", str(drawn)]
    asked += tiny_options()
    assert command.main(asked) == 0
    out = capsys.readouterr().out.splitlines()
    rows = results.read(folder / "results.jsonl")
    assert [(row["seed"], row["round"], row["judgments"]) for row in rows] == [(4, 1, 12), (4, 2, 24)]
    assert all(0 <= row["win_rate_low"] <= row["win_rate"] <= row["win_rate_high"] <= 1 for row in rows)
    policies = [arguments for arguments in commands if arguments[0] == "ppo"]
    models = [arguments[arguments.index("--model") + 1] for arguments in policies]
    references = [arguments[arguments.index("--reference") + 1] for arguments in policies]
    assert models == [str(tiny), str(folder / "seed-4" / "policy-1")]
    assert references == [str(tiny)] * 2
    assert json.loads(out[-1])["seeds"] == 1
    assert b"<svg" in drawn.read_bytes()
    # What is there is not made again, and the models that nothing needs any more are gone.
    count = len(commands)
    assert command.main(asked) == 0
    assert len(commands) == count
    assert [path.parent.name for path in folder.glob("seed-4/*/model")] == ["policy-2"]
    # AI feedback begins from the same responses, and asks about each of the six pairs twice.
    before = len(commands)
    ai = [*asked, "--feedback", "ai", "--rounds", "1"]
    assert command.main(ai) == 0
    (row,) = results.read(folder / "ai" / "results.jsonl")
    assert (row["seed"], row["round"], row["requests"]) == (4, 1, 72)
    assert 0 < row["judgments"] <= 6
    assert [arguments[0] for arguments in commands[before:]] == ["judge", "reward", "ppo", "sample"]
    judged = [json.loads(line) for line in (folder / "ai" / "seed-4" / "judgments-1.jsonl").read_text().splitlines()]
    assert {each["judge"] for each in judged} == {"ai"}
    count = len(commands)
    assert command.main(ai) == 0
    assert len(commands) == count
    assert len(results.read(folder / "results.jsonl")) == 2


def test_the_ai_agrees_with_itself_as_calibrated_and_prefers_what_comes_first(vowels):
    generator = random.Random(1)
    texts = [["".join(generator.choices("aeioubcdfg", k=20)) for _ in range(2)] for _ in range(400)]
    noise = ai_judge.calibrated([positivity([{}] * 2, pair) for pair in texts], bias=0.5)

    def asked(first, second):
        chat = judge_chats.verdict_chat([{"role": "user", "content": "x"}], first, second, instructions="i", rubric="r")
        return ai_judge.verdict({"messages": chat, "seed": 0}, noise=noise, bias=0.5)

    there, back = ([asked(*pair[::order]) for pair in texts] for order in (1, -1))
    # Of 400 pairs; four standard errors are 9 points.
    assert sum(one != other for one, other in zip(there, back, strict=True)) / 400 == pytest.approx(0.73, abs=0.09)
    assert (there + back).count("A") / 800 == pytest.approx(0.56, abs=0.05)
    assert there == [asked(*pair) for pair in texts]


def test_the_labelers_agree_less_with_more_noise():
    rows = [
        {"id": str(n), "prompt": [], "responses": [{"text": "a" * n}, {"text": "b" * n + "a"}]} for n in range(1, 80)
    ]
    one, agreement = command.judgments(rows, noise=1e-6, seed=1)
    assert agreement == 1.0
    assert len(one) == 2 * len(rows)
    again, noisy = command.judgments(rows, noise=0.3, seed=1)
    assert again == command.judgments(rows, noise=0.3, seed=1)[0]
    assert 0.5 < noisy < 1


def test_the_verdict_says_whether_every_round_is_above_the_one_before():
    rows = [
        {"seed": seed, "round": number, "win_rate": rate}
        for seed, rates in enumerate([(0.55, 0.6, 0.7), (0.6, 0.58, 0.8)])
        for number, rate in enumerate(rates, start=1)
    ]
    said = command.verdict(rows)
    assert (said["seeds"], said["rises_in_mean"], said["rises_in_seeds"]) == (2, True, 1)
    assert said["mean_win_rates"] == pytest.approx({"1": 0.575, "2": 0.59, "3": 0.75})
