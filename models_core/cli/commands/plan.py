"""`plan`: the memory that a model's trainings need on each GPU, and which settings make them fit."""

import argparse
import dataclasses
from typing import Any

from models_core.cli import flags, inputs
from models_core.contract.errors import BadInput
from models_core.contract.memory_estimate import model_shape, remedies
from models_core.contract.memory_estimate.estimate import COLUMNS, Estimate, estimate, machine_of
from models_core.contract.memory_estimate.model_shape import ModelShape
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import STAGES, Settings, parse

HELP = "estimate the memory of trainings on GPUs, and which settings make them fit"
PLANNED = ("pretrain", "sft", "reward", "dpo", "ppo", "sample")
GB = 10**9
"""A GPU sold with 80 GB has a little more than 80 GiB; what is over is left for the driver and for fragments."""
HEADINGS = ("weights", "masters+moments", "gradients", "activations", "logits", "KV cache")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action=flags.SingleUse,
        required=True,
        metavar="M",
        help="model: a folder, a catalogue name or a config.json; weights are not needed",
    )
    parser.add_argument(
        "--gpus", action=flags.SingleUse, required=True, type=flags.whole_number(1, remedies.MOST_GPUS), metavar="N",
        help="GPUs, one process each",
    )  # fmt: skip
    parser.add_argument(
        "--memory", action=flags.SingleUse, required=True, metavar="GB", help="memory of each GPU in GB, such as 80"
    )
    parser.add_argument("--stage", action=flags.SingleUse, choices=PLANNED, help="one stage; all by default")
    parser.add_argument(
        "--reward", action=flags.SingleUse, metavar="RM",
        help="reward model of ppo, given as --model; the default is one like --model",
    )  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the stages")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of the table")


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    memory = _memory(arguments.memory)
    model = model_shape.read(arguments.model)
    reward = model_shape.read(arguments.reward) if arguments.reward else None
    settings = _settings(arguments)
    stages = [
        _planned(stage, chosen, model=model, reward=reward, gpus=arguments.gpus, memory=memory)
        for stage, chosen in settings.items()
    ]
    return {
        "model": arguments.model,
        "parameters": model.parameters,
        "architecture": dataclasses.asdict(model),
        "gpus": arguments.gpus,
        "memory": memory,
        "stages": stages,
    }


def _memory(text: str) -> int:
    """Bytes of a number of GB. Raises BadInput."""
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0.01 <= size <= 100_000:
        raise BadInput(f"--memory takes the GB of one GPU, a number from 0.01 to 100000, not {text!r}.")
    return round(size * GB)


def _settings(arguments: argparse.Namespace) -> dict[str, Settings]:
    """The settings of each stage: of --set those that the stage has. Raises BadInput for one that none has."""
    values = inputs.set_values(arguments)
    if "processes" in values:
        raise BadInput("The number of processes is given by --gpus: leave out --set processes.")
    stages = [arguments.stage] if arguments.stage else list(PLANNED)
    known = {stage: {field.name for field in dataclasses.fields(STAGES[stage])} for stage in stages}
    if unknown := [name for name in values if not any(name in names for names in known.values())]:
        everything = sorted(set().union(*known.values()))
        raise BadInput(f"There is no setting {unknown[0]!r} here; the settings are {', '.join(everything)}.")
    return {
        stage: parse(STAGES[stage], {name: value for name, value in values.items() if name in known[stage]})
        for stage in stages
    }


def _planned(
    stage: str, settings: Settings, *, model: ModelShape, reward: ModelShape | None, gpus: int, memory: int
) -> dict[str, Any]:
    def of(trial: Settings, number: int) -> Estimate:
        return estimate(stage, trial, model=model, reward=reward, on=machine_of(trial, gpus=number))

    now = of(settings, gpus)
    advice = remedies.advise(settings, gpus=gpus, memory=memory, estimate_of=of)
    return {
        "stage": stage,
        "fits": not advice.tried and advice.changes is not None,
        "total": now.total,
        "periods": [
            {"period": period.name, **{name: getattr(period, name) for name in COLUMNS}, "total": period.total}
            for period in now.periods
        ],
        "changes": advice.changes,
        "tried": advice.tried,
        "total_with_changes": advice.estimate.total,
        "gpus_needed": advice.gpus,
    }


def as_text(result: dict[str, Any]) -> str:
    """The table and a sentence a stage."""
    head = ["stage", "period", *HEADINGS, "total"]
    rows = [
        [stage["stage"], period["period"], *(_gb(period[name]) for name in COLUMNS), _gb(period["total"])]
        for stage in result["stages"]
        for period in stage["periods"]
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *rows]
    ]
    gpus = result["gpus"]
    title = (
        f"{result['parameters']:,} parameters on {gpus} GPU{'s' if gpus > 1 else ''} of {_gb(result['memory'])} GB. "
        "GB on each, at the longest rows and fullest batches that the settings allow:"
    )
    return "\n".join([title, "", *lines, "", *(_sentence(stage, result) for stage in result["stages"])])


def _sentence(stage: dict[str, Any], result: dict[str, Any]) -> str:
    name, memory = stage["stage"], _gb(result["memory"])
    if stage["fits"]:
        return f"{name} fits: {_gb(stage['total'])} of {memory} GB."
    if stage["changes"]:
        return (
            f"{name} does not fit ({_gb(stage['total'])} of {memory} GB); it would take "
            f"{_gb(stage['total_with_changes'])} GB with {_assignments(stage['changes'])}."
        )
    tried = f" with {_assignments(stage['tried'])}" if stage["tried"] else ""
    needed = stage["gpus_needed"]
    more = f"{needed} GPUs of this size would do" if needed else "no number of GPUs of this size does"
    return f"{name} does not fit: it takes {_gb(stage['total_with_changes'])} GB of {memory} even{tried}; {more}."


def _assignments(changes: dict[str, Any]) -> str:
    return ", ".join(f"{name}={str(value).lower() if value is True else value}" for name, value in changes.items())


def _gb(size: int) -> str:
    return f"{size / GB:.2f}" if size < 100 * GB else f"{size / GB:.0f}"
