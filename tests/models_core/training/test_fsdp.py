"""What a process holds while a model is split: one of eight, whose messages go nowhere (torch's "fake" backend)."""

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from models_core.modeling import loading
from models_core.training import fsdp
from tests.models_core.tiny import make_tiny_model

CPU = torch.device("cpu")


@pytest.fixture
def one_of_eight() -> Iterator[None]:
    dist.init_process_group("fake", rank=0, world_size=8, store=FakeStore())
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_of_eight")
def test_no_layer_is_whole_any_more_when_the_next_one_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network: Any = loading.load_policy(make_tiny_model(tmp_path / "model"), device=CPU, dtype=torch.bfloat16)
    network.requires_grad_(True)
    whole = [[weakref.ref(weight) for weight in layer.parameters()] for layer in network.model.layers]
    alive = []
    fully_shard: Any = fsdp.fully_shard

    def counted(module: Any, **how: Any) -> Any:
        split = fully_shard(module, **how)
        alive.append([sum(weight() is not None for weight in layer) for layer in whole])
        return split

    counted.state = fully_shard.state  # type: ignore[attr-defined]
    monkeypatch.setattr(fsdp, "fully_shard", counted)
    fsdp.shard(network, device=CPU)
    assert alive == [[0, 9], [0, 0], [0, 0]]
