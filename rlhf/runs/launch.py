"""Starting a run with what a person left unsaid filled in: which model, which reward model, which snapshot."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.models import Project, Snapshot, User
from rlhf.loop import versions
from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.stages import NEEDS

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Role = RunInput.Role

LAUNCHABLE: dict[str, "StrOrPromise"] = {
    Stage.SFT: gettext_lazy("Fine-tune on demonstrations"),
    Stage.REWARD: gettext_lazy("Train a reward model"),
    Stage.PPO: gettext_lazy("Train the policy by PPO"),
    Stage.EVALUATE: gettext_lazy("Compare two models"),
}
"""Pretraining is not among them: it reads a corpus, which no project holds; its command line is the way to it."""
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
) -> TrainingRun:
    """Queue a run. Inputs that aren't given are the usual ones; without a snapshot one is made of the data as it is.

    `beside` are reward models that are asked together with the one among the inputs. Raises Refused where there is
    nothing to fill in, for inputs of the wrong kind, and for more than the project or a worker's machine may hold.
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
    kind = NEEDS[stage].snapshot
    with transaction.atomic():  # a run that is refused leaves no snapshot behind
        if kind and snapshot is None:
            snapshot = snapshots.request(project=project, kind=kind, by=by)
        return runs.enqueue(
            project=project, stage=stage, config=config, inputs=chosen, ensemble=others, snapshot=snapshot, by=by
        )


def start_seeds(
    *,
    project: Project,
    seeds: int,
    by: User | None,
    config: Mapping[str, Any],
    inputs: Mapping[str, ModelVersion] | None = None,
    snapshot: Snapshot | None = None,
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
                )
            )
    return started


def _check_ensemble(others: Sequence[ModelVersion], *, stage: str) -> None:
    if others and Role.REWARD not in NEEDS[stage].inputs:
        raise Refused(_("This stage asks no reward model, so none can be asked beside it."), status=400)
    for version in others:
        if version.kind != ModelVersion.Kind.REWARD:
            raise Refused(
                _("%(version)s can't be the %(role)s.")
                % {"version": version.label, "role": Role.ENSEMBLE.label.lower()},
                status=400,
            )


def default_inputs(project: Project, stage: str, *, given: Mapping[str, ModelVersion]) -> dict[str, ModelVersion]:
    """A version for each role the stage has: PPO and comparisons take the active policy, others the SFT model."""
    policy = given.get(Role.MODEL) or versions.active_policy(project)
    found: dict[str, ModelVersion] = {}
    for role in NEEDS[stage].inputs:
        if role in given:
            found[role] = given[role]
        elif role == Role.REWARD:
            found[role] = _reward(project)
        elif role == Role.MODEL and stage in (Stage.PPO, Stage.EVALUATE):
            found[role] = policy
        else:
            found[role] = versions.reference(policy)
    if NEEDS[stage].optional == Role.PREVIOUS and (before := versions.latest_reward(project)) is not None:
        found[Role.PREVIOUS] = given.get(Role.PREVIOUS, before)
    return found


def _reward(project: Project) -> ModelVersion:
    reward = versions.latest_reward(project)
    if reward is None:
        raise Refused(_("%(project)s has no reward model yet. Train one first.") % {"project": project.name})
    return reward
