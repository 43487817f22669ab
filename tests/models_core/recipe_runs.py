"""Small runs of the recipes: data that a tiny model can learn, and models trained on it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from models_core.contract.reports import metric_names
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import STAGES, parse
from models_core.modeling import loading
from models_core.recipes import distil, dpo, ppo, pretrain, reward, sft

CPU = torch.device("cpu")


class StopAfter(StopSignal):
    """A stop request that arrives the n-th time the recipe looks."""

    def __init__(self, looks: int) -> None:
        self.left = looks
        self.waits_for_step = False

    @property
    def requested(self) -> bool:  # type: ignore[override]
        self.left -= 1
        return self.left <= 0


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def prompts(folder: Path, *, count: int = 8) -> Path:
    return write(folder / "prompts.jsonl", [{"id": str(n), "prompt": chat(f"tell {n}")} for n in range(count)])


def demonstrations(folder: Path, *, count: int = 8) -> Path:
    rows = [{"id": str(n), "prompt": chat(f"say {n}"), "response": "ab" * (n + 1)} for n in range(count)]
    return write(folder / "demonstrations.jsonl", rows)


def rankings(folder: Path, *, count: int = 8) -> Path:
    """Responses full of "a" are best, those full of "z" worst; lengths differ."""
    rows = []
    for n in range(count):
        texts = ["a" * (n % 3 + 1), "m" * 4, "z" * (n % 5 + 1)]
        responses = [{"text": text, "rank": rank} for rank, text in enumerate(texts, start=1)]
        rows.append({"id": str(n), "prompt": chat(f"say {n}"), "responses": responses})
    return write(folder / "rankings.jsonl", rows)


def run(stage: str, folder: Path, values: dict[str, Any], *, stop: StopSignal | None = None, **given: Any) -> Any:
    recipes: dict[str, Callable[..., dict[str, Any]]] = {
        "pretrain": pretrain.train, "sft": sft.train, "reward": reward.train, "ppo": ppo.train,
        "dpo": dpo.train, "distil": distil.train,
    }  # fmt: skip
    settings = parse(STAGES[stage], {"precision": "fp32", **values})
    return recipes[stage](settings, out=folder, device=CPU, stop=stop or StopSignal(), **given)


def make_reward_model(base: Path, folder: Path, *, seed: int = 0) -> Path:
    """A reward model with a random head on the trunk of a tiny model; returns the folder."""
    model = loading.new_reward_model(base, device=CPU, dtype=torch.float32, seed=seed)
    loading.save_reward_model(folder, model, loading.load_tokenizer(base))
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without their times; every metric is one that the contract names."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {name for row in rows for name in row} - metric_names.METRICS <= {"step", "time", "learning_rate", "kl_coef"}
    return [{name: value for name, value in row.items() if name != "time"} for row in rows]
