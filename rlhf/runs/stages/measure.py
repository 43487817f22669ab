"""A few steps of another stage's run, measured: seconds a step and peak memory (models_core.cli.commands.measure).

The run's options say which: {"stage", "config"} and, as of a run of that stage, "corpus" and "ptx".
"""

import copy
import shutil
from typing import Any

from django.utils.translation import gettext_noop

from rlhf.models import Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles, document
from rlhf.runs.runs import Lease
from rlhf.runs.stages import distil, dpo, ppo, pretrain, reward, sft
from rlhf.runs.stages.spec import Heartbeat, Role, StageData, StageInput, StageSpec, none

SECONDS = 30
"""The most that the steps after the first may take together."""
SPECS: dict[str, StageSpec] = {
    spec.stage: spec for spec in (pretrain.SPEC, sft.SPEC, reward.SPEC, ppo.SPEC, dpo.SPEC, distil.SPEC)
}
"""The stages whose steps are measured."""
ROLES = (Role.MODEL, Role.REFERENCE, Role.REWARD, Role.TEACHER)


def command(run: TrainingRun) -> list[str]:
    return ["measure", "--seconds", str(SECONDS), run.options["stage"]]


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    """The files that the measured run would have, of which the command takes samples."""
    measured = copy.copy(run)
    measured.stage, measured.config = run.options["stage"], run.options["config"]
    found = SPECS[measured.stage].data(measured, files, heartbeat)
    return StageData(files=found.files, settings={**measured.config, **found.settings})


def collect(run: TrainingRun, lease: Lease, files: RunFiles) -> dict[str, Any]:
    result = document(SPEC.output_path(files))
    shutil.rmtree(files.inputs, ignore_errors=True)  # of no use to anybody any more
    return result


SPEC = StageSpec(
    stage=Stage.MEASURE,
    activity=gettext_noop("measuring a few steps"),
    inputs=tuple(StageInput(role=role, default=none, is_required=False, is_on_pages=False) for role in ROLES),
    data=data,
    command=command,
    output="measured.json",
    collect=collect,
)
