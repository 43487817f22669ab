"""The plan of memory beside what docs/benchmarks/memory.md says was measured, and how it is measured."""

import mmap
import re
from pathlib import Path

import pytest

from benchmarks.memory_estimate import SMOLLM2, settings_of
from benchmarks.step_memory import own_memory
from models_core.contract.memory_estimate import model_shape
from models_core.contract.memory_estimate.estimate import estimate
from models_core.contract.memory_estimate.loaded_models import Machine
from models_core.contract.settings import STAGES, parse

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "memory.md"
ROW = re.compile(r"^\| (\w+) \| (\w+) \| (\w+) \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \|$", re.MULTILINE)
MEGABYTE = 10**6


def published() -> list[tuple[str, ...]]:
    return ROW.findall(PAGE.read_text(encoding="utf-8"))


def test_every_training_was_measured() -> None:
    """All but `ppo` in fp32, of which the page says so."""
    ways = {(stage, method, precision) for stage, method, precision, *_ in published()}
    stages = {"bf16": ("sft", "reward", "ppo"), "fp32": ("sft", "reward")}
    assert ways == {
        (stage, method, precision)
        for precision, of_precision in stages.items()
        for stage in of_precision
        for method in ("full", "lora")
    }


@pytest.mark.parametrize("row", published(), ids="-".join)
def test_the_plan_is_within_a_tenth_of_the_measured_peak(row: tuple[str, ...]) -> None:
    stage, method, precision, planned, measured, ratio = row
    width, layers, heads, kv_heads, inner, vocabulary = SMOLLM2
    model = model_shape.of_config(
        {"model_type": "llama", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
         "num_key_value_heads": kv_heads, "intermediate_size": inner, "vocab_size": vocabulary,
         "tie_word_embeddings": True, "max_position_embeddings": 2048},
        name="SmolLM2-135M",
    )  # fmt: skip
    settings = parse(STAGES[stage], settings_of(stage, method=method, precision=precision))
    on = Machine(number_bytes={"bf16": 2, "fp32": 4}[precision], is_cpu=True)
    total = estimate(stage, settings, model=model, on=on).total / MEGABYTE
    assert round(total) == int(planned.replace(",", ""))
    found = total / int(measured.replace(",", ""))
    assert 0.9 <= found <= 1.1
    assert round(found, 2) == float(ratio)


def test_memory_is_the_process_s_own_and_its_weights_from_files(tmp_path: Path) -> None:
    """Of a file with weights the pages that were read, once, also where they were written to; of others none."""

    def mapped(name: str) -> mmap.mmap:
        (tmp_path / name).write_bytes(bytes(64 * MEGABYTE))
        with (tmp_path / name).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    def touched(memory: mmap.mmap) -> int:
        before = own_memory()
        assert not any(memory[:: mmap.PAGESIZE])
        return own_memory() - before

    weights, library = mapped("model.safetensors"), mapped("library.so")
    assert touched(library) < 8 * MEGABYTE
    assert touched(weights) == pytest.approx(64 * MEGABYTE, rel=0.1)
    before = own_memory()
    for place in range(0, len(weights), mmap.PAGESIZE):
        weights[place] = 1
    assert own_memory() - before < 8 * MEGABYTE
