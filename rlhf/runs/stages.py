"""What each stage needs, how models_core is called for it, and what is done with what it made."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.models import Prompt, Snapshot
from models_core.contract import catalogue
from models_core.contract.reward_names import Kind, kind_of
from models_core.contract.run_folder import folder_sha256
from models_core.contract.settings import PPOConfig, parse
from rlhf.loop import active_learning, calibration_data, prompts, sampling, versions
from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs.run_files import RunFiles
from rlhf.runs.runs import Lease

Role = RunInput.Role
Split = Prompt.Split
Heartbeat = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """The models a stage reads, one it reads where there is one, and the kind of the snapshot it trains on, if any."""

    inputs: tuple[str, ...]
    optional: str = ""
    snapshot: str = ""


NEEDS: dict[str, Needs] = {
    Stage.SFT: Needs(inputs=(Role.MODEL,), snapshot=Snapshot.Kind.DEMONSTRATIONS),
    Stage.REWARD: Needs(inputs=(Role.MODEL,), optional=Role.PREVIOUS, snapshot=Snapshot.Kind.RANKINGS),
    Stage.PPO: Needs(inputs=(Role.MODEL, Role.REFERENCE, Role.REWARD)),
    Stage.SAMPLE: Needs(inputs=(Role.MODEL,)),
    Stage.EVALUATE: Needs(inputs=(Role.MODEL, Role.AGAINST, Role.REWARD)),
    Stage.SCORE: Needs(inputs=(Role.MODEL,)),
}


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data files of a command ({flag: path}), settings they call for, and what there is to say about them."""

    files: dict[str, Path]
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A call of `python -m models_core`, with what a watcher should know of it."""

    arguments: list[str]
    activity: str
    base_model: str = ""
    notes: tuple[str, ...] = ()


def prepare(run: TrainingRun, files: RunFiles, *, heartbeat: Heartbeat) -> Command:
    """Gather the run's data and word its command. Made again for a resumed run, it is the same command with --resume.

    `keep_alive` is called while it waits. Raises Refused or BadInput with a sentence, OSError.
    """
    given = list(run.run_inputs.select_related("version__project"))
    models = {item.role: item.version for item in given if item.role != Role.ENSEMBLE}
    ensemble = [item.version for item in given if item.role == Role.ENSEMBLE]
    arguments = [run.stage]
    notes: list[str] = []
    for role, flag in MODEL_FLAGS.items():
        if role not in models:
            continue
        together = [models[role], *(ensemble if models[role].kind == ModelVersion.Kind.REWARD else [])]
        try:
            arguments += [flag, ",".join(model_argument(version) for version in together)]
        except Refused:
            if role != NEEDS[run.stage].optional:
                raise
            notes.append("The files of the reward model before it are gone, so it is not measured on new judgments.")
    data = DATA[run.stage](run, files, heartbeat)
    for flag, path in data.files.items():
        arguments += [flag, str(path)]
    if run.stage == Stage.SAMPLE:
        arguments += ["--samples", str(run.options["samples"])]
    for name, value in sorted((run.config | data.settings).items()):
        arguments += ["--set", f"{name}={value}"]
    arguments += ["--out", str(_out(run, files))]
    if files.is_started:
        arguments.append("--resume")
    in_catalogue = [version.base_model for version in models.values() if version.base_model in catalogue.MODELS]
    return Command(
        arguments=arguments,
        activity=ACTIVITIES[run.stage],
        base_model="".join(in_catalogue[:1]),
        notes=(*notes, *data.notes),
    )


def is_finished(run: TrainingRun, files: RunFiles) -> bool:
    """Whether the command has done its work already, in an attempt whose worker died before it was stored."""
    return _out(run, files).exists() if run.stage in FILE_STAGES else files.is_finished


def collect(run: TrainingRun, lease: Lease, files: RunFiles) -> dict[str, Any]:
    """Take over what the command made; returns its numbers. Doing it twice changes nothing more. Raises LeaseLost."""
    if run.stage == Stage.SAMPLE:
        with _out(run, files).open(encoding="utf-8") as file:
            rows = (json.loads(line) for line in file if line.strip())
            return files.summary() | sampling.store(run, lease, rows)
    if run.stage == Stage.EVALUATE:
        return files.summary()
    if run.stage == Stage.SCORE:
        return files.summary() | active_learning.store(run, lease, _out(run, files))
    return files.result().get("metrics", {})


def register(run: TrainingRun, files: RunFiles, result: Mapping[str, Any]) -> ModelVersion | None:
    """Store the model of a training stage."""
    if run.stage in FILE_STAGES:
        return None
    return versions.register(
        run,
        folder=str(files.model.relative_to(settings.HONE_DATA)),
        sha256=files.result().get("sha256") or "",
        metrics=dict(result),
    )


def model_argument(version: ModelVersion) -> str:
    """What models_core knows a version by. Raises Refused when its files are gone or are not what they were."""
    if version.base_model:
        if kind_of(version.base_model) != Kind.MODELS:
            raise Refused(
                _("%(name)s names no model. Python functions and servers are rewards for the command line alone.")
                % {"name": version.base_model}
            )
        return version.base_model
    folder = settings.HONE_DATA / version.folder
    if not folder.is_dir():
        raise Refused(
            _("The files of %(version)s are missing: there is no folder %(folder)s.")
            % {"version": version, "folder": folder}
        )
    if version.sha256 and folder_sha256(folder) != version.sha256:
        raise Refused(
            _("The files of %(version)s in %(folder)s are not those it was stored with (SHA-256 differs).")
            % {"version": version, "folder": folder}
        )
    return str(folder)


def base_model_activity(name: str) -> str:
    """What to say while a base model is still being fetched; empty when it is there."""
    status = catalogue.status(name, settings.HONE_DATA / "models")
    if status.state == "downloading" and status.total:
        return _("fetching the base model, %(share)s%%") % {"share": 100 * status.done // status.total}
    return gettext_noop("fetching the base model") if status.state in ("downloading", "converting") else ""


def _out(run: TrainingRun, files: RunFiles) -> Path:
    return files.path / FILE_STAGES[run.stage] if run.stage in FILE_STAGES else files.run


def _sft_data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> Data:
    return _split_data(
        run,
        files,
        heartbeat,
        none_held_out=gettext_noop(
            "No demonstration is held out yet, so the loss is measured on a part of the train prompts."
        ),
    )


def _reward_data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> Data:
    data = _split_data(
        run,
        files,
        heartbeat,
        none_held_out=gettext_noop(
            "No judged prompt is held out yet, so the accuracy is of a part of the train prompts."
        ),
    )
    reference = run.run_inputs.get(role=Role.MODEL).version
    return replace(
        data, files=data.files | calibration_data.files(run.project, reference=reference, folder=files.inputs)
    )


def _split_data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat, *, none_held_out: str) -> Data:
    """Trains on the split's train prompts, measures on its validation and test prompts."""
    snapshot = _snapshot(run, heartbeat)
    data = {"--data": _train_rows(snapshot)}
    held_out = files.inputs / "held_out.jsonl"
    _concatenate([snapshots.data_file(snapshot, split) for split in (Split.VALIDATION, Split.TEST)], held_out)
    if held_out.stat().st_size:
        return Data(files=data | {"--eval": held_out})
    return Data(files=data, notes=(none_held_out,))


