"""Responses of a policy to the same prompts at several steps of training, from samples.jsonl."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

from rlhf.models import Stage, TrainingRun
from rlhf.runs.storage import run_artefacts

MOST_PROMPTS = 8
MOST_COLUMNS = 4
MOST_LINES = 100_000
"""A file longer than that is read no further: a page must come."""


@dataclass(frozen=True, kw_only=True)
class ResponseAtStep:
    """A response by the policy of one training step.

    `kl`: log-probability of the policy minus that of the reference model, in nats; None where the line has none.
    """

    step: int
    text: str
    score: float | None
    kl: float | None
    was_cut: bool


@dataclass(kw_only=True)
class PromptSamples:
    """A prompt and its responses by step."""

    turns: list[dict[str, str]]
    by_step: dict[int, ResponseAtStep] = field(default_factory=dict)

    @property
    def earlier(self) -> list[dict[str, str]]:
        return self.turns[:-1]

    @property
    def last(self) -> str:
        return self.turns[-1]["content"] if self.turns else ""


@dataclass(frozen=True, kw_only=True)
class SampleComparison:
    """`steps` are the columns, at most MOST_COLUMNS of all the measurements; `rows` hold a response or None each."""

    steps: list[int]
    rows: list[tuple[PromptSamples, list[ResponseAtStep | None]]]
    is_held_out: bool
    model_step: int | None  # the step whose weights became the model, where a measurement chose them


def compare_samples(run: TrainingRun) -> SampleComparison | None:
    """The responses of a PPO run, or None where there are none. Lines that can't be read are left out."""
    if run.stage != Stage.PPO:
        return None
    prompts: dict[str, PromptSamples] = {}
    steps: set[int] = set()
    is_held_out = False
    try:
        with run_artefacts.shown(run).samples.open(encoding="utf-8", errors="replace") as file:
            for _number, line in zip(range(MOST_LINES), file, strict=False):
                row = _row(line)
                if row is None or (row["id"] not in prompts and len(prompts) == MOST_PROMPTS):
                    continue
                watched = prompts.setdefault(row["id"], PromptSamples(turns=row["prompt"]))
                response = _response(row)
                watched.by_step[response.step] = response
                steps.add(response.step)
                is_held_out = bool(row.get("held_out"))
    except OSError:
        return None
    if not prompts:
        return None
    best = run.result.get("best_step")
    shown = _spread(sorted(steps), best=best if best in steps else None)
    rows = [(watched, [watched.by_step.get(step) for step in shown]) for watched in prompts.values()]
    return SampleComparison(steps=shown, rows=rows, is_held_out=is_held_out, model_step=best)


def _spread(steps: list[int], *, best: int | None) -> list[int]:
    """The first, the last, and others evenly between them; the best one in the place of the nearest of those."""
    if len(steps) <= MOST_COLUMNS:
        return steps
    last = len(steps) - 1
    shown = [steps[round(number * last / (MOST_COLUMNS - 1))] for number in range(MOST_COLUMNS)]
    if best is not None and best not in shown:
        nearest = min(shown[1:-1], key=lambda step: abs(step - best))
        shown[shown.index(nearest)] = best
    return shown


def _row(line: str) -> dict[str, Any] | None:
    """A line whose parts are what they should be; None for one that is torn or foreign."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int) or not isinstance(row.get("response"), str):
        return None
    turns = row.get("prompt")
    is_chat = isinstance(turns, list) and all(
        isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
        for turn in turns
    )
    return row | {"id": str(row.get("id"))} if is_chat else None


def _response(row: dict[str, Any]) -> ResponseAtStep:
    own, reference = _number(row.get("logprob")), _number(row.get("reference_logprob"))
    return ResponseAtStep(
        step=row["step"],
        text=row["response"],
        score=_number(row.get("score")),
        kl=own - reference if own is not None and reference is not None else None,
        was_cut=row.get("finish_reason") == "length",
    )


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None
