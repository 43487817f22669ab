"""Versions that go out: as a GGUF file for llama.cpp, and whole or as a LoRA adapter to a repository of a Hub.

Each is a run.
"""

import re
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.utils.translation import gettext as _

from annotate.artefacts import folders
from annotate.data.stored_messages import refusal
from annotate.errors import Refused
from annotate.models import User
from models_core.contract import catalogue
from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.gguf_export import FILE
from rlhf.runs.storage import run_artefacts

TYPES = ("f16", "q8_0")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
TOKEN_VARIABLE = re.compile(r"HF_[A-Z0-9_]{1,60}")
TOKEN = "HF_TOKEN"
ADAPTER, CONFIG = "lora", "adapter_config.json"
"""The folder beside a model with its LoRA adapter, and a file of it (models_core.modeling.adapters.peft_folder)."""


def start_gguf(version: ModelVersion, *, kind: str, by: User | None) -> TrainingRun:
    """Queue a GGUF export. Raises Refused for a reward model, and for another type than TYPES."""
    if kind not in TYPES:
        raise Refused(_("Choose a type: %(types)s.") % {"types": ", ".join(TYPES)}, status=400)
    if version.kind == ModelVersion.Kind.REWARD:
        raise refusal("not_a_policy", status=400, version=version.label)
    name = f"{version.project.slug}-{version.kind}-{version.number}"
    return _enqueue(version, stage=Stage.GGUF, options={"type": kind, "name": name}, by=by)


def start_push(
    version: ModelVersion,
    *,
    repository: str,
    private: bool,
    token_variable: str,
    as_adapter: bool = False,
    base: str = "",
    by: User | None,
) -> TrainingRun:
    """Queue a push. The token stays in the worker's environment. Raises Refused (400).

    as_adapter: of the LoRA adapter alone, as one of the model `base` of the Hub, or of the one that `hub_base` finds.
    """
    if not REPOSITORY.fullmatch(repository):
        raise Refused(_("A repository is named OWNER/NAME."), status=400)
    if not TOKEN_VARIABLE.fullmatch(token_variable):
        raise Refused(_("The token’s environment variable begins with HF_, such as HF_TOKEN."), status=400)
    options = {"repository": repository, "private": private, "token_variable": token_variable}
    if as_adapter:
        options["adapter_of"] = _checked_base(version, base)
    return _enqueue(version, stage=Stage.PUSH, options=options, by=by)


def has_adapter(version: ModelVersion) -> bool:
    """Whether the matrices of LoRA that were merged into it are kept, as peft's folder. Raises StorageFault."""
    if not version.folder:
        return False
    folder = str(PurePosixPath(version.folder).with_name(ADAPTER))
    if (settings.HONE_DATA / version.folder).is_dir():  # whoever has fetched it has both
        return (settings.HONE_DATA / folder / CONFIG).is_file()
    return folders.published(folder) is not None


def hub_base(version: ModelVersion) -> str:
    """Where the model that the version's adapter was trained on is on the Hub; empty where nothing says so.

    A base model by its name, an imported one by where it came from, another one by its last push as a whole.
    """
    trained_on = RunInput.objects.filter(run__produced=version, role=RunInput.Role.MODEL).select_related("version")
    if (found := trained_on.first()) is None:
        return ""
    model = found.version
    pushed = next((run.options["repository"] for run in pushes(model) if not run.options.get("adapter_of")), "")
    known = catalogue.MODELS.get(model.base_model)
    candidates = (pushed, known.hub_id if known else model.base_model, str(model.metrics.get("source") or ""))
    return next((name for name in candidates if REPOSITORY.fullmatch(name)), "")


def _checked_base(version: ModelVersion, base: str) -> str:
    if not has_adapter(version):
        raise Refused(
            _("%(version)s has no LoRA adapter: one is kept of language models trained with lora or qlora.")
            % {"version": version.label},
            status=400,
        )
    name = base or hub_base(version)
    if not name:
        raise Refused(
            _(
                "The adapter needs the model that it was trained on. Push that one first, or name where it is on the "
                "Hub (OWNER/NAME)."
            ),
            status=400,
        )
    if not REPOSITORY.fullmatch(name):
        raise Refused(_("A repository is named OWNER/NAME."), status=400)
    return name


def gguf_runs(version: ModelVersion) -> list[tuple[TrainingRun, int]]:
    """Exports whose file is there, the newest first, and its bytes. Raises StorageFault."""
    found = version.used_by_runs.filter(stage=Stage.GGUF, status=TrainingRun.Status.SUCCEEDED).order_by("-pk")
    return [(run, size) for run in found if (size := run_artefacts.size_of(run, FILE)) is not None]


def gguf_path(run: TrainingRun) -> Path:
    return RunFiles(run).path / FILE


def file_name(run: TrainingRun) -> str:
    return f"{run.options['name']}-{run.options['type']}.gguf"


def pushes(version: ModelVersion) -> list[TrainingRun]:
    return list(version.used_by_runs.filter(stage=Stage.PUSH, status=TrainingRun.Status.SUCCEEDED).order_by("-pk")[:10])


def _enqueue(version: ModelVersion, *, stage: Stage, options: dict[str, object], by: User | None) -> TrainingRun:
    runs.refuse_too_many(version.project)
    return runs.enqueue(
        project=version.project, stage=stage, config={}, options=options, inputs={RunInput.Role.MODEL: version}, by=by
    )
