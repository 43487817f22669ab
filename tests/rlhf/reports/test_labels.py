"""The labels of metrics are those that stages report: here that none is left over, elsewhere that none is missing."""

import re
from dataclasses import fields
from pathlib import Path

from django.conf import settings

from models_core.rl.update import UpdateStats
from rlhf.reports import labels


def sources() -> str:
    folders = [Path(settings.BASE_DIR) / name for name in ("models_core", "rlhf/loop")]
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_every_label_is_of_a_metric_that_something_reports() -> None:
    source = sources()
    unreported = []
    for label in labels.METRICS:
        name = label.replace(" ", "_").removesuffix("_start")
        known = rf'"{re.escape(name.removeprefix("reward/"))}"|\b{re.escape(name)}\b\s*[:=]'
        if not re.search(known, source):
            unreported.append(label)
    assert unreported == []


def test_every_metric_of_a_policy_update_has_a_label() -> None:
    """Whichever algorithm reports it."""
    assert {field.name.replace("_", " ") for field in fields(UpdateStats)} - set(labels.METRICS) == set()
