"""A source that one process asks and all hear, with both processes played in turn."""

import pytest
import torch

from models_core.contract.errors import BadInput
from models_core.rl.rewards import base
from models_core.rl.rewards.base import BroadcastSource, RewardFailed
from tests.models_core.rl.rewards.completions import completion


@pytest.fixture
def as_process(monkeypatch):
    """Become the process of a rank; what the first one says is what the others hear."""
    said = []

    def become(rank):
        monkeypatch.setattr(base.processes, "count", lambda: 2)
        monkeypatch.setattr(base.processes, "is_main", lambda: rank == 0)

        def agreed(text):
            if rank == 0:
                said.append(text)
            return said[-1]

        monkeypatch.setattr(base.distributed, "broadcast", agreed)

    return become


class Dice:
    """Another number at each call: two processes that both asked would differ."""

    def __init__(self):
        self.calls = 0

    def head_scores(self, responses):
        self.calls += 1
        return torch.tensor([[self.calls / 3], [float("nan")]])


def test_all_processes_hear_what_one_was_told(as_process):
    dice, responses = Dice(), [completion("a"), completion("b")]
    heard = []
    for rank in (0, 1):
        as_process(rank)
        heard.append(BroadcastSource(dice).head_scores(responses))
    assert dice.calls == 1
    assert torch.equal(heard[0], heard[1]) is False  # NaN is not equal to itself
    assert torch.equal(heard[0].nan_to_num(7), heard[1].nan_to_num(7))
    assert heard[1][0, 0] == torch.tensor(1 / 3)


@pytest.mark.parametrize("kind", [RewardFailed, BadInput])
def test_what_one_process_cannot_do_ends_all(as_process, kind):
    class Broken:
        def head_scores(self, responses):
            raise kind("No.")

    for rank in (0, 1):
        as_process(rank)
        with pytest.raises(kind, match="No"):
            BroadcastSource(Broken()).head_scores([completion("a")])


def test_a_single_process_asks_for_itself():
    dice = Dice()
    assert BroadcastSource(dice).head_scores([completion("a")]).shape == (2, 1)
