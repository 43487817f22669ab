"""offload_reference: frozen models are on the device while they compute, and not a bit of the result changes.

There is no GPU here: copies in the processor's own memory stand for those on a device.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models_core.contract.errors import BadInput
from models_core.contract.settings import PPOConfig, parse
from models_core.modeling import forward
from models_core.training import offload
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import CPU, metrics, weights
from tests.models_core.tiny import make_tiny_model

SHORT = {"episodes": 16, "batch_size": 8, "max_new_tokens": 6, "learning_rate": 0.01, "max_tokens_per_forward": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("offload")
    make_tiny_model(folder / "model")
    make_tiny_model(folder / "reference", seed=1)
    recipe_runs.make_reward_model(folder / "model", folder / "reward")
    recipe_runs.prompts(folder)
    recipe_runs.rankings(folder)
    return folder


class Device:
    """Memory of its own: tensors there are copies, and which are alive is known."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places: set[int] = set()
        self.copies = 0
        monkeypatch.setattr(offload, "is_apart", lambda device: True)
        monkeypatch.setattr(offload, "copied", self.copied)

    def copied(self, tensor: Tensor, device: torch.device) -> Tensor:
        self.copies += 1
        made = tensor.clone()
        self.places.add(made.data_ptr())
        return made


def test_weights_are_on_the_device_within_and_back_in_place_after(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    tensors = [*model.parameters(), *model.buffers()]
    before = [(tensor.data_ptr(), tensor.clone()) for tensor in tensors]
    device = Device(monkeypatch)
    waiting = offload.HostWeights(model, device=CPU)

    def use() -> None:
        with waiting.on_device():
            with waiting.on_device():
                assert {tensor.data_ptr() for tensor in tensors} == device.places
            assert {tensor.data_ptr() for tensor in tensors} == device.places
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert device.copies == len(tensors)
    for tensor, (place, values) in zip(tensors, before, strict=True):
        assert tensor.data_ptr() == place
        assert torch.equal(tensor, values)


@pytest.mark.parametrize("baseline", [False, True])
def test_ppo_is_the_same_to_the_bit_and_frozen_models_compute_on_the_device_alone(
    baseline: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"model": str(folder / "model"), "reward": str(folder / "reward"), "data": str(folder / "prompts.jsonl")}
    values = SHORT | {"method": "full", "value_init": "policy", "reward_baseline": baseline}
    recipe_runs.run("ppo", tmp_path / "plain", values, **given)
    device, used = Device(monkeypatch), []
    plain = forward.hidden_states

    def watched(trunk: Any, *rest: Any, **named: Any) -> Any:
        table = trunk.get_input_embeddings().weight
        used.append((table.requires_grad, table.data_ptr() in device.places))
        return plain(trunk, *rest, **named)

    monkeypatch.setattr(forward, "hidden_states", watched)
    recipe_runs.run("ppo", tmp_path / "offloaded", values | {"offload_reference": True}, **given)
    one, two = weights(tmp_path / "plain"), weights(tmp_path / "offloaded")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert metrics(tmp_path / "plain") == metrics(tmp_path / "offloaded")
    # Policy and value model learn, and stay; reference and reward model are copies whenever they compute.
    assert set(used) == {(True, False), (False, True)}


def test_the_reference_is_brought_once_for_all_passes_of_an_iteration(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.models_core import ppo_fixtures

    device = Device(monkeypatch)
    chosen = ppo_fixtures.settings(share_base_weights="never", offload_reference=True, max_tokens_per_forward=64)
    actor_critic = ppo_fixtures.actor_critic(folder / "model", folder / "reward", chosen)
    waiting = len(getattr(actor_critic.reference, offload.HOST).tensors)
    before = device.copies
    assert before == 2 * waiting + 1  # each was held against transformers' forward once; the reward model has a head
    ppo_fixtures.sample_trajectories(actor_critic)
    assert device.copies - before == 2 * waiting + 1
    assert actor_critic.reference.lm_head.weight.data_ptr() not in device.places


def test_dpo_is_the_same_to_the_bit_with_a_reference_of_its_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"model": str(folder / "model"), "data": str(folder / "rankings.jsonl")}
    given["reference"] = str(folder / "reference")
    recipe_runs.run("dpo", tmp_path / "plain", {"learning_rate": 0.01}, **given)
    asked: list[bool] = []

    def host_of(device: torch.device, *, is_offloaded: bool) -> torch.device:
        asked.append(is_offloaded)
        return device

    monkeypatch.setattr(offload, "host_of", host_of)
    recipe_runs.run("dpo", tmp_path / "offloaded", {"learning_rate": 0.01, "offload_reference": True}, **given)
    assert asked == [True]
    one, two = weights(tmp_path / "plain"), weights(tmp_path / "offloaded")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_processor_keeps_models_where_they_are(folder: Path) -> None:
    from tests.models_core import ppo_fixtures

    chosen = ppo_fixtures.settings(share_base_weights="never", offload_reference=True)
    actor_critic = ppo_fixtures.actor_critic(folder / "model", folder / "reward", chosen)
    assert not hasattr(actor_critic.reference, offload.HOST)
    assert offload.host_of(CPU, is_offloaded=True) == CPU


def test_weights_in_four_bits_are_not_moved() -> None:
    with pytest.raises(BadInput, match="offload_reference cannot move weights in 4 bits: take method=lora"):
        offload.check(parse(PPOConfig, {"method": "qlora", "offload_reference": True}))
