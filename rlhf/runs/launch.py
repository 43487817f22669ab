"""Start runs; inputs and snapshots that aren't given have defaults."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.models import Project, Snapshot, User
from models_core.contract.settings import settings_of
from rlhf.loop import sampling, versions
from rlhf.loop.prompts import PromptOrder
from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.planning import measurements
from rlhf.runs.runs import Origin
from rlhf.runs.stages import ppo, pretrain
from rlhf.runs.stages.registry import LAUNCHABLE, STAGE_SPECS

Role = RunInput.Role

MOST_SEEDS = 16


def start(
    *,
    project: Project,
    stage: str,
    by: User | None,
    config: Mapping[str, Any],
    inputs: Mapping[str, ModelVersion] | None = None,
    ensemble: Sequence[ModelVersion] = (),
    snapshot: Snapshot | None = None,
    aggregation: str = "",
    corpus: str = "",
    ptx: str = "",
    prompts: int | None = None,
    samples: int | None = None,
    order: str = "",
    origin: Origin | None = None,
    measures: bool = False,
) -> TrainingRun:
    """Queue a run, or with `measures` a measurement of a few of its steps.

    Inputs that aren't given have the stage's defaults; without a snapshot a new one is requested.
    aggregation: of several judgments of a task in the new snapshot (Snapshot.Aggregation); empty for each as it is.
    ensemble: further reward models, which score together with the one among the inputs.
    corpus: for pretraining, a file below HONE_DATA/corpora; without one the texts of the project are the corpus.
    ptx: for PPO, the pretraining text of PPO-ptx: such a file, or PROJECT_TEXTS; without one there is no such loss.
    prompts, samples, order: for sampling, how many prompts, responses to each, and which prompts (PromptOrder).
    Raises Refused where there is no default, for inputs of the wrong kind, and beyond the limits of the project or of
    the workers' machine.
    """
    if stage not in LAUNCHABLE:
        raise Refused(
            _("There is no stage %(stage)r to start; there are %(stages)s.")
            % {"stage": str(stage), "stages": ", ".join(LAUNCHABLE)},
            status=400,
        )
    runs.refuse_too_many(project)
    chosen = default_inputs(project, stage, given=inputs or {})
    for role, version in chosen.items():
        if (version.kind == ModelVersion.Kind.REWARD) != (role in (Role.REWARD, Role.PREVIOUS)):
            raise Refused(
                _("%(version)s can't be the %(role)s.") % {"version": version.label, "role": Role(role).label.lower()},
                status=400,
            )
    others = [version for version in dict.fromkeys(ensemble) if version != chosen.get(Role.REWARD)]
    _check_ensemble(others, stage=stage)
    options = {name: value for name, value in (("corpus", corpus), ("ptx", ptx)) if value}
    _check_texts(options, stage=stage)
    chosen_prompts = _chosen_prompts(stage, prompts=prompts, samples=samples, order=order)
    kind = STAGE_SPECS[stage].snapshot
    _check_aggregation(aggregation, kind=kind, snapshot=snapshot)
    if stage == Stage.PPO:
        ppo.refuse_servers(config)
    if measures:
        return measurements.start(
            project=project,
            stage=stage,
            by=by,
            config=config,
            inputs=chosen,
            ensemble=others,
            snapshot=snapshot,
            options=options,
        )
    runs.checked_settings(settings_of(stage), config)
    if stage == Stage.SAMPLE:
        return sampling.start(
            project=project,
            by=by,
            version=chosen[Role.MODEL],
            reward=chosen.get(Role.REWARD),
            ensemble=others,
            config=config,
            origin=origin,
            **chosen_prompts,
        )
    measurements.refuse_too_large(stage=stage, config=config, models=[*chosen.values(), *others])
    with transaction.atomic():  # a run that is refused leaves no snapshot behind
        if kind and snapshot is None:
            snapshot = snapshots.request(
                project=project, kind=kind, by=by, aggregation=aggregation or Snapshot.Aggregation.RAW
            )
        return runs.enqueue(
            project=project,
            stage=stage,
            config=config,
            options=options,
            inputs=chosen,
            ensemble=others,
            snapshot=snapshot,
            by=by,
            origin=origin,
        )


def start_seeds(
    *,
    project: Project,
    seeds: int,
    by: User | None,
    config: Mapping[str, Any],
    inputs: Mapping[str, ModelVersion] | None = None,
    snapshot: Snapshot | None = None,
    aggregation: str = "",
    origin: Origin | None = None,
) -> list[TrainingRun]:
    """Queue so many runs of `reward` that differ in their seed alone: of one snapshot, from one model.

    The seeds are the given one and those after it. Raises Refused as `start` does.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise Refused(_("Choose from 1 to %(most)s seeds.") % {"most": MOST_SEEDS}, status=400)
    with transaction.atomic():
        started: list[TrainingRun] = []
        for number in range(seeds):
            first = started[0] if started else None
            seed = {"seed": first.seed + number} if first else {}
            started.append(
                start(
                    project=project,
                    stage=Stage.REWARD,
                    by=by,
                    config={**config, **seed},
                    inputs=inputs,
                    snapshot=first.snapshot if first else snapshot,
                    aggregation="" if first else aggregation,
                    origin=origin,
                )
            )
    return started


