"""`python -m benchmarks win_rate` on a tiny model: what it trains and measures, that it goes on, and its verdict."""

import json

import pytest

from benchmarks import results, win_rate
from benchmarks.gold_reward import stages
from tests.benchmarks.conftest import Cut, tiny_options


@pytest.fixture
def given(tiny, prompts, tmp_path, vowels):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"Paragraph {number} of a text." for number in range(30)), encoding="utf-8")
    sizes = ["--held-out", "6", "--policy-prompts", "8", "--held-out-text", "60"]
    options = tiny_options("evaluate.precision=fp32", "ptx.ptx_coef=0.5")
    folder = tmp_path / "made"
    base = ["--prompts", str(prompts), "--text", str(text), "--folder", str(folder), "--model", str(tiny)]
    return [*base, *sizes, *options]


def test_every_seed_is_measured_with_and_without_text(given, tmp_path, commands, capsys):
    assert win_rate.main([*given, "--seeds", "0", "3"]) == 0
    out = capsys.readouterr().out.splitlines()
    rows = results.read(tmp_path / "made" / "results.jsonl")
    assert [(row["kind"], row["seed"]) for row in rows] == [("ppo", 0), ("ptx", 0), ("ppo", 3), ("ptx", 3)]
    for row in rows:
        assert 0 <= row["win_rate_low"] <= row["win_rate"] <= row["win_rate_high"] <= 1
        assert row["episodes"] == 8
        assert row["rankings"] > 10
        assert 0 <= row["proxy_accuracy"] <= 1
        assert row["perplexity"] > 1
    # The policy learned on prompts that neither the reward model nor the measurement has.
    policies = [command for command in commands if command[0] == "ppo"]
    assert [("--ptx" in command) for command in policies] == [False, True, False, True]
    assert {argument.split("=")[-1] for command in policies for argument in command if "seed=" in argument} == {
        "0",
        "3",
    }
    assert all("--set=eval_prompts=6" in command for command in policies)  # every held-out prompt
    lots = {name: stages.read(tmp_path / "made" / "prompts" / f"{name}.jsonl") for name in ("held_out", "policy")}
    assert str(tmp_path / "made" / "prompts" / "policy.jsonl") in policies[0]
    assert not {row["id"] for row in lots["policy"]} & {row["id"] for row in lots["held_out"]}
    # A table of four lines under its head, and the verdict.
    assert out[0].startswith(f"The reward model learned from {rows[0]['rankings']} rankings; it is right about ")
    assert [line.split(" | ")[0] for line in out[4:8]] == ["| ppo", "| ptx", "| ppo", "| ptx"]
    assert json.loads(out[-1])["seeds"] == 2
    # Models are large: what is measured is thrown away.
    assert not list((tmp_path / "made").glob("proxy-p*/model"))


def test_one_that_was_interrupted_goes_on_and_computes_nothing_again(given, tmp_path, commands, capsys):
    asked = [*given, "--seeds", "0"]
    commands.limit = 5
    with pytest.raises(Cut):
        win_rate.main(asked)
    commands.limit = None
    assert win_rate.main(asked) == 0
    outs = [command[command.index("--out") + 1] for command in commands]
    assert len(outs) == len(set(outs)), "a command ran twice"
    first = (tmp_path / "made" / "results.jsonl").read_bytes()
    count = len(commands)
    assert win_rate.main(asked) == 0
    assert len(commands) == count
    assert (tmp_path / "made" / "results.jsonl").read_bytes() == first


def test_the_gold_reward_itself_can_be_what_is_learned_from(given, commands, tmp_path):
    assert win_rate.main([*given, "--seeds", "0", "--kinds", "ppo", "--reward", "gold"]) == 0
    assert "reward" not in {command[0] for command in commands}
    (policy,) = (command for command in commands if command[0] == "ppo")
    assert policy[policy.index("--reward") + 1] == "benchmarks.gold_reward.golds:positivity"
    (row,) = results.read(tmp_path / "made" / "results.jsonl")
    assert row["reward"] == "gold"
    assert "proxy_accuracy" not in row


def test_wins_are_counted_over_all_pairs_of_a_prompt_and_ties_are_half():
    figures = win_rate.win_rate([[1.0, 0.0], [0.5, 0.5]], [[0.0, 0.5], [0.5, 0.9]])
    assert figures["win_rate"] == pytest.approx((1 + 1 + 0.5 + 0 + 0.5 + 0 + 0.5 + 0) / 8)


def test_the_divergence_is_that_of_the_last_responses_to_held_out_prompts(tmp_path):
    rows = [
        {"step": 0, "held_out": True, "logprob": -9.0, "reference_logprob": -9.0},
        {"step": 4, "held_out": True, "logprob": -3.0, "reference_logprob": -8.0},
        {"step": 4, "held_out": True, "logprob": -3.0, "reference_logprob": -6.0},
        {"step": 4, "held_out": False, "logprob": 0.0, "reference_logprob": -90.0},
    ]
    stages.write_rows(tmp_path / "samples.jsonl", rows)
    assert win_rate.divergence(tmp_path) == 4.0


def result(kind, seed, *, won, kl=8.0, perplexity=10.0):
    return {"kind": kind, "seed": seed, "win_rate": won, "kl": kl, "perplexity": perplexity, "perplexity_before": 10.0}


def test_the_goals_are_for_every_seed_and_the_gain_is_that_of_the_same_seed():
    good = [result("ppo", 0, won=0.86), result("ptx", 0, won=0.85, perplexity=10.2), result("ppo", 1, won=0.9)]
    said = win_rate.verdict(good)
    assert said["reached"]
    assert said["win_rate"] == pytest.approx(0.88)
    assert said["ptx_gain"] == pytest.approx(0.35 / 0.36)
    assert said["ptx_perplexity_ratio"] == pytest.approx(1.02)
    assert said["ptx_reached"]
    assert not win_rate.verdict([*good, result("ppo", 2, won=0.84)])["reached"]
    assert not win_rate.verdict([*good, result("ppo", 2, won=0.95, kl=12.5)])["reached"]
    assert not win_rate.verdict([*good, result("ptx", 1, won=0.8, perplexity=10.2)])["ptx_reached"]
    assert not win_rate.verdict([*good, result("ptx", 1, won=0.9, perplexity=10.4)])["ptx_reached"]
    assert "ptx_gain" not in win_rate.verdict([result("ppo", 0, won=0.4), result("ptx", 0, won=0.5)])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "ppo"], "--set takes STAGE.KEY=VALUE"),
        (["--set", "sft.epochs=1"], "with a stage of sample, reward, ppo, ptx, evaluate; not sft.epochs=1"),
    ],
)
def test_wrong_arguments_are_said_before_anything_is_computed(given, more, said, commands, capsys):
    with pytest.raises(SystemExit):
        win_rate.main([*given, *more])
    assert said in capsys.readouterr().err
    assert not commands


def test_learning_beside_text_needs_text(prompts, tmp_path, capsys):
    with pytest.raises(SystemExit):
        win_rate.main(["--prompts", str(prompts), "--folder", str(tmp_path / "made")])
    assert "PPO-ptx needs --text" in capsys.readouterr().err
