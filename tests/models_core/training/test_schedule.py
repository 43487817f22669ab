"""The learning rate of every step: by hand, and as the recipes log it."""

import math
from pathlib import Path
from typing import Any

import pytest

from models_core.training import schedule
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import metrics, run
from tests.models_core.tiny import make_tiny_model


def test_it_rises_then_falls_along_half_a_cosine_to_the_part_given() -> None:
    """Ten updates, two of them rising; the eight others stand at 0/7 to 7/7 of half a turn."""
    rates = [schedule.cosine(step, steps=10, peak=2.0, warmup=0.2, final=0.1) for step in range(10)]
    falling = [0.2 + 1.8 * (1 + math.cos(math.pi * place / 7)) / 2 for place in range(8)]
    assert rates == pytest.approx([1.0, 2.0, *falling])
    assert [rates[2], rates[-1]] == pytest.approx([2.0, 0.2])


def test_it_rises_then_falls_in_a_line_and_the_last_update_is_not_nothing() -> None:
    rates = [schedule.rate(step, steps=6, peak=1.0, warmup=1 / 3, decay=True) for step in range(6)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5, 0.25])
    held = [schedule.rate(step, steps=6, peak=1.0, warmup=1 / 3, decay=False) for step in range(6)]
    assert held == pytest.approx([0.5, 1.0, 1.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_a_single_update_is_at_the_peak(warmup: float) -> None:
    assert schedule.rate(0, steps=1, peak=3.0, warmup=warmup, decay=True) == 3.0
    assert schedule.cosine(0, steps=1, peak=3.0, warmup=warmup, final=0.0) == 3.0


def test_the_recipes_learn_at_these_rates(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(f"the cat number {n} sat on the mat. " * 8 for n in range(8)), encoding="utf-8")
    given: dict[str, dict[str, Any]] = {
        "sft": {"model": str(model), "data": recipe_runs.demonstrations(tmp_path)},
        "reward": {"model": str(model), "data": recipe_runs.rankings(tmp_path)},
        "pretrain": {"model": str(model), "data": corpus},
    }
    values: dict[str, dict[str, Any]] = {
        "pretrain": {"batch_size": 2, "max_length": 64, "sample_tokens": 0, "held_out": 0, "min_lr_ratio": 0.1},
        "sft": {"batch_size": 1, "held_out": 0},
        "reward": {"batch_size": 1, "held_out": 0},
    }
    for stage, files in given.items():
        settings = values[stage] | {"epochs": 1, "learning_rate": 0.01, "warmup_ratio": 0.3}
        run(stage, tmp_path / stage, settings, **files)
        found = [row["learning_rate"] for row in metrics(tmp_path / stage)]
        usual: dict[str, Any] = {"steps": len(found), "peak": 0.01, "warmup": 0.3}
        if stage == "pretrain":
            wanted = [schedule.cosine(step, final=0.1, **usual) for step in range(len(found))]
        else:
            wanted = [schedule.rate(step, decay=True, **usual) for step in range(len(found))]
        assert len(found) >= 8
        assert found == pytest.approx(wanted)