def _check_aggregation(aggregation: str, *, kind: str, snapshot: Snapshot | None) -> None:
    if not aggregation:
        return
    if kind != Snapshot.Kind.RANKINGS:
        raise Refused(_("Only training on judgments weights them or reduces them to a consensus."), status=400)
    if snapshot is not None and snapshot.aggregation != aggregation:
        raise Refused(
            _("%(snapshot)s has another mode: %(mode)s. Choose that, or a new snapshot.")
            % {"snapshot": str(snapshot), "mode": Snapshot.Aggregation(snapshot.aggregation).label},
            status=400,
        )


def _check_ensemble(others: Sequence[ModelVersion], *, stage: str) -> None:
    if others and Role.REWARD not in STAGE_SPECS[stage].roles:
        raise Refused(_("This stage uses no reward model."), status=400)
    for version in others:
        if version.kind != ModelVersion.Kind.REWARD:
            raise Refused(
                _("%(version)s can't be the %(role)s.")
                % {"version": version.label, "role": Role.ENSEMBLE.label.lower()},
                status=400,
            )


def default_inputs(project: Project, stage: str, *, given: Mapping[str, ModelVersion]) -> dict[str, ModelVersion]:
    """The versions that a run of the stage reads: the given ones, and defaults. Raises Refused where one is missing."""
    policy = given.get(Role.MODEL) or versions.active_policy(project)
    found: dict[str, ModelVersion] = {}
    for item in STAGE_SPECS[stage].inputs:
        version = given.get(item.role) or item.default(project, policy)
        if version is not None:
            found[item.role] = version
    return found


def default_input(project: Project, stage: str, role: str) -> ModelVersion | None:
    """The version that one input has unless another one is given. Raises Refused where it is missing."""
    (default,) = (item.default for item in STAGE_SPECS[stage].inputs if item.role == role)
    return default(project, versions.active_policy(project))


def can_be_cloned(run: TrainingRun) -> bool:
    return run.stage in LAUNCHABLE and (run.stage != Stage.SAMPLE or sampling.can_be_cloned(run))


def _chosen_prompts(stage: str, **given: Any) -> dict[str, Any]:
    """What `sampling.start` takes of it. Raises Refused for other stages, and for an order that there isn't."""
    found = {name: value for name, value in given.items() if value}
    if found and stage != Stage.SAMPLE:
        raise Refused(_("Numbers of prompts and responses are for sampling."), status=400)
    if "order" in found and found["order"] not in PromptOrder.values:
        raise Refused(_("There is no such order of prompts."), status=400)
    if given["prompts"] is not None:
        found["prompt_count"] = given["prompts"]
        found.pop("prompts", None)
    return found


def _check_texts(options: Mapping[str, str], *, stage: str) -> None:
    """Raise Refused for a corpus or PPO-ptx text that the stage doesn't read, or that isn't there."""
    if "corpus" in options:
        if stage != Stage.PRETRAIN:
            raise Refused(_("A corpus is for pretraining."), status=400)
        pretrain.corpus_path(options["corpus"])
    if "ptx" in options:
        if stage != Stage.PPO:
            raise Refused(_("Text for PPO-ptx is for PPO."), status=400)
        if options["ptx"] != pretrain.PROJECT_TEXTS:
            pretrain.corpus_path(options["ptx"])
