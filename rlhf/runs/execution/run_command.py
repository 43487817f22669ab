"""The command of a run: `python -m models_core STAGE ...` with its models, data files and settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_noop

from annotate.artefacts.bucket import StorageFault
from annotate.data.stored_messages import StoredMessage, refusal
from annotate.errors import Refused
from models_core.contract import catalogue
from models_core.contract.reports.reward_names import Kind, kind_of
from models_core.contract.runs.run_folder import folder_sha256
from rlhf.loop import versions
from rlhf.models import ModelVersion, RunInput, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.registry import STAGE_SPECS
from rlhf.runs.stages.spec import Heartbeat, StageSpec
from rlhf.runs.storage import run_artefacts

Role = RunInput.Role
FETCHING_BASE_MODEL = gettext_noop("downloading the base model")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A call of models_core.

    base_model: name in the catalogue of a model that it may have to download first.
    """

    arguments: list[str]
    activity: str
    base_model: str = ""
    notes: tuple[StoredMessage, ...] = ()


def prepare(run: TrainingRun, files: RunFiles, *, heartbeat: Heartbeat) -> Command:
    """Write the run's data files and return its command; for a resumed run the same one with --resume.

    `heartbeat` is called while it waits. Raises Refused, BadInput, OSError.
    """
    spec = STAGE_SPECS[run.stage]
    models = {item.role: item.version for item in _inputs(run) if item.role != Role.ENSEMBLE}
    arguments, notes = _model_flags(run, spec, models, heartbeat)
    data = spec.data(run, files, heartbeat)
    for flag, path in data.files.items():
        arguments += [flag, str(path)]
    arguments += spec.flags(run)
    for name, value in sorted({**run.config, **data.settings}.items()):
        arguments += ["--set", f"{name}={value}"]
    arguments += ["--out", str(spec.output_path(files))]
    if files.is_started or (spec.resumes_output and _partial_output(spec, files).exists()):
        arguments.append("--resume")
    in_catalogue = [version.base_model for version in models.values() if version.base_model in catalogue.MODELS]
    return Command(
        arguments=[*spec.command(run), *arguments],
        activity=spec.activity,
        base_model="".join(in_catalogue[:1]),
        notes=(*notes, *data.notes),
    )


def _partial_output(spec: StageSpec, files: RunFiles) -> Path:
    """Where a command without a run folder keeps what it has written so far (models_core.commands.output)."""
    out = spec.output_path(files)
    return out.with_name(f"{out.name}.partial")


def is_finished(run: TrainingRun, files: RunFiles) -> bool:
    """Whether an earlier attempt finished the command and its worker died before the result was stored."""
    spec = STAGE_SPECS[run.stage]
    return spec.output_path(files).exists() if spec.output else files.is_finished


def register(run: TrainingRun, files: RunFiles, metrics: Mapping[str, Any]) -> ModelVersion | None:
    """Store the model of a stage that leaves one."""
    kind = STAGE_SPECS[run.stage].kind
    if kind is None:
        return None
    return versions.register(
        run,
        kind=kind if isinstance(kind, ModelVersion.Kind) else kind(run),
        folder=str(files.model.relative_to(settings.HONE_DATA)),
        sha256=files.result().get("sha256") or "",
        metrics=dict(metrics),
    )


def model_argument(version: ModelVersion, *, heartbeat: Heartbeat = lambda: None) -> str:
    """The argument that names a version to models_core, whose files it fetches from the storage if need be.

    Raises Refused when its files are missing or changed.
    """
    if version.base_model:
        if kind_of(version.base_model) != Kind.MODELS:
            raise refusal("not_a_model", name=version.base_model)
        return version.base_model
    run_artefacts.fetch_model(version, heartbeat=heartbeat)
    folder = settings.HONE_DATA / version.folder
    if not folder.is_dir():
        raise refusal("model_files_missing", version=str(version), folder=str(folder))
    if version.sha256 and folder_sha256(folder) != version.sha256:
        raise refusal("model_files_changed", version=str(version), folder=str(folder))
    return str(folder)


def base_model_progress(name: str) -> float | None:
    """Downloaded share of a base model between 0 and 1; None once it is there, or when nobody fetches it."""
    status = catalogue.status(name, settings.HONE_DATA / "models")
    if status.state not in ("downloading", "converting"):
        return None
    return min(1.0, status.done / status.total) if status.total else 0.0


def _inputs(run: TrainingRun) -> list[RunInput]:
    return list(run.run_inputs.select_related("version__project"))


def _model_flags(
    run: TrainingRun, spec: StageSpec, models: Mapping[str, ModelVersion], heartbeat: Heartbeat
) -> tuple[list[str], list[StoredMessage]]:
    """--ROLE VERSION for each input, the reward models of an ensemble separated by commas; and notes."""
    ensemble = [item.version for item in _inputs(run) if item.role == Role.ENSEMBLE]
    flags: list[str] = []
    notes: list[StoredMessage] = []
    for item in spec.inputs:
        if item.role not in models:
            continue
        version = models[item.role]
        scores = [version, *ensemble] if version.kind == ModelVersion.Kind.REWARD else [version]
        try:
            flags += [f"--{item.role}", ",".join(model_argument(each, heartbeat=heartbeat) for each in scores)]
        except Refused as error:
            if item.role != Role.PREVIOUS or isinstance(error, StorageFault):
                raise
            notes.append(StoredMessage("previous_reward_model_missing"))
    return flags, notes
