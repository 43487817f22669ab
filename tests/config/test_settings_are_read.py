"""A setting that nothing reads is a promise nobody keeps: every one is read somewhere."""

import dataclasses
import re
from functools import cache
from pathlib import Path

import pytest
from django.conf import settings

from annotate.models import Project
from models_core.contract.settings import STAGES
from rlhf.models import LoopSettings

PACKAGES = ("annotate", "config", "models_core", "rlhf")
DECLARED = (
    "config/settings.py", "annotate/models/", "annotate/admin.py", "annotate/forms/", "annotate/people/projects.py",
    "rlhf/forms.py", "/migrations/",
)  # fmt: skip
"""Where a setting is named without being used for anything."""
RECORDS = {"id", "created_at", "archived_at"}


@cache
def source() -> str:
    """Everything but where settings are only declared and edited."""
    root = Path(settings.BASE_DIR)
    files = [path for name in PACKAGES for path in (root / name).rglob("*.py")]
    files += (root / "templates").rglob("*.html")
    return "\n".join(
        path.read_text(encoding="utf-8")
        for path in files
        if not any(part in path.relative_to(root).as_posix() for part in DECLARED)
    )


@cache
def names_read() -> frozenset[str]:
    """As an attribute, through getattr by its name, or in a query."""
    ways = (r"\.(\w+)\b(?!\s*=[^=])", r"getattr\([^()]*, \"(\w+)\"", r"[(,] ?(\w+)=", r"F\(\"(\w+)\"")
    return frozenset(name for way in ways for name in re.findall(way, source()))


def is_read(name: str) -> bool:
    return name in names_read()


@pytest.mark.parametrize("stage", STAGES)
def test_of_a_stage(stage: str) -> None:
    unread = [field.name for field in dataclasses.fields(STAGES[stage]) if not is_read(field.name)]
    assert unread == []


@pytest.mark.parametrize("model", [Project, LoopSettings])
def test_of_a_project_and_its_loop(model: type[Project | LoopSettings]) -> None:
    fields = [field.name for field in model._meta.concrete_fields if field.name not in RECORDS]
    assert [name for name in fields if not is_read(name)] == []


def test_of_the_environment() -> None:
    declared = (Path(settings.BASE_DIR) / "config/settings.py").read_text(encoding="utf-8")
    named = set(re.findall(r"^    (HONE_\w+) = ", declared, re.MULTILINE))
    everything = declared + source()
    unread = [name for name in named if len(re.findall(rf"\b{name}\b(?!\")", everything)) < 2]
    assert len(named) > 10
    assert unread == []


def test_every_number_has_a_range() -> None:
    """A slip of the finger, 10^9 tokens, is refused before a run is queued."""
    unbounded = [
        (stage, field.name)
        for stage, settings_type in STAGES.items()
        for field in dataclasses.fields(settings_type)
        if type(field.default) in (int, float)
        and (field.metadata["minimum"] is None or field.metadata["maximum"] is None)
    ]
    assert unbounded == []
