"""The types that describe a stage, and the data files that several stages share."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.data import snapshots
from annotate.data.stored_messages import StoredMessage, refusal
from annotate.models import Project, Prompt, Snapshot
from rlhf.loop import versions
from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.runs import Lease

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Role = RunInput.Role
Split = Prompt.Split
Heartbeat = Callable[[], None]
Default = Callable[[Project, ModelVersion], ModelVersion | None]
"""(project, policy) -> the version that an input has unless another one is given. Raises Refused."""


@dataclass(frozen=True, kw_only=True)
class StageInput:
    """A model that a stage reads, as the flag --ROLE of its command.

    is_required: without it the run isn't started, and it fails when the files are missing.
    is_on_pages: the form of a new run asks for it.
    """

    role: Role
    default: Default
    is_required: bool = True
    is_on_pages: bool = True


@dataclass(frozen=True, kw_only=True)
class StageData:
    """Data files of a command ({flag: path}), settings that they call for, and notes for the run's page."""

    files: Mapping[str, Path]
    notes: tuple[StoredMessage, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def no_flags(run: TrainingRun) -> list[str]:
    return []


def command_of_stage(run: TrainingRun) -> list[str]:
    return [run.stage]


def run_metrics(run: TrainingRun, lease: Lease, files: RunFiles) -> dict[str, Any]:
    """The metrics of result.json."""
    metrics: dict[str, Any] = files.result().get("metrics", {})
    return metrics


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """Everything that Hone knows of a stage.

    title: name of the action, for stages that a page and `manage.py train` start; empty for others.
    activity: what a run of it does, shown while its process runs; a message of the catalogue.
    inputs: the models it reads.
    snapshot: kind of the snapshot that it trains on, if any.
    data: writes its data files. Called again for a resumed run, it returns the same files.
    command: the command of models_core, with what stands before its models and data.
    flags: further arguments of its command.
    output: name of the one file that it writes, whole or not at all; empty for a stage with a run folder.
    resumes_output: its command goes on from what it wrote of that file before it was killed.
    collect: stores what it made and returns its metrics; called twice, it changes nothing more. Raises LeaseLost.
    kind: kind of the model version that it leaves, if any; of a run, where its options say so.
    """

    stage: Stage
    title: "StrOrPromise" = ""
    activity: str
    inputs: tuple[StageInput, ...]
    snapshot: str = ""
    data: Callable[[TrainingRun, RunFiles, Heartbeat], StageData]
    command: Callable[[TrainingRun], list[str]] = command_of_stage
    flags: Callable[[TrainingRun], list[str]] = no_flags
    output: str = ""
    resumes_output: bool = False
    collect: Callable[[TrainingRun, Lease, RunFiles], dict[str, Any]] = run_metrics
    kind: ModelVersion.Kind | Callable[[TrainingRun], ModelVersion.Kind] | None = None

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(item.role for item in self.inputs)

    def output_path(self, files: RunFiles) -> Path:
        return files.path / self.output if self.output else files.run


def active_policy(project: Project, policy: ModelVersion) -> ModelVersion:
    return policy


def reference_of_policy(project: Project, policy: ModelVersion) -> ModelVersion:
    """The SFT or base model that the policy was trained from."""
    return versions.reference(policy)


def reward_model(project: Project, policy: ModelVersion) -> ModelVersion:
    reward = versions.latest_reward(project)
    if reward is None:
        raise refusal("no_reward_model", project=project.name)
    return reward


def latest_reward_model(project: Project, policy: ModelVersion) -> ModelVersion | None:
    return versions.latest_reward(project)


def none(project: Project, policy: ModelVersion) -> None:
    return None


def split_data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat, *, none_held_out: StoredMessage) -> StageData:
    """The rows of a snapshot: train prompts to train on, validation and test prompts to measure on."""
    snapshot = ready_snapshot(run, heartbeat)
    data = {"--data": _train_rows(snapshot)}
    held_out = files.inputs / "held_out.jsonl"
    _concatenate([snapshots.data_file(snapshot, split) for split in (Split.VALIDATION, Split.TEST)], held_out)
    if held_out.stat().st_size:
        return StageData(files=data | {"--eval": held_out})
    return StageData(files=data, notes=(none_held_out,))


def ready_snapshot(run: TrainingRun, heartbeat: Heartbeat) -> Snapshot:
    """The run's snapshot, built now if no other job has built it. Raises Refused when it is missing or damaged."""
    snapshot = run.snapshot
    if snapshot is None:
        raise refusal("run_without_snapshot")
    if snapshot.state != Snapshot.State.READY:
        snapshot = snapshots.build(snapshot.pk, lambda _: heartbeat())
    if snapshot.state != Snapshot.State.READY:
        raise refusal("snapshot_failed", error=snapshot.failure or snapshot.error)
    snapshots.folder_of(snapshot, heartbeat=heartbeat)
    if problems := snapshots.verify(snapshot):
        raise refusal("snapshot_damaged", snapshot=str(snapshot), problems=[each.as_json() for each in problems])
    return snapshot


def _train_rows(snapshot: Snapshot) -> Path:
    path = snapshots.data_file(snapshot, Split.TRAIN)
    if not path.is_file() or not path.stat().st_size:
        raise refusal("snapshot_without_train_rows", snapshot=str(snapshot))
    return path


def _concatenate(sources: Iterable[Path], target: Path) -> None:
    with target.open("wb") as joined:
        for source in sources:
            if source.is_file():
                with source.open("rb") as file:
                    shutil.copyfileobj(file, joined)
