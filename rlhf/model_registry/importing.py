"""Import a model folder or a Hub id as a version: a run, whose process checks the model and copies it.

A page imports from the folders that HONE_MODEL_FOLDERS names and from the Hub; a command from wherever it may read.
"""

import re
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.models import Project, User
from rlhf.models import ModelVersion, Stage, TrainingRun
from rlhf.runs import runs

Kind = ModelVersion.Kind
KINDS = (Kind.POLICY, Kind.SFT, Kind.PRETRAINED, Kind.REWARD)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
LONGEST = 500


def start(*, project: Project, source: str, kind: str, by: User | None, from_page: bool) -> TrainingRun:
    """Queue the import. Raises Refused for a kind, a folder or a Hub id that can't be imported."""
    source = source.strip()
    if kind not in KINDS:
        raise Refused(
            _("Choose what the model is: %(kinds)s.") % {"kinds": ", ".join(str(each.label) for each in KINDS)},
            status=400,
        )
    if not source or len(source) > LONGEST or "\0" in source:
        raise Refused(_("Name a folder or a Hub id."), status=400)
    is_path = source.startswith(("/", ".", "~")) or (not from_page and Path(source).is_dir())
    if is_path:
        model = str(_folder(source, from_page=from_page))
    elif HUB_ID.fullmatch(source):
        model = source
    else:
        raise Refused(_("%(source)s is neither a folder nor a Hub id.") % {"source": source}, status=400)
    runs.refuse_too_many(project)
    return runs.enqueue(
        project=project,
        stage=Stage.IMPORT,
        config={},
        options={"model": model, "kind": kind},
        inputs={},
        by=by,
    )


def allowed_folders() -> list[Path]:
    """Folders below which a page may import models."""
    return [Path(name).resolve() for name in settings.HONE_MODEL_FOLDERS]


def _folder(source: str, *, from_page: bool) -> Path:
    """The folder, links followed. Raises Refused (400) for one that isn't there or that a page may not read."""
    folder = Path(source).expanduser()
    if from_page:
        allowed = allowed_folders()
        if not folder.is_absolute() or not any(folder.resolve().is_relative_to(root) for root in allowed):
            # Said before it is looked for: what is in other folders is nobody's business.
            named = ", ".join(map(str, allowed)) or _("none")
            raise Refused(
                _("Models are imported from folders that HONE_MODEL_FOLDERS allows: %(folders)s.") % {"folders": named},
                status=400,
            )
    if not folder.is_dir():
        raise Refused(_("There is no folder %(folder)s.") % {"folder": source}, status=400)
    return folder.resolve()
