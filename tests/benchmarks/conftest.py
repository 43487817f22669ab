"""A tiny model, prompts of the demo, and commands that run in this process: loading torch for each takes longer."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from annotate import demo
from benchmarks.gold_reward import golds, stages
from models_core.__main__ import main as models_core_main
from tests.models_core.recipe_runs import write
from tests.models_core.tiny import make_tiny_model

Commands = list[list[str]]


class Cut(Exception):
    """The machine goes down."""


class LetterCounts:
    """Stands for VADER, to which the noise of a random model is all alike: the part of vowels in a text."""

    def polarity_scores(self, text: str) -> dict[str, float]:
        return {"compound": sum(map(text.lower().count, "aeiou")) / (len(text) or 1)}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "tiny")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    with demo.PROMPTS.open(encoding="utf-8") as file:
        return write(tmp_path / "prompts.jsonl", [json.loads(line) for line in file][:40])


@pytest.fixture
def vowels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golds, "_analyser", LetterCounts)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    """The commands of models_core that were run, in order; `commands.limit` of them, then the machine goes down."""
    told = Told()

    def finished(command: list[str]) -> tuple[dict[str, Any], int]:
        assert command[:3] == [sys.executable, "-m", "models_core"]
        if told.limit is not None and len(told) >= told.limit:
            raise Cut
        told.append(command[3:])
        if (status := models_core_main(command[3:])) != 0:
            raise SystemExit(f"{status}: {capsys.readouterr().err}")
        return json.loads(capsys.readouterr().out.splitlines()[-1]), 1_500_000

    monkeypatch.setattr(stages, "finished", finished)
    return told


class Told(Commands):
    limit: int | None = None


TINY_SETTINGS = [
    *("sample.max_new_tokens=6", "sample.precision=fp32", "sample.temperature=1"),
    *("reward.precision=fp32", "reward.trunk_layers=0", "reward.epochs=1", "reward.max_length=256"),
    *("ppo.precision=fp32", "ppo.episodes=8", "ppo.batch_size=4", "ppo.max_new_tokens=6", "ppo.max_length=256"),
]
"""Of a benchmark that takes seconds: --set options."""


def tiny_options(*more: str) -> list[str]:
    return [text for value in (*TINY_SETTINGS, *more) for text in ("--set", value)]