def _ppo_data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> Data:
    judging = run.run_inputs.filter(role__in=[Role.REWARD, Role.ENSEMBLE]).select_related("version")
    path, notes = files.inputs / "prompts.jsonl", files.inputs / "notes.txt"
    watched = files.inputs / "held_out.jsonl"
    if not path.exists():
        batch_size = parse(PPOConfig, run.config).batch_size
        prompts.write(prompts.for_evaluation(run.project), watched)
        chosen = prompts.for_ppo(run.project, rewards=[item.version for item in judging], enough=batch_size)
        notes.write_text("\n".join(chosen.notes), encoding="utf-8")
        prompts.write(chosen.rows, path)
    said = tuple(filter(None, notes.read_text(encoding="utf-8").split("\n")))
    # Too few prompts were new to the reward model, so that those it knows were chosen on purpose.
    held_out = {"--eval": watched} if watched.exists() and watched.stat().st_size else {}
    return Data(
        files={"--data": path} | held_out, notes=said, settings={"reward_train_overlap": "keep"} if said else {}
    )


def _sample_data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> Data:
    path = files.inputs / "prompts.jsonl"
    if not path.exists():
        prompts.write(sampling.prompts_of(run), path)
    return Data(files={"--data": path})


def _evaluate_data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> Data:
    path = files.inputs / "prompts.jsonl"
    if not path.exists():
        prompts.write(prompts.held_out(run.project), path)
    return Data(files={"--data": path})


