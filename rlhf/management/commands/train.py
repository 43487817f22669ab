"""manage.py train PROJECT STAGE: queue a run for the workers, and with --wait stand by until it ends."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.management.arguments import refuse_repeated_flags
from annotate.models import Project, Snapshot
from models_core.contract.errors import BadInput
from models_core.contract.settings import presets
from rlhf.loop import versions
from rlhf.loop.prompts import PromptOrder
from rlhf.loop.sampling import DEFAULT_PROMPTS
from rlhf.management import arguments
from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import launch, waiting
from rlhf.runs.runs import Origin
from rlhf.runs.stages import pretrain
from rlhf.runs.stages.registry import LAUNCHABLE

OPTIONS = ("corpus", "ptx", "prompts", "samples", "order")
PRIORITIES = {priority.name.lower(): priority.value for priority in TrainingRun.Priority}


class Command(BaseCommand):
    help = "Train a model on a project's data, or evaluate one. The last line is one JSON object."

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("stage", choices=[str(stage) for stage in LAUNCHABLE])
        parser.add_argument("--model", help="initial model (policy-3, or a catalogue name, folder or Hub id)")
        parser.add_argument("--reference", help="for ppo and dpo: the reference model of the KL penalty")
        parser.add_argument(
            "--reward",
            help="for ppo, evaluate and sample: the reward model (reward-2), or several, separated by commas",
        )
        parser.add_argument("--teacher", help="for distil: the model that --model, the student, learns from")
        parser.add_argument("--against", help="for evaluate: the opponent")
        parser.add_argument(
            "--seeds", type=int, default=1, help="for reward: number of models that differ in their seed alone"
        )
        parser.add_argument("--snapshot", type=int, help="id of the snapshot to train on; a new one by default")
        parser.add_argument(
            "--aggregation",
            choices=Snapshot.Aggregation.values,
            default="",
            help="for reward and dpo: each judgment as it is (raw, the default), weighted by its labeler's reliability "
            "(weighted), or one consensus per task (consensus)",
        )
        parser.add_argument(
            "--corpus",
            default="",
            metavar="FILE",
            help=f"for pretrain: a .txt or .jsonl file in HONE_DATA/{pretrain.FOLDER}; by default the project's train "
            "prompts and demonstrations",
        )
        parser.add_argument(
            "--ptx",
            default="",
            metavar="FILE",
            help=f"for ppo: text for PPO-ptx, a file in HONE_DATA/{pretrain.FOLDER}, or {pretrain.PROJECT_TEXTS} for "
            "the project's train prompts and demonstrations",
        )
        parser.add_argument("--prompts", type=int, help=f"for sample: number of prompts ({DEFAULT_PROMPTS})")
        parser.add_argument("--samples", type=int, help="for sample: responses per prompt; the project's K by default")
        parser.add_argument("--order", choices=PromptOrder.values, default="", help="for sample: which prompts")
        start_with = parser.add_mutually_exclusive_group()
        start_with.add_argument(
            "--preset", choices=[*presets.PRESETS], default="", help="settings to begin with; --set changes them"
        )
        start_with.add_argument(
            "--clone", type=int, metavar="RUN", help="a run of the project to begin with; other arguments change it"
        )
        parser.add_argument(
            "--priority",
            choices=[*PRIORITIES],
            default="normal",
            help="runs with a higher priority start first (default: normal)",
        )
        parser.add_argument(
            "--measure",
            action="store_true",
            help="measure a few steps of the run in place of it: seconds a step and peak memory",
        )
        parser.add_argument("--wait", action="store_true", help="wait for the end of the run")
        arguments.add_settings(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        project = arguments.project(options["project"])
        source = self.source(project, options)
        given: dict[str, Any] = {
            "project": project,
            "by": None,
            "config": self.first_settings(source, options) | arguments.settings(options),
            "snapshot": self.snapshot(project, options["snapshot"]) or (source.snapshot if source else None),
            "aggregation": options["aggregation"],
            "measures": options["measure"],
            "origin": Origin(preset=options["preset"], cloned_from=source, priority=PRIORITIES[options["priority"]]),
        }
        texts = {name: options[name] or (source.options.get(name, "") if source else "") for name in OPTIONS}
        roles = [role for role in ("model", "reference", "teacher", "against") if options[role]]
        try:
            inputs: dict[str, ModelVersion] = {role: arguments.version(project, options[role]) for role in roles}
            names = options["reward"].split(",") if options["reward"] else []
            rewards = [versions.find(project, name) for name in names]
            if rewards:
                inputs[RunInput.Role.REWARD] = rewards.pop(0)
            if source is not None:
                cloned = list(source.run_inputs.select_related("version"))
                if not names:
                    rewards = [item.version for item in cloned if item.role == RunInput.Role.ENSEMBLE]
                single = {item.role: item.version for item in cloned if item.role != RunInput.Role.ENSEMBLE}
                inputs = {role: single[role] for role in single if role != RunInput.Role.PREVIOUS} | inputs
            given["inputs"] = inputs
            if options["seeds"] == 1:
                runs = [launch.start(stage=options["stage"], ensemble=rewards, **(given | texts))]
            elif options["stage"] != Stage.REWARD:
                raise CommandError("--seeds is for reward: an ensemble of reward models measures uncertainty.")
            elif given.pop("measures"):
                raise CommandError("--measure measures one run: leave --seeds out.")
            else:
                runs = launch.start_seeds(seeds=options["seeds"], **given)
        except Refused as error:
            raise CommandError(str(error)) from None
        for run in [waiting.after_start(run, wait=options["wait"], write=self.stderr.write) for run in runs]:
            model = str(run.produced) if run.produced else None
            self.stdout.write(json.dumps({"run": run.pk, "status": run.status, "model": model} | run.result))

    @staticmethod
    def source(project: Project, options: dict[str, Any]) -> TrainingRun | None:
        """The run that --clone names."""
        if options["clone"] is None:
            return None
        found = project.training_runs.filter(pk=options["clone"]).first() if options["clone"] < 2**63 else None
        if found is None:
            raise CommandError(f"There is no run {options['clone']} in {project.name}.")
        if found.stage != options["stage"]:
            raise CommandError(f"Run {found.pk} is of the stage {found.stage}, not {options['stage']}.")
        if not launch.can_be_cloned(found):
            raise CommandError(f"Run {found.pk} responds to what somebody asked for, and can't be cloned.")
        return found

    @staticmethod
    def first_settings(source: TrainingRun | None, options: dict[str, Any]) -> dict[str, Any]:
        """The settings of the preset or the cloned run."""
        if source is not None:
            return dict(source.config)
        try:
            return presets.of(options["preset"], options["stage"]) if options["preset"] else {}
        except BadInput as error:
            raise CommandError(str(error)) from None

    @staticmethod
    def snapshot(project: Project, number: int | None) -> Snapshot | None:
        if number is None:
            return None
        found = project.snapshots.filter(pk=number).first()
        if found is None:
            raise CommandError(f"There is no snapshot {number} in {project.name}.")
        return found
