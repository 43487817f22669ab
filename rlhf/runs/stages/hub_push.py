"""Push of a version to a Hub, with its model card as README.md (rlhf.model_registry.exporting)."""

from typing import Any

from django.utils.translation import gettext_noop

from rlhf.models import RunInput, Stage, TrainingRun
from rlhf.reports import model_card
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.runs import Lease
from rlhf.runs.stages.spec import Heartbeat, Role, StageData, StageInput, StageSpec, active_policy


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    path = files.inputs / "card.md"
    version = RunInput.objects.select_related("version__project").get(run=run, role=Role.MODEL).version
    path.write_text(model_card.card_of(version).markdown(), encoding="utf-8")
    return StageData(files={"--card": path})


def flags(run: TrainingRun) -> list[str]:
    given = ["--repository", run.options["repository"], "--token-variable", run.options["token_variable"]]
    given += ["--private"] if run.options["private"] else []
    return [*given, "--adapter-of", base] if (base := run.options.get("adapter_of")) else given


def collect(run: TrainingRun, lease: Lease, files: RunFiles) -> dict[str, Any]:
    return files.summary()


SPEC = StageSpec(
    stage=Stage.PUSH,
    activity=gettext_noop("pushing to the Hub"),
    inputs=(StageInput(role=Role.MODEL, default=active_policy),),
    data=data,
    flags=flags,
    output="pushed.json",
    collect=collect,
)
