"""From raw scores to an episode's score, with hand-worked numbers."""

import json
import math
import statistics

import pytest
import torch

from models_core.rl.rewards.base import RewardFailed
from models_core.rl.rewards.baseline import SEED_OFFSET
from models_core.rl.rewards.pipeline import RewardPipeline
from models_core.rl.rewards.rollout_rewards import RolloutRewards
from models_core.rl.rewards.shaping import RunningScale
from tests.models_core.rl.rewards.completions import completion, settings


class FixedScores:
    """A source with the given scores, by text."""

    def __init__(self, **said):
        self.said = said

    def head_scores(self, responses):
        return torch.tensor([self.said[response.text] for response in responses], dtype=torch.float32)


TWO = [completion("a"), completion("b", ended=False)]


def score(values, *responses, said=None, **chosen):
    source = FixedScores(**(said or {text: [value] for text, value in values.items()}))
    return RewardPipeline(source, settings=settings(**chosen)).shaped_rewards(list(responses) or TWO, step=1)


def test_the_terms_sum_to_what_a_response_is_worth():
    scored = score({"a": 2.0, "b": 3.0}, missing_eos_mode="subtract", missing_eos_penalty=0.5, length_penalty_coef=0.25)
    assert scored.total.tolist() == [1.75, 2.25]
    assert scored.metrics == {
        "score": 2.5, "reward/score": 2.5, "reward/length": -0.25, "reward/missing_eos": -0.25,
    }  # fmt: skip


def test_several_heads_cost_what_they_differ_by():
    scored = score({}, said={"a": [1.0, 3.0], "b": [2.0, 2.0]}, reward_std_coef=0.5)
    assert scored.total.tolist() == [1.5, 2.0]
    assert scored.metrics == {
        "score": 2.0, "score_std": 0.5, "conservative_score": 1.75, "reward/score": 1.75,
    }  # fmt: skip


def test_scores_are_clipped_and_the_clipped_ones_counted():
    scored = score({"a": 2.0, "b": -9.0}, reward_clip=4.0)
    assert scored.total.tolist() == [2.0, -4.0]
    assert (scored.metrics["clipped_scores"], scored.metrics["score"]) == (0.5, -3.5)


@pytest.mark.parametrize("rule", ["scale", "standard"])
def test_scores_are_put_on_the_scale_of_all_iterations_so_far(rule):
    rewards = RewardPipeline(FixedScores(a=[2.0], b=[4.0], c=[9.0], d=[1.0]), settings=settings(reward_normalise=rule))
    shift = {"scale": 0, "standard": 1}[rule]
    first = rewards.shaped_rewards([completion("a"), completion("b")], step=1)
    assert first.total.tolist() == [2.0 - 3 * shift, 4.0 - 3 * shift]  # mean 3, deviation 1
    second = rewards.shaped_rewards([completion("c"), completion("d")], step=2)
    mean, deviation = 4.0, statistics.pstdev([2, 4, 9, 1])
    wanted = [(9 - mean * shift) / deviation, (1 - mean * shift) / deviation]
    assert second.total.tolist() == pytest.approx(wanted, rel=1e-6)
    assert second.metrics["score"] == 5.0


def test_the_scale_is_that_of_all_numbers_together():
    generator = torch.Generator().manual_seed(0)
    iterations = [
        (torch.randn(size, generator=generator, dtype=torch.float64) * 3 + 100).tolist() for size in (3, 1, 8)
    ]
    scale = RunningScale()
    for values in iterations:
        scale.update(values)
    every = [value for values in iterations for value in values]
    assert (scale.count, scale.mean) == (12, pytest.approx(statistics.fmean(every), abs=1e-10))
    assert scale.std == pytest.approx(statistics.pstdev(every), abs=1e-10)


def test_equal_scores_have_no_scale_to_be_put_on():
    assert score({"a": 2.0, "b": 2.0}, reward_normalise="scale").total.tolist() == [2.0, 2.0]


