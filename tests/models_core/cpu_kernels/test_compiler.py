"""Functions compiled on the machine: what they compute with, their threads, and the disk they are kept on."""

from pathlib import Path

import pytest
import torch

from models_core.cpu_kernels.compiler import kernel as kernels
from models_core.cpu_kernels.compiler.aligned_memory import LARGE, LINE, aligned
from models_core.cpu_kernels.compiler.kernel import Kernel
from models_core.cpu_kernels.compiler.thread_team import Call
from tests.models_core.cpu_kernels import compiled_examples

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.fixture(params=[1, 2])
def threads(request):
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(usual)


def converted(kernel, numbers):
    powers, rounded, who = torch.empty_like(numbers), torch.empty_like(numbers), torch.full((len(numbers),), -1)
    addresses = [tensor.data_ptr() for tensor in (numbers, powers, rounded, who)]
    Call(kernel, [*addresses, len(numbers)]).run()
    return powers, rounded, who


def test_values_are_those_of_torch_and_every_thread_does_its_part(threads):
    edges = torch.tensor(
        [float("inf"), -float("inf"), float("nan"), 0.0, -0.0, 1e-40, 3.4e38, 1 + 2**-8, 1 + 3 * 2**-8]
    )
    numbers = torch.cat((torch.linspace(-100, 88, 10_001), edges))
    powers, rounded, who = converted(Kernel(compiled_examples.convert), numbers)
    torch.testing.assert_close(rounded, numbers.bfloat16().float(), rtol=0, atol=0, equal_nan=True)
    inside = (numbers > -87) & (numbers <= 88)
    expected = numbers.double().exp()
    assert ((powers.double() - expected) / expected)[inside].abs().max() < 3e-7
    assert (powers[numbers < -87] == 0).all()
    assert sorted(set(who.tolist())) == list(range(threads))


def test_sums_are_taken_after_all_threads_are_through(threads):
    numbers = torch.randn(50 * 32, generator=torch.Generator().manual_seed(0))
    doubled, out = numbers.double() * 2, torch.empty(3)
    Call(compiled_examples.reduce, [numbers.data_ptr(), out.data_ptr(), 50]).run()
    expected = torch.stack((doubled.sum(), doubled.square().sum(), doubled.max())).float()
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-4)


def test_machine_code_is_kept_and_a_broken_file_is_thrown_away(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(kernels, "_folders", lambda: [tmp_path])
    numbers = torch.linspace(-3, 3, 64)
    first = converted(Kernel(compiled_examples.convert), numbers)
    kept = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}
    stamps = [path.stat().st_mtime_ns for path in kept]
    again = converted(Kernel(compiled_examples.convert), numbers)
    assert [path.stat().st_mtime_ns for path in kept] == stamps  # read, not written
    for path in kept:
        path.write_bytes(path.read_bytes()[:40])
    mended = converted(Kernel(compiled_examples.convert), numbers)
    for one, other, third in zip(first, again, mended, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


def test_where_nothing_can_be_written_each_process_compiles_for_itself(tmp_path: Path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setattr(kernels, "_folders", lambda: [blocked / "cache"])
    powers, _, _ = converted(Kernel(compiled_examples.convert), torch.zeros(4))
    assert powers.tolist() == [1.0] * 4
    assert blocked.read_text() == "no folder"


@pytest.mark.parametrize("size", [10, LARGE // 2 + 8])
def test_memory_begins_on_a_line_and_is_zero(size):
    memory = aligned(size, dtype=torch.bfloat16)
    assert memory.shape == (size,)
    assert memory.data_ptr() % LINE == 0
    assert not memory.any()
