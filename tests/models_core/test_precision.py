"""fp32 masters of bf16 weights: small updates survive, and a reloaded optimizer goes on to the bit."""

import pytest
import torch
from torch import nn

from models_core import precision
from models_core.precision import MasterAdamW


def weights(dtype):
    torch.manual_seed(0)
    return {"matrix": nn.Parameter(torch.randn(4, 3).to(dtype)), "vector": nn.Parameter(torch.ones(3, dtype=dtype))}


def train(optimizer, parameters, steps, *, start=0, lr=1e-3):
    for step in range(start, start + steps):
        inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        outputs = inputs @ parameters["matrix"].float() * parameters["vector"].float()
        (outputs - 1).square().mean().backward()
        optimizer.step(lr=lr)


def test_updates_too_small_for_bf16_add_up():
    weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimizer = MasterAdamW({"w": weight}, lr=1e-4)
    plain = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    rounding = torch.optim.AdamW([plain], lr=1e-4, weight_decay=0.0)
    for _ in range(100):
        weight.sum().backward()
        optimizer.step(lr=1e-4)
        plain.sum().backward()
        rounding.step()
        rounding.zero_grad()
    assert optimizer.masters["w"].item() == pytest.approx(0.99, abs=1e-5)
    assert weight.item() == pytest.approx(0.99, abs=0.003)
    assert plain.item() == 1.0


def test_fp32_weights_are_trained_as_by_adamw_itself():
    ours, theirs = weights(torch.float32), weights(torch.float32)
    train(MasterAdamW(ours, lr=1e-3), ours, 5)
    adam = torch.optim.AdamW(theirs.values(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    for step in range(5):
        inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        (inputs @ theirs["matrix"] * theirs["vector"] - 1).square().mean().backward()
        adam.step()
        adam.zero_grad()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-7, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_reloaded_optimizer_goes_on_to_the_bit(dtype):
    whole = weights(dtype)
    train(MasterAdamW(whole, lr=1e-3), whole, 6)
    first = weights(dtype)
    optimizer = MasterAdamW(first, lr=1e-3)
    train(optimizer, first, 3)
    saved = {name: tensor.clone() for name, tensor in optimizer.state_dict().items()}
    second = weights(dtype)
    resumed = MasterAdamW(second, lr=1e-3)
    resumed.load_state_dict(saved)
    train(resumed, second, 3, start=3)
    assert all(torch.equal(whole[name], second[name]) for name in whole)


def test_gradients_of_micro_batches_are_summed_in_fp32():
    """256 ones and then a one at a time: bf16 alone would stay at 256."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    optimizer = MasterAdamW({"w": weight}, lr=1.0)
    for size in (256.0, *[1.0] * 10):
        (weight * size).sum().backward()
    assert optimizer.masters["w"].grad.item() == 266.0
    assert weight.grad is None


def test_clipping_scales_to_the_norm_and_tells_what_it_was():
    weight = nn.Parameter(torch.zeros(2))
    optimizer = MasterAdamW({"w": weight}, lr=1.0)
    weight.grad = torch.tensor([3.0, 4.0])
    assert optimizer.clip(1.0) == pytest.approx(5.0)
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]))
    weight.grad = torch.tensor([3.0, 4.0])
    assert optimizer.clip(0.0) == pytest.approx(5.0)
    assert weight.grad.tolist() == [3.0, 4.0]


def test_weight_decay_spares_vectors():
    parameters = {"matrix": nn.Parameter(torch.ones(2, 2)), "vector": nn.Parameter(torch.ones(2))}
    optimizer = MasterAdamW(parameters, lr=0.1, weight_decay=0.5)
    for weight in parameters.values():
        weight.grad = torch.zeros_like(weight)
    optimizer.step(lr=0.1)
    assert parameters["matrix"].tolist() == [[pytest.approx(0.95)] * 2] * 2
    assert parameters["vector"].tolist() == [1.0, 1.0]


def test_a_given_precision_is_taken_and_auto_measures():
    cpu = torch.device("cpu")
    assert precision.resolve("fp32", device=cpu) == "fp32"
    assert precision.resolve("bf16", device=cpu) == "bf16"
    assert precision.resolve("auto", device=cpu) in ("bf16", "fp32")


@pytest.mark.parametrize(
    ("cpuinfo", "gain", "chosen"),
    [
        ("flags\t\t: fpu sse2 avx512_bf16 avx512f\n", 2.0, "bf16"),
        ("flags\t\t: fpu sse2 avx512_bf16 avx512f\n", 1.2, "fp32"),
        ("flags\t\t: fpu sse2 avx2\n", 2.0, "fp32"),
        ("Features\t: fp asimd bf16\n", 2.0, "bf16"),
        ("Features\t: fp asimd\n", 2.0, "fp32"),
        ("processor\t: 0\n", 2.0, "bf16"),
        (None, 2.0, "bf16"),
    ],
    ids=["x86 and faster", "x86, hardly faster", "x86 without", "ARM", "ARM without", "no list", "no file"],
)
def test_auto_asks_the_processors_list_and_then_the_clock(cpuinfo, gain, chosen, tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    monkeypatch.setattr(precision, "CPUINFO", path)
    monkeypatch.setattr(precision, "_layer_seconds", lambda dtype: gain if dtype == torch.float32 else 1.0)
    assert precision.resolve("auto", device=torch.device("cpu")) == chosen


def test_the_measurement_takes_half_a_second_and_no_more(monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr(precision.time, "perf_counter", lambda: next(now) / 20)
    assert precision._layer_seconds(torch.float32) == pytest.approx(0.05)
    assert next(now) < 12