def test_a_resumed_run_has_the_same_scale_to_the_bit():
    chosen = settings(reward_normalise="standard")
    source = FixedScores(a=[0.1], b=[0.7], c=[1 / 3])
    whole = RewardPipeline(source, settings=chosen)
    whole.shaped_rewards(TWO, step=1)
    resumed = RewardPipeline(source, settings=chosen)
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    last = [completion("c"), completion("a")]
    assert torch.equal(whole.shaped_rewards(last, step=2).total, resumed.shaped_rewards(last, step=2).total)


class Reference:
    """Draws `R` and its number as the reference's response, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def draw(self, responses, seed):
        asked = [response.prompt.messages[-1]["content"] for response in responses]
        self.asked.append((asked, seed))
        return [completion(f"R{text}", prompt=text) for text in asked]


def with_baseline(path, reference, **said):
    chosen = settings(reward_baseline=True, seed=5)
    return RewardPipeline(FixedScores(**said), settings=chosen, sample_reference=reference.draw, baseline_file=path)


def test_a_response_is_worth_what_it_has_over_the_references_own(tmp_path):
    reference, path = Reference(), tmp_path / "baseline.jsonl"
    said = {"a": [5.0], "b": [1.0], "Rp": [2.0], "Rq": [0.5], "Rr": [9.0]}
    rewards = with_baseline(path, reference, **said)
    responses = [completion("a", prompt="p"), completion("b", prompt="q"), completion("b", prompt="p", number=7)]
    scored = rewards.shaped_rewards(responses, step=1)
    assert scored.total.tolist() == [3.0, 0.5, -1.0]
    assert (scored.metrics["score"], scored.metrics["baseline_score"]) == (pytest.approx(7 / 3), 1.5)
    assert rewards.shaped_rewards(
        [completion("a", prompt="r"), completion("a", prompt="p")], step=2
    ).total.tolist() == [
        -4.0,
        3.0,
    ]
    assert reference.asked == [(["p", "q"], 5 * 2**32 + SEED_OFFSET + 1), (["r"], 5 * 2**32 + SEED_OFFSET + 2)]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["step"], row["response"], row["score"]) for row in rows] == [
        (1, "Rp", 2.0),
        (1, "Rq", 0.5),
        (2, "Rr", 9.0),
    ]


def test_what_the_reference_answered_is_not_drawn_again_by_a_resumed_run(tmp_path):
    path = tmp_path / "baseline.jsonl"
    said = {"a": [5.0], "Rp": [1 / 3]}
    first = with_baseline(path, Reference(), **said)
    responses = [completion("a", prompt="p")]
    before = first.shaped_rewards(responses, step=1).total
    reference = Reference()
    resumed = with_baseline(path, reference, **said)
    resumed.load_state_dict(first.state_dict())
    assert torch.equal(resumed.shaped_rewards(responses, step=2).total, before)
    assert not reference.asked


def test_held_out_responses_are_worth_the_same_whenever_they_are_measured():
    rewards = RewardPipeline(
        FixedScores(a=[2.0], b=[4.0]),
        settings=settings(reward_normalise="standard", length_penalty_coef=1.0, reward_clip=0.1),
    )
    raw = rewards.raw_scores(TWO)
    assert rewards.selection_scores(TWO, raw, penalty_scale=3.0).tolist() == [-1.0, 1.0]
    rewards.shaped_rewards(TWO, step=1)
    assert rewards.selection_scores(TWO, raw, penalty_scale=3.0).tolist() == [-1.0, 1.0]


class FixedRewards(RolloutRewards):
    """Reward models replaced by fixed scores, which records what they are given."""

    def __init__(self, scores):
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "given", [])

    def score_groups(self, groups, messages):
        self.given.append((groups, messages))
        return self.scores


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_score_of_a_reward_model_that_is_not_finite_is_reported(broken):
    source = FixedRewards(torch.tensor([[1.0], [broken]]))
    with pytest.raises(RewardFailed, match="gave a score that is not a finite number"):
        source.head_scores(TWO)


def test_reward_models_are_given_tokens_and_prompts():
    source = FixedRewards(torch.zeros(2, 1))
    source.head_scores(TWO)
    ((groups, messages),) = source.given
    assert [(group.prompt, group.responses) for group in groups] == [((1, 2), [[97]]), ((1, 2), [[98]])]
    assert messages[0][0]["content"] == "say it"
