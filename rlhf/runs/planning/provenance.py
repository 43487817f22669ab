"""Where a run came from and what it was computed with: for its page."""

from typing import Any

from django.utils.translation import gettext as _

from models_core.contract.settings import presets
from rlhf.models import TrainingRun
from rlhf.runs.execution.run_files import document
from rlhf.runs.planning import differences
from rlhf.runs.storage import run_artefacts


def of(run: TrainingRun) -> dict[str, Any]:
    """The preset, the differences from the cloned run, and (label, value) of what repeats the run exactly."""
    made_with = document(run_artefacts.shown(run).run / "run.json")
    source = run.cloned_from
    return {
        "preset_title": _(presets.PRESETS[run.preset].title) if run.preset in presets.PRESETS else run.preset,
        "from_clone": differences.between(differences.recipe_of(source), differences.recipe_of(run)) if source else [],
        "repeated_with": [*_exact(run, made_with)],
    }


def _exact(run: TrainingRun, made_with: dict[str, Any]) -> list[tuple[str, str]]:
    found = [(_("Seed"), str(run.seed))]
    if run.snapshot is not None and run.snapshot.sha256:
        found.append((_("SHA-256 of the data"), run.snapshot.sha256))
    versions = made_with.get("versions")
    if isinstance(versions, dict) and versions:
        found.append((_("Libraries"), ", ".join(f"{name} {version}" for name, version in versions.items())))
    if revision := made_with.get("revision"):
        found.append((_("Git revision"), str(revision)))
    if threads := made_with.get("threads"):
        found.append((_("Threads"), str(threads)))
    return found
