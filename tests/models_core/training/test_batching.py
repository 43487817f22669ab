import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_core.training import batching, schedule


def test_an_epochs_order_is_a_shuffle_that_seed_and_epoch_decide() -> None:
    order = batching.epoch_order(20, epoch=0, seed=1)
    assert sorted(order) == list(range(20))
    assert order == batching.epoch_order(20, epoch=0, seed=1)
    assert order != batching.epoch_order(20, epoch=1, seed=1)
    assert order != batching.epoch_order(20, epoch=0, seed=2)


def test_minibatches_cover_each_epoch_once() -> None:
    plan = batching.minibatches(5, size=2, epochs=2, seed=0)
    assert [len(batch) for batch in plan] == [2, 2, 1, 2, 2, 1]
    for epoch in (plan[:3], plan[3:]):
        assert sorted(row for batch in epoch for row in batch) == [0, 1, 2, 3, 4]


def test_a_minibatch_ends_once_its_rows_count_enough() -> None:
    counts = [2, 1, 3, 1, 1]
    plan = batching.minibatches(5, size=3, epochs=1, seed=0, counts=counts)
    assert [row for batch in plan for row in batch] == batching.epoch_order(5, epoch=0, seed=0)
    for batch in plan[:-1]:
        assert sum(counts[row] for row in batch) >= 3 > sum(counts[row] for row in batch[:-1])


def test_micro_batches_fill_up_with_the_longest_first() -> None:
    assert batching.micro_batches([3, 9, 4, 4, 1], budget=8) == [[1], [2, 3], [0, 4]]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 100))
def test_micro_batches_hold_every_row_once_and_fit(lengths: list[int], budget: int) -> None:
    groups = batching.micro_batches(lengths, budget=budget)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or sum(lengths[row] for row in group) <= budget


def test_the_learning_rate_rises_then_falls_or_stays() -> None:
    falling = [schedule.rate(step, steps=10, peak=1.0, warmup=0.2, decay=True) for step in range(10)]
    assert falling == pytest.approx([0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
    staying = [schedule.rate(step, steps=4, peak=2.0, warmup=0.0, decay=False) for step in range(4)]
    assert staying == [2.0] * 4
