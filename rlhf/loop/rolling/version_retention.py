"""Files of older reward models of the rolling mode: they go, and figures, reports and lineage stay."""

from django.utils import timezone

from annotate.models import Project
from annotate.people import audit
from rlhf.loop import versions
from rlhf.models import Iteration, LoopSettings, ModelVersion, RollingUpdate, RunInput, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.storage import removed_folders, run_artefacts


def prune(project: Project) -> list[ModelVersion]:
    """Remove the files of versions older than the newest `rolling_keep`, but of those that something needs: the one in
    use, the one that it is rolled back to, inputs of other runs, and reward models of rounds. Idempotent.
    """
    produced = project.rolling_updates.filter(run__produced__isnull=False)
    older = produced.select_related("run__produced").order_by("-pk")[LoopSettings.of(project).rolling_keep :]
    pruned = []
    for update in older:
        version = update.run.produced
        if update.files_removed_at is None and version is not None and not _is_needed(version):
            _remove(update)
            pruned.append(version)
    return pruned


def _is_needed(version: ModelVersion) -> bool:
    active = versions.active_reward(version.project)
    if version.active or (active is not None and versions.previous(active) == version):
        return True
    if Iteration.objects.filter(reward_version=version).exists():
        return True
    uses = RunInput.objects.filter(version=version)
    # An update that has ended has taken over what it was trained from.
    return uses.exclude(run__rolling_update__isnull=False, run__status__in=TrainingRun.ENDED).exists()


def _remove(update: RollingUpdate) -> None:
    files = RunFiles(update.run)
    for folder in (files.model, files.checkpoints):
        removed_folders.remove(folder)
    if update.run.produced is not None:
        run_artefacts.remove_model(update.run.produced)
    run_artefacts.remove_checkpoints(update.run)
    RollingUpdate.objects.filter(pk=update.pk).update(files_removed_at=timezone.now())
    audit.record(verb="rolling.files_removed", actor=None, subject=update, project=update.project, run=update.run_id)