def _score_data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> Data:
    path = files.inputs / "tasks.jsonl"
    if not path.exists():
        prompts.write(active_learning.rows_of(run), path)
    return Data(files={"--data": path})


def _snapshot(run: TrainingRun, heartbeat: Heartbeat) -> Snapshot:
    """The run's snapshot, made now where no other job has made it yet. Raises Refused when it can't be had whole."""
    snapshot = run.snapshot
    if snapshot is None:
        raise Refused(_("A %(stage)s run needs a snapshot to train on.") % {"stage": run.get_stage_display()})
    if snapshot.state != Snapshot.State.READY:
        snapshot = snapshots.build(snapshot.pk, lambda _: heartbeat())
    if snapshot.state != Snapshot.State.READY:
        raise Refused(_("Its snapshot could not be made: %(error)s") % {"error": snapshot.error})
    problems = snapshots.verify(snapshot)
    if problems:
        raise Refused(
            _("%(snapshot)s is damaged: %(problems)s") % {"snapshot": snapshot, "problems": " ".join(problems)}
        )
    return snapshot


def _train_rows(snapshot: Snapshot) -> Path:
    path = snapshots.data_file(snapshot, Split.TRAIN)
    if not path.is_file() or not path.stat().st_size:
        raise Refused(
            _("%(snapshot)s has no %(kind)s of train prompts to learn from.")
            % {"snapshot": snapshot, "kind": snapshot.kind}
        )
    return path


def _concatenate(sources: Iterable[Path], target: Path) -> None:
    with target.open("wb") as joined:
        for source in sources:
            if source.is_file():
                with source.open("rb") as file:
                    shutil.copyfileobj(file, joined)


MODEL_FLAGS = {
    Role.MODEL: "--model",
    Role.REFERENCE: "--reference",
    Role.REWARD: "--reward",
    Role.AGAINST: "--against",
    Role.PREVIOUS: "--previous",
}
FILE_STAGES: dict[str, str] = {
    Stage.SAMPLE: "responses.jsonl",
    Stage.EVALUATE: "report.json",
    Stage.SCORE: "scores.jsonl",
}
"""Stages that write one file, whole or not at all, in place of a run folder."""
DATA: dict[str, Callable[[TrainingRun, RunFiles, Heartbeat], Data]] = {
    Stage.SFT: _sft_data,
    Stage.REWARD: _reward_data,
    Stage.PPO: _ppo_data,
    Stage.SAMPLE: _sample_data,
    Stage.EVALUATE: _evaluate_data,
    Stage.SCORE: _score_data,
}
ACTIVITIES: dict[str, str] = {
    Stage.SFT: gettext_noop("learning from demonstrations"),
    Stage.REWARD: gettext_noop("learning from judgments"),
    Stage.PPO: gettext_noop("learning from the reward model"),
    Stage.SAMPLE: gettext_noop("writing answers"),
    Stage.EVALUATE: gettext_noop("measuring"),
    Stage.SCORE: gettext_noop("asking the reward model’s heads"),
}
