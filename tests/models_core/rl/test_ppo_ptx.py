"""What the text that PPO-ptx mixes in is for: ordinary language is not unlearned."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from models_core.modeling import forward, loading
from models_core.modeling.packing import Group, pack
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import CPU, run
from tests.models_core.tiny import make_tiny_model

WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog", "ran", "to", "his", "hat")


def sentences(*, seed: int, count: int) -> str:
    draw = random.Random(seed)
    return "\n\n".join(" ".join(draw.choices(WORDS, k=12)) for _ in range(count))


def held_out_loss(folder: Path) -> float:
    """Nats a token on sentences that nobody trained on."""
    model = loading.load_policy(folder, device=CPU, dtype=torch.float32)
    tokenizer = loading.load_tokenizer(folder)
    ids = [tokenizer(text)["input_ids"] for text in sentences(seed=99, count=20).split("\n\n")]
    with torch.no_grad():
        found = forward.response_log_probs(model, pack([Group(row[:1], [row[1:]]) for row in ids]))
    return -found.mean().item()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learned some language, and its corpus beside it."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "corpus.txt").write_text(sentences(seed=1, count=120), encoding="utf-8")
    base = make_tiny_model(folder / "base")
    values = {"epochs": 6, "batch_size": 4, "max_length": 64, "learning_rate": 0.02, "sample_tokens": 0}
    run("pretrain", folder / "run", values, model=str(base), data=folder / "corpus.txt")
    return folder


@pytest.mark.parametrize("method", ["full", "lora"])
def test_plain_ppo_loses_more_held_out_likelihood_than_with_text(method: str, reader: Path, tmp_path: Path) -> None:
    base = reader / "run" / "model"
    reward = recipe_runs.make_reward_model(base, tmp_path / "reward", seed=4)
    given: dict[str, Any] = {"model": str(base), "reward": str(reward), "data": recipe_runs.prompts(tmp_path)}
    values = {"episodes": 256, "batch_size": 32, "max_new_tokens": 6, "learning_rate": 0.02, "method": method}
    values |= {
        "kl_coef": 0.0,
        "max_kl": 0,
        "min_entropy": 0,
        "load_best_at_end": False,
        "eval_every": 0,
        "ema_decay": 0,
    }
    plain = run("ppo", tmp_path / "plain", values, **given)
    mixed = run("ppo", tmp_path / "mixed", values | {"ptx_coef": 3.0}, ptx=reader / "corpus.txt", **given)
    before, without, with_text = (held_out_loss(folder) for folder in (base, tmp_path / "plain", tmp_path / "mixed"))
    assert before < 2.0
    assert without > before + 0.3
    assert with_text < before + (without - before) / 2
    assert "ptx_loss" in mixed
    assert "ptx_loss" not in plain
