"""Reports as runs leave them in their folders."""

import json
from pathlib import Path
from typing import Any

from models_core.contract.reports.verdict_messages import VERSION
from rlhf.models import Stage, TrainingRun
from rlhf.runs.storage import run_artefacts


def path_of(run: TrainingRun) -> Path:
    return run_artefacts.shown(run).run / "report.json"


def exists(run: TrainingRun) -> bool:
    """Whether there is a report to link to."""
    return run.stage == Stage.REWARD and path_of(run).is_file()


def load(run: TrainingRun) -> dict[str, Any] | None:
    """The report of a run of a reward model; None where there is none, or one that this version can't read."""
    if run.stage != Stage.REWARD:
        return None
    try:
        report = json.loads(path_of(run).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and report.get("version") == VERSION else None
