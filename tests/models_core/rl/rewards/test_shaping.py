"""What is taken off for length, form and a missing end."""

import pytest
import torch

from models_core.contract.errors import BadInput
from models_core.rl.rewards import shaping
from models_core.rl.rewards.base import RewardFailed
from tests.models_core.rl.rewards.completions import completion, settings

SCORES = torch.tensor([2.0, -1.0, 0.5])
ENDED = torch.tensor([True, False, False])


def test_only_tokens_beyond_the_target_cost_something():
    lengths = torch.tensor([1, 4, 5, 9])
    assert shaping.length_penalty(lengths, target=4, coef=0.25).tolist() == [0.0, 0.0, -0.25, -1.25]


@pytest.mark.parametrize(
    ("rule", "kept", "cut"),
    [
        ("subtract", [2.0, -1.0, 0.5], [0.0, -1.5, -1.5]),
        ("replace", [2.0, 0.0, 0.0], [0.0, -1.5, -1.5]),
        ("none", [2.0, -1.0, 0.5], [0.0, 0.0, 0.0]),
    ],
)
def test_a_response_that_was_cut_off_loses_by_the_rule(rule, kept, cut):
    found = shaping.missing_eos_penalty(SCORES, ENDED, mode=rule, penalty=1.5)
    assert [part.tolist() for part in found] == [kept, cut]


def test_each_rule_of_form_that_is_broken_costs_the_penalty():
    rules = shaping.FormatRules.from_settings(
        settings(required_pattern=r"^Answer: \d+$", forbidden_pattern="sorry", format_penalty=0.5)
    )
    texts = ["Answer: 12", "Answer: twelve", "sorry", "Answer: 1\nsorry"]
    assert rules.penalties(texts).tolist() == [0.0, -0.5, -1.0, -1.0]


def test_the_terms_that_settings_ask_for_have_names():
    responses = [completion("abc"), completion("no", ended=False), completion("abcdef", ended=False)]
    every = settings(
        missing_eos_mode="subtract", length_penalty_coef=0.5, length_target=2, required_pattern="a", format_penalty=3
    )
    found = shaping.reward_terms(responses, SCORES, settings=every, rules=shaping.FormatRules.from_settings(every))
    assert {name: term.tolist() for name, term in found.items()} == {
        "score": [2.0, -1.0, 0.5], "length": [-0.5, 0.0, -2.0], "format": [0.0, -3.0, 0.0],
        "missing_eos": [0.0, -1.0, -1.0],
    }  # fmt: skip
    plain = settings()
    assert list(
        shaping.reward_terms(responses, SCORES, settings=plain, rules=shaping.FormatRules.from_settings(plain))
    ) == ["score"]


def test_what_is_no_pattern_is_bad_input():
    with pytest.raises(BadInput, match="The setting forbidden_pattern is no regular expression: "):
        shaping.FormatRules.from_settings(settings(forbidden_pattern="(oops"))


def test_a_pattern_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(shaping, "SEARCH_TIMEOUT", 0.05)
    rules = shaping.FormatRules.from_settings(settings(required_pattern="^(a|aa)+$"))
    with pytest.raises(RewardFailed, match="required_pattern searched one response for more than"):
        rules.penalties(["a" * 60 + "!"])
