"""Which rows come in which step: weights of data sets, replay, token budgets."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.settings import SFTConfig
from models_core.demonstrations.examples import Example
from models_core.demonstrations.mixture import Source, Step, data_weights, passes_over, plan


def example(name: int, *, tokens: int = 4, wording: int = 0) -> Example:
    return Example([name] * (tokens - 1), [wording], [], tokens)


def source(start: int, rows: int, weight: str = "1", *, wordings: int = 1) -> Source:
    names = range(start, start + rows)
    passes = [[example(name, wording=wording) for name in names] for wording in range(wordings)]
    return Source(passes=passes, weight=Fraction(weight))


def names(steps: list[Step]) -> list[int]:
    return [row.prompt[0] for step in steps for row in step.new]


def epochs(steps: list[Step]) -> list[list[int]]:
    cut: list[list[int]] = [[]]
    for step in steps:
        cut[-1] += names([step])
        if step.ends_epoch:
            cut.append([])
    return cut[:-1]


def test_every_row_comes_once_an_epoch_in_an_order_of_seed_and_epoch():
    settings = SFTConfig(epochs=3, batch_size=4)
    steps = plan([source(0, 10)], replay=None, settings=settings)
    assert [len(step.new) for step in steps] == [4, 4, 2] * 3
    first, second, third = epochs(steps)
    assert sorted(first) == sorted(second) == sorted(third) == list(range(10))
    assert first != second
    assert steps == plan([source(0, 10)], replay=None, settings=settings)
    assert names(steps) != names(plan([source(0, 10)], replay=None, settings=SFTConfig(epochs=3, seed=1)))


def test_a_weight_is_how_many_passes_over_the_data_set_an_epoch_makes():
    settings = SFTConfig(epochs=4, batch_size=5)
    steps = plan([source(0, 10), source(100, 10, "0.3"), source(200, 3, "2.5")], replay=None, settings=settings)
    for epoch in epochs(steps):
        sizes = Counter(name // 100 for name in epoch)
        assert (sizes[0], sizes[1]) == (10, 3)
        assert sizes[2] in (7, 8)
    counts = Counter(names(steps))
    assert {counts[name] for name in range(10)} == {4}
    assert sum(counts[name] for name in range(100, 110)) == 12
    assert {counts[name] for name in range(100, 110)} == {1, 2}  # none a second time before all had their first
    assert {counts[name] for name in range(200, 203)} == {10}


def test_each_pass_is_in_its_own_wording():
    steps = plan([source(0, 4, "0.5", wordings=2)], replay=None, settings=SFTConfig(epochs=4, batch_size=2))
    drawn = [(row.prompt[0], row.response[0]) for step in steps for row in step.new]
    assert sorted(drawn[:4]) == [(name, 0) for name in range(4)]
    assert sorted(drawn[4:]) == [(name, 1) for name in range(4)]
    assert [passes_over(Fraction(weight), epochs=4) for weight in ("0.5", "1", "0.3", "2.5")] == [2, 4, 2, 10]


def test_replayed_rows_come_with_every_step_at_their_ratio():
    settings = SFTConfig(epochs=2, batch_size=4, replay_ratio=0.3)
    steps = plan([source(0, 8)], replay=source(50, 3), settings=settings)
    assert [len(step.replayed) for step in steps] == [1, 1, 1, 1]  # 0.3 x 4, 8, 12, 16 rounded down, what is new of it
    settings = SFTConfig(epochs=2, batch_size=4, replay_ratio=1.5)
    steps = plan([source(0, 8)], replay=source(50, 3), settings=settings)
    assert [len(step.replayed) for step in steps] == [6, 6, 6, 6]
    assert {Counter(row.prompt[0] for step in steps for row in step.replayed)[name] for name in (50, 51, 52)} == {8}
    assert plan([source(0, 8)], replay=source(50, 3), settings=SFTConfig(replay_ratio=0))[0].replayed == []


def test_a_token_budget_fills_steps_and_gives_too_long_a_row_one_of_its_own():
    rows = [example(name, tokens=tokens) for name, tokens in enumerate([3, 3, 3, 20, 3])]
    steps = plan([Source(passes=[rows])], replay=None, settings=SFTConfig(epochs=1, batch_tokens=9))
    for step in steps:
        size = sum(row.tokens for row in step.new)
        assert size <= 9 or len(step.new) == 1
    assert sorted(names(steps)) == [0, 1, 2, 3, 4]
    neighbours = pairwise(steps)
    assert all(sum(row.tokens for row in [*one.new, two.new[0]]) > 9 for one, two in neighbours)


def test_weights_are_read_as_they_are_written():
    assert data_weights("", files=2) == [1, 1]
    assert data_weights(" 1, 0.3 ", files=2) == [1, Fraction(3, 10)]
    with pytest.raises(BadInput, match="must be numbers parted by commas, not '1,x'"):
        data_weights("1,x", files=2)
    with pytest.raises(BadInput, match="holds 1 numbers for 2 data files"):
        data_weights("1", files=2)
    for text in ("0", "-1", "nan", "inf", "1e999999999", "1001"):
        with pytest.raises(BadInput, match="above 0 and up to 1000"):
            data_weights(text, files=1)


def test_weights_too_small_for_a_single_row_are_refused():
    with pytest.raises(BadInput, match="leaves no row to learn from"):
        plan([source(0, 5, "0.01")], replay=None, settings=SFTConfig(epochs=1))
