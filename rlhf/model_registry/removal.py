"""Deletion of model versions that nothing needs. The row stays: responses, runs and promotions refer to it.

The files are removed by a job, which the scheduler begins again where it was interrupted.
"""

from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.models import User
from annotate.people import audit
from rlhf.loop import versions
from rlhf.model_registry import exporting
from rlhf.models import HumanEvaluation, Iteration, ModelVersion, RunInput, TrainingRun
from rlhf.reports import model_archive
from rlhf.runs import runs
from rlhf.runs.stages.gguf_export import FILE
from rlhf.runs.storage import removed_folders, run_artefacts

MOST_NAMED = 5
TASK = "rlhf.remove_model_files"


def needed_by(version: ModelVersion) -> list[str]:
    """What needs a version, a sentence each; empty for one that can be deleted."""
    found = []
    if version.base_model:
        found.append(_("It is a base model: it has no files of its own here, and what was trained from it names it."))
    if version.active:
        found.append(_("It is in use. Promote another model first."))
    current = versions.in_use(version)
    if current is not None and versions.previous(current) == version:
        found.append(_("%(version)s would be rolled back to it.") % {"version": current.label})
    if children := _listed(str(child.label) for child in version.children.order_by("pk")):
        found.append(_("Models were made from it: %(models)s.") % {"models": children})
    waiting = RunInput.objects.filter(version=version).exclude(run__status__in=TrainingRun.ENDED)
    if numbers := _listed(str(number) for number in waiting.order_by("run_id").values_list("run_id", flat=True)):
        found.append(_("Runs that wait or run use it: %(runs)s.") % {"runs": numbers})
    rounds = Iteration.objects.filter(project=version.project, state=Iteration.State.ACTIVE)
    if any(version.pk in (each.policy_version_id, each.reward_version_id) for each in rounds):
        found.append(_("The round of the loop that goes on has made it."))
    evaluations = HumanEvaluation.objects.filter(evaluated__version=version, state__in=HumanEvaluation.OPEN)
    if numbers := _listed(str(number) for number in evaluations.order_by("number").values_list("number", flat=True)):
        found.append(_("Evaluations that go on compare it: %(evaluations)s.") % {"evaluations": numbers})
    return found


def delete(version: ModelVersion, *, by: User | None) -> None:
    """Delete a version that nothing needs; a job removes its files after the commit. Raises Refused."""
    with transaction.atomic():
        versions.lock(version.project)
        version = ModelVersion.ever.select_related("project").get(pk=version.pk)
        if version.deleted_at is not None:
            return
        if reasons := needed_by(version):
            raise Refused(
                _("%(version)s can’t be deleted. %(reasons)s")
                % {"version": version.label, "reasons": " ".join(reasons)}
            )
        ModelVersion.objects.filter(pk=version.pk).update(deleted_at=timezone.now(), deleted_by=by)
        audit.record(
            verb="model.deleted", actor=by, subject=version, project=version.project, model=str(version),
            sha256=version.sha256,
        )  # fmt: skip
        runs.send(TASK, version.pk)


def remove_files(version_id: int) -> int:
    """Remove the files of a deleted version; idempotent. Returns the bytes freed."""
    version = ModelVersion.ever.select_related("project").filter(pk=version_id).exclude(deleted_at=None).first()
    if version is None or version.files_removed_at is not None:
        return 0
    size = sum(size for _name, size in model_archive.sizes_of(version))
    for run, bytes_of_file in exporting.gguf_runs(version):
        size += bytes_of_file
        run_artefacts.remove_file(run, FILE)
    run_artefacts.remove_model(version)
    for folder in _folders(version):
        removed_folders.remove(folder)
    with transaction.atomic():
        changed = ModelVersion.ever.filter(pk=version.pk, files_removed_at=None).update(files_removed_at=timezone.now())
        if changed:
            audit.record(verb="model.files_removed", actor=None, subject=version, project=version.project, bytes=size)
    return size


def remove_copies() -> int:
    """Of deleted versions whose files another host has removed, and which this one had fetched. Returns the bytes."""
    freed = 0
    for version in ModelVersion.ever.select_related("project").exclude(files_removed_at=None).order_by("pk"):
        freed += model_archive.size_of(model_archive.files_of(version))
        for folder in _folders(version):
            removed_folders.remove(folder)
    return freed


def unfinished() -> list[int]:
    """Deleted versions whose files are still there."""
    left = ModelVersion.ever.exclude(deleted_at=None).filter(files_removed_at=None)
    return list(left.order_by("pk").values_list("pk", flat=True))


def _folders(version: ModelVersion) -> list[Path]:
    """The folders of its own: model/, adapter/ and lora/ of the run that made it, below the data folder."""
    if not version.folder:
        return []
    model = (settings.HONE_DATA / version.folder).resolve()
    if not model.is_relative_to(Path(settings.HONE_DATA).resolve() / "runs"):
        return []
    return [model, model.parent / "adapter", model.parent / "lora"]


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:MOST_NAMED]) + (" …" if len(found) > MOST_NAMED else "")
