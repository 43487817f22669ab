"""A Python function as reward."""

import pytest

from models_core.contract.errors import BadInput
from models_core.rl.rewards.base import RewardFailed
from models_core.rl.rewards.function import RewardFunction
from tests.models_core.rl.rewards import example_rewards
from tests.models_core.rl.rewards.completions import completion

MODULE = "tests.models_core.rl.rewards.example_rewards"
RESPONSES = [completion("ab", number=0, solution="4"), completion("abcd", number=1)]


def head_scores(function):
    return RewardFunction(f"{MODULE}:{function}").head_scores(RESPONSES)


def test_a_function_is_given_the_rows_and_the_texts():
    example_rewards.calls.clear()
    assert head_scores("lengths").tolist() == [[2.0], [4.0]]
    ((rows, texts),) = example_rewards.calls
    assert texts == ["ab", "abcd"]
    assert rows == [
        {"id": "0", "prompt": [{"role": "user", "content": "say it"}], "solution": "4"},
        {"id": "1", "prompt": [{"role": "user", "content": "say it"}]},
    ]


def test_whatever_counts_as_numbers_is_taken():
    assert head_scores("tensor").tolist() == [[0.0], [0.5]]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("raises", r"failed: KeyError: 'answer'\."),
        ("one_too_many", r"returned 3 values for 2 responses\."),
        ("one_number", r"returned 3\.5 where 2 numbers are needed\."),
        ("words", r"returned '7' for response 1 of 2, which is not a finite number\."),
        ("nan", r"returned nan for response 2 of 2, which is not a finite number\."),
        ("infinite", r"returned -inf for response 1 of 2, which is not a finite number\."),
        ("nothing", r"returned None for response 1 of 2, which is not a finite number\."),
    ],
)
def test_a_function_that_gives_no_rewards_is_named_with_the_reason(function, sentence):
    with pytest.raises(RewardFailed, match=f"^The reward function {MODULE}:{function} {sentence}$"):
        head_scores(function)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_module:reward", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{MODULE}:missing", "missing is not in that module"),
        (f"{MODULE}:NUMBER", "NUMBER is not a function"),
        ("only_a_word", "not the name of a function"),
    ],
)
def test_a_function_that_is_not_there_is_bad_input(name, sentence):
    with pytest.raises(BadInput, match=sentence):
        RewardFunction(name)


def test_a_module_beside_the_command_is_found(tmp_path, monkeypatch):
    (tmp_path / "reward_beside.py").write_text("def ones(rows, texts):\n    return [1 for _ in texts]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    assert RewardFunction("reward_beside:ones").head_scores(RESPONSES).tolist() == [[1.0], [1.0]]


def test_a_module_that_breaks_while_it_is_read_is_bad_input(tmp_path, monkeypatch):
    (tmp_path / "reward_broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="cannot be imported: ZeroDivisionError: division by zero"):
        RewardFunction("reward_broken:ones")
