"""Reward models that learn a gold reward from labelled responses, as a real one learns from people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gold_reward import stages
from benchmarks.gold_reward.golds import Gold
from benchmarks.gold_reward.stages import Row

USUAL = {"trunk_layers": 6, "head_scale": 0.1, "learning_rate": 2e-4, "batch_size": 8, "epochs": 2, "held_out": 0}
"""The recipe that found the taste for positive words in a few hundred rankings (docs/experiments.md)."""


def responses(prompts: Path, *, out: Path, model: str, samples: int, settings: Mapping[str, Any]) -> list[Row]:
    """A model's responses, {"id", "prompt", "responses"} per prompt."""
    stages.run("sample", out=out, settings=settings, model=model, data=prompts, samples=samples)
    return stages.read(out)


def ranked(rows: Sequence[Row], gold: Gold) -> list[dict[str, Any]]:
    """The rows as rankings by the gold reward; equal scores are tied, and rows that are tied altogether left out."""
    rankings = []
    for row, scores in zip(rows, gold.scores(rows), strict=True):
        order = sorted(set(scores), reverse=True)
        texts = (response["text"] for response in row["responses"])
        responses = [{"text": text, "rank": order.index(score) + 1} for text, score in zip(texts, scores, strict=True)]
        if len(order) > 1:
            rankings.append({"id": row["id"], "prompt": row["prompt"], "responses": responses})
    return rankings


def trained(
    rankings: Sequence[Row], *, rows: int, folder: Path, model: str, settings: Mapping[str, Any], measured: Path
) -> dict[str, Any]:
    """A reward model in FOLDER/model that learned from the first `rows`; says how right it is about `measured`.

    Raises SystemExit where there are fewer.
    """
    if rows > len(rankings):
        raise SystemExit(f"There are {len(rankings)} rankings to learn from, not {rows}: give more prompts.")
    data = stages.write_rows(folder.with_name(f"{folder.name}.jsonl"), rankings[:rows])
    return stages.run("reward", out=folder, settings=settings, model=model, data=data, eval=measured)
