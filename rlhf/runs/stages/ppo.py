"""PPO: a policy trained against a reward model."""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from models_core.contract.settings import PPOConfig, parse
from rlhf.loop import prompts
from rlhf.models import ModelVersion, Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages import pretrain
from rlhf.runs.stages.spec import (
    Heartbeat,
    Role,
    StageData,
    StageInput,
    StageSpec,
    active_policy,
    reference_of_policy,
    reward_model,
)


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    """Train prompts that are new to the reward models if there are enough; validation prompts; text of PPO-ptx."""
    rewards = run.run_inputs.filter(role__in=[Role.REWARD, Role.ENSEMBLE]).select_related("version")
    path, notes = files.inputs / "prompts.jsonl", files.inputs / "notes.json"
    held_out = files.inputs / "held_out.jsonl"
    if not path.exists():
        batch_size = parse(PPOConfig, run.config).batch_size
        prompts.write(prompts.for_evaluation(run.project), held_out)
        chosen = prompts.for_ppo(run.project, rewards=[item.version for item in rewards], enough=batch_size)
        notes.write_text(json.dumps([note.as_json() for note in chosen.notes]), encoding="utf-8")
        prompts.write(chosen.rows, path)
    stored = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else []
    evaluation = {"--eval": held_out} if held_out.exists() and held_out.stat().st_size else {}
    text = {"--ptx": pretrain.text_file(run, files, name=name)} if (name := run.options.get("ptx")) else {}
    return StageData(
        files={"--data": path} | evaluation | text,
        notes=tuple(StoredMessage.parsed(note) for note in stored),
        # With the note, prompts that the reward model was trained on are kept on purpose.
        settings=({"reward_train_overlap": "keep"} if stored else {}) | rollout_server(run, files),
    )


def rollout_server(run: TrainingRun, files: RunFiles) -> dict[str, str]:
    """The operator's server for rollouts, and the run's folder as it sees it; empty, whatever a run says, without one.

    A worker reaches servers that people who start runs must not reach.
    """
    if not settings.HONE_ROLLOUT_SERVER:
        return {name: "" for name in ("rollout_server", "rollout_server_folder") if run.config.get(name)}
    folder = settings.HONE_ROLLOUT_SERVER_FOLDER
    seen_as = str(PurePosixPath(folder) / files.run.relative_to(settings.HONE_DATA)) if folder else ""
    return {"rollout_server": settings.HONE_ROLLOUT_SERVER, "rollout_server_folder": seen_as}


def refuse_servers(config: Mapping[str, Any]) -> None:
    """Raise Refused where a run names the rollout server itself, or needs one that the operator has not named."""
    if config.get("rollout_server") or config.get("rollout_server_folder"):
        raise Refused(_("The operator names the server for rollouts, by HONE_ROLLOUT_SERVER; a run can't."), status=400)
    if int(config.get("rollouts_ahead") or 0) and not settings.HONE_ROLLOUT_SERVER:
        raise Refused(
            _("Rollouts ahead of training need a server that samples them: HONE_ROLLOUT_SERVER names none."), status=400
        )


SPEC = StageSpec(
    stage=Stage.PPO,
    title=gettext_lazy("Train policy (PPO)"),
    activity=gettext_noop("training against the reward model"),
    inputs=(
        StageInput(role=Role.MODEL, default=active_policy),
        StageInput(role=Role.REFERENCE, default=reference_of_policy),
        StageInput(role=Role.REWARD, default=reward_model),
    ),
    data=data,
    kind=ModelVersion.Kind.POLICY,
)
