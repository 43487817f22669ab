"""Checkpoints: whole or absent, exact, and without pickle."""

import random

import numpy
import torch

from models_core.training import checkpoint


def save(folder, step, **options):
    tensors = {"model": {"w": torch.full((2, 3), float(step))}, "optimizer": {"w.step": torch.tensor(float(step))}}
    return checkpoint.save(folder, step=step, tensors=tensors, state={"cursor": step * 10}, **options)


def test_what_is_saved_comes_back_exactly(tmp_path):
    weights = {"a": torch.randn(3, 4), "b": torch.randn(5).bfloat16()}
    checkpoint.save(tmp_path, step=7, tensors={"model": weights}, state={"cursor": [1, 2], "beta": 0.1})
    found = checkpoint.latest(tmp_path)
    assert (found.step, found.state) == (7, {"cursor": [1, 2], "beta": 0.1})
    assert all(torch.equal(found.tensors("model")[name], weights[name]) for name in weights)
    assert found.tensors("model")["b"].dtype == torch.bfloat16


def test_every_generator_goes_on_where_it_was(tmp_path):
    save(tmp_path, 1)
    expected = (random.random(), numpy.random.random(), torch.rand(3).tolist())
    checkpoint.latest(tmp_path).restore_rng()
    assert (random.random(), numpy.random.random(), torch.rand(3).tolist()) == expected


def test_only_the_newest_are_kept(tmp_path):
    for step in (1, 2, 3, 10):
        save(tmp_path, step, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000010"]
    assert checkpoint.latest(tmp_path).step == 10


def test_the_same_step_saved_again_replaces_it(tmp_path):
    save(tmp_path, 5)
    save(tmp_path, 5)
    assert checkpoint.latest(tmp_path).step == 5


def test_a_torn_checkpoint_is_passed_over(tmp_path):
    for tear in ("short", "missing", "no state", "half a state"):
        folder = tmp_path / tear
        save(folder, 1, keep=9)
        newest = save(folder, 2, keep=9)
        if tear == "short":
            file = newest / "model.safetensors"
            file.write_bytes(file.read_bytes()[:-1])
        elif tear == "missing":
            (newest / "optimizer.safetensors").unlink()
        elif tear == "no state":
            (newest / "state.json").unlink()
        else:
            (newest / "state.json").write_text('{"step": 2, ')
        assert checkpoint.latest(folder).step == 1, tear


def test_a_save_that_broke_off_leaves_the_last_one(tmp_path):
    save(tmp_path, 1)
    (tmp_path / ".partial-step-00000002").mkdir()
    (tmp_path / ".partial-step-00000002" / "model.safetensors").write_bytes(b"half")
    assert checkpoint.latest(tmp_path).step == 1
    save(tmp_path, 2)
    assert checkpoint.latest(tmp_path).step == 2


def test_no_checkpoint_at_all(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "absent") is None


def test_nothing_on_disk_is_pickled(tmp_path):
    path = save(tmp_path, 1)
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}
