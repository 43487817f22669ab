"""The last lines of a command: a sentence about skipped responses, and its result as one JSON object, or a table."""

import argparse
import json
from typing import Any

from models_core.cli import inputs
from models_core.cli.commands import plan
from models_core.contract.runs import processes
from models_core.contract.runs.run_folder import finite


def write(result: dict[str, Any], arguments: argparse.Namespace, *, seconds: float) -> None:
    """Write the last lines, from the main process. `seconds` is used where the result has no figure of its own."""
    if sentence := _skipped_responses(result, arguments):
        processes.log_main(sentence)
    if arguments.command == "plan" and not arguments.json:
        print(plan.as_text(result), flush=True)
    elif processes.is_main():
        print(json.dumps(finite({"seconds": seconds} | result)), flush=True)


def _skipped_responses(result: dict[str, Any], arguments: argparse.Namespace) -> str:
    """A sentence on responses skipped for their length; empty where there are none."""
    tallies = [result.get(name) or {} for name in ("left_out", "held_out_left_out")]
    count = sum(tally.get("too_long_responses", {}).get("count", 0) for tally in tallies)
    count += result.get("too_long_responses") or 0
    if not count:
        return ""
    max_length = getattr(inputs.parse_settings(arguments), "max_length", 0)
    return (
        f"{count} responses were left out: with their prompts they are longer than max_length ({max_length} tokens), "
        "or than the model can hold. A larger max_length takes more of them: --set max_length=N."
    )
