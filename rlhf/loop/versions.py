"""Model versions: creation, lineage, promotion."""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.models import Author, Project, User
from annotate.people import audit, event_outbox
from rlhf.models import ModelVersion, Promotion, RunInput, Stage, TrainingRun

Kind = ModelVersion.Kind
MODEL_PROMOTED = "model.promoted"


def base(project: Project, *, name: str = "") -> ModelVersion:
    """The project's version of a base model, by default Hone's; the active policy until another is promoted."""
    name = name or settings.HONE_BASE_MODEL
    found = project.model_versions.filter(kind=Kind.BASE, base_model=name).first()
    if found is not None:
        return found
    with transaction.atomic():
        lock(project)
        found = project.model_versions.filter(kind=Kind.BASE, base_model=name).first()
        return found or _create(
            project=project, kind=Kind.BASE, base_model=name, active=policies(project, active=True).first() is None
        )


def register(run: TrainingRun, *, kind: str, folder: str, sha256: str, metrics: dict[str, Any]) -> ModelVersion:
    """Store the model of a run. Call it in the transaction that ends the run."""
    lock(run.project)
    version = _create(
        project=run.project,
        kind=kind,
        folder=folder,
        sha256=sha256,
        metrics=metrics,
        active=False,
    )
    # The previous reward model was only evaluated.
    parents = run.run_inputs.exclude(role=RunInput.Role.PREVIOUS)
    version.parents.set(parents.values_list("version", flat=True))
    return version


def active_policy(project: Project) -> ModelVersion:
    """The policy in use; the base model until one is promoted."""
    return policies(project, active=True).first() or base(project)


def active_reward(project: Project) -> ModelVersion | None:
    """The reward model in use, if any."""
    return project.model_versions.filter(kind=Kind.REWARD, active=True).first()


def latest_reward(project: Project) -> ModelVersion | None:
    """The reward model in use, else the newest one."""
    newest = project.model_versions.filter(kind=Kind.REWARD).order_by("-number").first()
    return active_reward(project) or newest


def other_seeds(reward: ModelVersion) -> list[ModelVersion]:
    """Reward models that differ from this one in their seed alone: same snapshot, initial model and settings."""
    run = TrainingRun.objects.filter(produced=reward).first()
    if run is None or run.snapshot is None:
        return []
    others = reward.project.training_runs.filter(stage=Stage.REWARD, snapshot=run.snapshot, produced__isnull=False)
    found = others.exclude(pk=run.pk).select_related("produced").prefetch_related("run_inputs").order_by("pk")
    wanted = _recipe(run)
    return [other.produced for other in found if other.produced is not None and _recipe(other) == wanted]


def _recipe(run: TrainingRun) -> tuple[dict[str, Any], list[int]]:
    """Settings of a run without its seed, and its initial models."""
    models = [item.version_id for item in run.run_inputs.all() if item.role == RunInput.Role.MODEL]
    return {name: value for name, value in run.config.items() if name != "seed"}, models


def reference(version: ModelVersion) -> ModelVersion:
    """The SFT or base model of a policy's KL penalty, or that a reward model began as; any other version itself."""
    if version.kind not in (Kind.POLICY, Kind.REWARD):
        return version
    inputs = {
        item.role: item.version for item in RunInput.objects.filter(run__produced=version).select_related("version")
    }
    found = inputs.get(RunInput.Role.REFERENCE) or inputs.get(RunInput.Role.MODEL)
    return reference(found) if found is not None else base(version.project)


def reward_chain(reward: ModelVersion) -> list[ModelVersion]:
    """A reward model, the one that it was trained on from, and so on; the newest first."""
    found = [reward]
    while True:
        sources = RunInput.objects.filter(run__produced=found[-1], role=RunInput.Role.MODEL, version__kind=Kind.REWARD)
        source = sources.select_related("version").first()
        if source is None:
            return found
        found.append(source.version)


def before_sft(version: ModelVersion) -> ModelVersion:
    """The model that an SFT model was fine-tuned from; any other version itself."""
    if version.kind != Kind.SFT:
        return version
    source = RunInput.objects.filter(run__produced=version, role=RunInput.Role.MODEL).select_related("version").first()
    return before_sft(source.version) if source is not None else base(version.project)


def find(project: Project, name: str) -> ModelVersion:
    """A version by its name, such as "policy 3" or "policy-3". Raises Refused."""
    kind, _space, number = name.strip().lower().replace("-", " ").rpartition(" ")
    if kind in Kind.values and number.isdecimal():
        found = project.model_versions.filter(kind=kind, number=int(number)).first()
        if found is not None:
            return found
    raise Refused(_("There is no model %(name)r in %(project)s.") % {"name": name, "project": project.name}, status=404)


