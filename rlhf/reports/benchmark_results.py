"""What a version was measured on: the files, and the figures that each measurement is known by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.reports import curves, labels, stored

SHOWN = 50
HEADLINES = ("rewardbench_score", "subset_accuracy", "accuracy", "perplexity", "bits_per_byte", "exact_match")
ROWS = ("rankings", "demonstrations", "documents")
MOST_FIGURES = 2


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """A measurement. `rows`: how many were measured on, None before it has ended."""

    run: TrainingRun
    file: str
    rows: int | None
    figures: list[tuple[str, str]]
    has_report: bool

    def __str__(self) -> str:
        """As a line of the model card."""
        figures = ", ".join(f"{name} {text}" for name, text in self.figures)
        return f"{figures} ({_('rows')}: {self.rows}; {self.run.finished_at:%Y-%m-%d})"


def of_version(version: ModelVersion, *, only_ended: bool = False) -> list[BenchmarkResult]:
    """The newest first; `only_ended`: those that have figures."""
    found = TrainingRun.objects.filter(
        stage=Stage.BENCHMARK, run_inputs__version=version, run_inputs__role=RunInput.Role.MODEL
    ).order_by("-pk")
    if only_ended:
        found = found.filter(status=TrainingRun.Status.SUCCEEDED)
    return [_result(run) for run in found[:SHOWN]]


def figures_of(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures that a measurement is known by, as (name, text); an accuracy with its interval."""
    names = [name for name in HEADLINES if isinstance(result.get(name), int | float)]
    return [(labels.in_words(name), _with_interval(result, name)) for name in names[:MOST_FIGURES]]


def _with_interval(result: Mapping[str, Any], name: str) -> str:
    low, high = (result.get(f"{name}_{end}") for end in ("low", "high"))
    interval = f" ({curves.shown(low)} – {curves.shown(high)})" if low is not None and high is not None else ""
    return curves.shown(result[name]) + interval


def _result(run: TrainingRun) -> BenchmarkResult:
    rows = next((run.result[name] for name in ROWS if name in run.result), None)
    return BenchmarkResult(
        run=run,
        file=run.options["file"],
        rows=rows,
        figures=figures_of(run.result),
        has_report=stored.exists(run),
    )
