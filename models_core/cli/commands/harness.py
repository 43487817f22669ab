"""`harness`: lm-evaluation-harness on a language model."""

import argparse
from pathlib import Path
from typing import Any

from models_core.cli import flags, inputs
from models_core.commands import input_files
from models_core.contract.errors import BadInput
from models_core.contract.runs.stopping import StopSignal

HELP = "run tasks of lm-evaluation-harness (package lm_eval) on a language model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add_model(parser)
    parser.add_argument("--tasks", action=flags.SingleUse, required=True, metavar="NAME,NAME", help="tasks or groups")
    parser.add_argument(
        "--include", action=flags.SingleUse, type=Path, metavar="FOLDER", help="folder with more tasks (YAML)"
    )
    parser.add_argument(
        "--limit", action=flags.SingleUse, type=flags.whole_number(1, 10_000_000), help="documents of each task"
    )
    parser.add_argument(
        "--shots", action=flags.SingleUse, type=flags.whole_number(0, 1_000), help="examples in each prompt"
    )
    parser.add_argument("--chat-format", action="store_true", help="write prompts by the model's chat template")
    parser.add_argument(
        "--batch-size", action=flags.SingleUse, default=32, type=flags.whole_number(1, 4_096), help="responses at once"
    )
    parser.add_argument(
        "--budget",
        action=flags.SingleUse,
        default=8_192,
        type=flags.whole_number(64, 1_000_000),
        help="tokens that are scored at once",
    )
    parser.add_argument("--precision", action=flags.SingleUse, choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--seed", action=flags.SingleUse, default=0, type=flags.whole_number(0, 2**31 - 1))
    parser.add_argument("--out", action=flags.SingleUse, required=True, type=Path, help="output: report (.json)")
    flags.add_device(parser, once=True)


def run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    tasks = [name.strip() for name in arguments.tasks.split(",") if name.strip()]
    if not tasks:
        raise BadInput("--tasks names no task.")
    if arguments.include is not None and not arguments.include.is_dir():
        raise BadInput(f"There is no folder {arguments.include} (--include).")
    input_files.check(arguments, trains=False)
    from models_core.commands.evaluate import language_model_harness

    return language_model_harness.run(
        model=arguments.model,
        tasks=tasks,
        out=arguments.out,
        include=arguments.include,
        limit=arguments.limit,
        shots=arguments.shots,
        chat_format=arguments.chat_format,
        budget=arguments.budget,
        batch_size=arguments.batch_size,
        precision_name=arguments.precision,
        seed=arguments.seed,
        device=inputs.select_device(arguments.device),
        stop=stop,
    )