def promote(version: ModelVersion, *, by: User | None) -> None:
    """Put a version into use, as the reward model or as the policy. Idempotent."""
    with transaction.atomic():
        lock(version.project)
        version.refresh_from_db()
        if version.active:
            return
        _switch(version, verb=Promotion.Verb.PROMOTE, by=by)
        audit.record(verb="model.promoted", actor=by, subject=version, project=version.project, model=str(version))
    version.refresh_from_db()


def in_use(version: ModelVersion) -> ModelVersion | None:
    """The version in use that this one would replace."""
    return _family(version).filter(active=True).exclude(pk=version.pk).first()


def previous(version: ModelVersion) -> ModelVersion | None:
    """The version that a version in use is rolled back to: the one in use when it was promoted.

    The history is a stack: a promotion pushes, a rollback pops. So a rollback never returns to what was rolled back.
    """
    stack: list[ModelVersion] = []
    for change in history(version):
        if change.verb == Promotion.Verb.ROLL_BACK:
            stack = stack[:-1]
        if not stack or stack[-1] != change.version:
            stack.append(change.version)
    return stack[-2] if len(stack) > 1 and stack[-1] == version else None


def history(version: ModelVersion) -> QuerySet[Promotion]:
    """Promotions and rollbacks of the version's family, oldest first."""
    return (
        Promotion.objects.filter(version__in=_family(version))
        .select_related("version", "replaced", "by")
        .order_by("pk")
    )


def roll_back(version: ModelVersion, *, by: User | None) -> ModelVersion:
    """Replace a version in use by its predecessor. Raises Refused when there is none."""
    with transaction.atomic():
        lock(version.project)
        version.refresh_from_db()
        if not version.active:
            raise Refused(
                _("%(version)s is not in use, so there is nothing to roll back.")
                % {"version": str(version).capitalize()}
            )
        before = previous(version)
        if before is None:
            raise Refused(_("No other model was in use before %(version)s.") % {"version": version})
        _switch(before, verb=Promotion.Verb.ROLL_BACK, by=by)
        audit.record(
            verb="model.rolled_back",
            actor=by,
            subject=before,
            project=version.project,
            model=str(before),
            instead_of=str(version),
        )
    before.refresh_from_db()
    return before


def _switch(version: ModelVersion, *, verb: str, by: User | None) -> None:
    """Put a version into use in place of the one that is, and note it in the history."""
    replaced = in_use(version)
    if replaced is not None:
        ModelVersion.objects.filter(pk=replaced.pk).update(active=False)
    ModelVersion.objects.filter(pk=version.pk).update(active=True, promoted_by=by, promoted_at=timezone.now())
    Promotion.objects.create(version=version, verb=verb, replaced=replaced, by=by)
    event_outbox.record(
        MODEL_PROMOTED,
        project=version.project_id,
        model=str(version),
        version=version.pk,
        kind=version.kind,
        rolled_back=verb == Promotion.Verb.ROLL_BACK,
        instead_of=str(replaced) if replaced is not None else None,
    )


def _family(version: ModelVersion) -> QuerySet[ModelVersion]:
    """The versions of which one is in use at a time: reward models, or policies."""
    if version.kind == Kind.REWARD:
        return version.project.model_versions.filter(kind=Kind.REWARD)
    return policies(version.project)


def policies(project: Project, **filters: Any) -> QuerySet[ModelVersion]:
    """The versions that respond to prompts: all but reward models."""
    return project.model_versions.exclude(kind=Kind.REWARD).filter(**filters)


def lock(project: Project) -> None:
    """One change of a project's versions at a time; SQLite holds its one write lock already."""
    Project.objects.select_for_update().get(pk=project.pk)


def _create(*, project: Project, kind: str, active: bool, **fields: Any) -> ModelVersion:
    ever = ModelVersion.ever.filter(project=project, kind=kind)  # the number of a deleted version is not used again
    number = (ever.aggregate(last=Max("number"))["last"] or 0) + 1
    author = None
    if kind != Kind.REWARD:
        author, _made = Author.objects.get_or_create(
            kind=Author.Kind.MODEL, name=f"{project.slug}/{kind}-{number}", user=None
        )
    version = ModelVersion.objects.create(project=project, kind=kind, number=number, author=author, **fields)
    if active:
        _switch(version, verb=Promotion.Verb.PROMOTE, by=None)
        version.refresh_from_db()
    return version
