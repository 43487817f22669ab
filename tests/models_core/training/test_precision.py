"""fp32 masters of bf16 weights: small updates survive, and a reloaded optimizer goes on to the bit."""

import math
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from models_core.modeling import devices
from models_core.training import adamw_step, precision
from models_core.training.optimizer import MasterAdamW


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


@pytest.fixture(params=["processor", "gpu"])
def path(request):
    """The path of GPUs, tried on a processor: nobody waits for the norm, and many weights are updated together."""
    with devices.accelerator_path() if request.param == "gpu" else nullcontext():
        yield request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_is_torchs_clipping_and_adamw_on_the_masters(dtype, path, monkeypatch):
    """Steps of one micro-batch and of two; a matrix, vectors, and one left out."""
    monkeypatch.setattr(adamw_step, "BATCH_NUMBERS", 6000)  # on the path of GPUs some are updated together
    draw = torch.Generator().manual_seed(0)
    shapes = {"matrix": (31, 211), "vector": (5001,), "few": (3,), "idle": (2, 2)}
    ours = {name: nn.Parameter(torch.randn(shape, generator=draw).to(dtype)) for name, shape in shapes.items()}
    theirs = {name: nn.Parameter(weight.detach().float()) for name, weight in ours.items()}
    optimizer = MasterAdamW(ours, lr=1e-2, weight_decay=0.1)
    groups = [{"params": [theirs["matrix"], theirs["idle"]], "weight_decay": 0.1}]
    groups += [{"params": [theirs["vector"], theirs["few"]], "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
    for step, (parts, max_norm) in enumerate([(1, 0.1), (2, 1e6), (2, 1.0), (1, 0.0), (1, 3.0)]):
        used = [name for name in shapes if name != "idle" or step in (1, 3)]
        for _ in range(parts):
            wanted = {name: torch.randn(shapes[name], generator=draw).to(dtype) for name in used}
            sum((ours[name] * wanted[name]).sum() for name in used).backward()
            for name in used:
                grad = wanted[name].float()
                theirs[name].grad = grad if theirs[name].grad is None else theirs[name].grad + grad
        exact = torch.cat([theirs[name].grad.double().flatten() for name in used]).norm().item()
        assert optimizer.clip(max_norm) == pytest.approx(exact, rel=1e-6)
        if max_norm:
            nn.utils.clip_grad_norm_(theirs.values(), max_norm)
        optimizer.step(lr=1e-2)
        adam.step()
        adam.zero_grad()
        for name in shapes:
            torch.testing.assert_close(optimizer.masters[name], theirs[name], atol=1e-6, rtol=0)
            assert torch.equal(ours[name], optimizer.masters[name].to(dtype))
            assert ours[name].grad is None
            assert optimizer.masters[name].grad is None


def test_a_norm_that_is_no_number_is_told(path):
    weight = nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))
    optimizer = MasterAdamW({"w": weight}, lr=1.0)
    (weight * torch.tensor([1.0, math.nan, 1.0])).sum().backward()
    norm = optimizer.clip(1.0)
    assert math.isnan(norm)
    assert isinstance(norm, torch.Tensor) == (path == "gpu")


@pytest.mark.parametrize("max_norm", [1.0, 0.0])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_step_that_was_queued_before_its_norm_was_read_changes_nothing(number, max_norm):
    """On a GPU it is read after the step; a later step goes on as if there had been none."""
    weights = {"few": nn.Parameter(torch.ones(3, dtype=torch.bfloat16)), "matrix": nn.Parameter(torch.ones(2, 2))}
    optimizer = MasterAdamW(weights, lr=0.1, weight_decay=0.1)

    def step(factor):
        sum((weight * factor).sum() for weight in weights.values()).backward()
        norm = optimizer.clip(max_norm)
        optimizer.step(lr=0.1)
        return norm

    with devices.accelerator_path():
        step(1.0)
        before = {name: tensor.clone() for name, tensor in optimizer.state_dict().items()}
        assert not math.isfinite(step(number))
        assert all(torch.equal(before[name], tensor) for name, tensor in optimizer.state_dict().items())
        assert before["few.step"] == 1
        step(1.0)
    assert optimizer.state_dict()["few.step"] == 2
    assert (optimizer.masters["few"] < before["few.master"]).all()


def test_a_penalty_adds_to_gradients_in_fp32():
    """A part of a gradient that bf16 cannot hold beside it still counts."""
    weight = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
    optimizer = MasterAdamW({"w": weight}, lr=1.0)
    weight.sum().backward()
    norm = optimizer.clip(0.0, penalty=lambda masters: masters["w"].grad.add_(1e-4))
    assert norm == pytest.approx(2**0.5 * 1.0001, rel=1e-6)


def test_weight_decay_spares_vectors():
    parameters = {"matrix": nn.Parameter(torch.ones(2, 2)), "vector": nn.Parameter(torch.ones(2))}
    optimizer = MasterAdamW(parameters, lr=0.1, weight_decay=0.5)
    for weight in parameters.values():
        weight.grad = torch.zeros_like(weight)
    optimizer.step(lr=0.1)
    assert parameters["matrix"].tolist() == [[pytest.approx(0.95)] * 2] * 2
    assert parameters["vector"].tolist() == [1.0, 1.0]


def test_a_given_precision_is_taken():
    cpu = torch.device("cpu")
    assert precision.resolve("fp32", device=cpu) == "fp32"
    assert precision.resolve("bf16", device=cpu) == "bf16"


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


@pytest.mark.parametrize(("allowed", "timings"), [(0.0, 2), (0.35, 3), (0.5, 4)])
def test_the_measurement_ends_with_the_time_it_is_allowed_after_two_timings_at_least(monkeypatch, allowed, timings):
    """The clock moves by 50 ms whenever it is read."""
    asked = iter(range(1000))
    monkeypatch.setattr(precision.time, "perf_counter", lambda: next(asked) / 20)
    monkeypatch.setattr(precision, "PROBE_SECONDS", allowed)
    assert precision._layer_seconds(torch.float32) == pytest.approx(0.05)
    assert next(asked) == 3 * timings
