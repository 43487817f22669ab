"""Reports as runs leave them in their folders."""

import json
from pathlib import Path
from typing import Any

from models_core.contract.reports.verdict_messages import VERSION
from rlhf.models import Stage, TrainingRun
from rlhf.runs.storage import run_artefacts

STAGES = (Stage.REWARD, Stage.BENCHMARK)
"""Stages that leave a report; that of a language model's measurement is no reward model's."""


def path_of(run: TrainingRun) -> Path:
    files = run_artefacts.shown(run)
    return (files.path if run.stage == Stage.BENCHMARK else files.run) / "report.json"


def has_file(run: TrainingRun) -> bool:
    """Whether it left a report of either kind."""
    return run.stage in STAGES and path_of(run).is_file()


def exists(run: TrainingRun) -> bool:
    """Whether there is a report to link to."""
    if run.stage == Stage.BENCHMARK:
        return load(run) is not None
    return run.stage == Stage.REWARD and path_of(run).is_file()


def load(run: TrainingRun) -> dict[str, Any] | None:
    """The report on a reward model; None where there is none, or one that this version can't read."""
    if run.stage not in STAGES:
        return None
    try:
        report = json.loads(path_of(run).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and report.get("version") == VERSION else None
