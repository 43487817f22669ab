"""The command line: `python -m models_core COMMAND ...`.

Exit status: 0 done, 2 bad input (the last line on standard error says what and where), 3 stopped with a checkpoint,
1 anything else. The last line on standard output is one JSON object with the result (of `plan` with --json). torch is
loaded by the command that needs it, so that `--help` and errors of flags come at once.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from models_core.cli import failures, inputs, summary, torchrun
from models_core.cli.parser import COMMANDS, build_parser
from models_core.contract.runs import processes
from models_core.contract.runs.stopping import StopSignal, follow_parent
from models_core.contract.settings import TrainingSettings, settings_of


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = build_parser().parse_args(argv)
    # Before torch is loaded, which takes seconds: the parent may die, or ask to stop, meanwhile.
    # One of several processes dies at once: another worker may already have resumed the run.
    follow_parent(at_once=processes.is_launched())
    stop = StopSignal().listen()
    start = time.perf_counter()
    try:
        if (number := _number_of_processes(arguments)) > 1:
            return _launch(sys.argv[1:] if argv is None else argv, number=number)
        result = COMMANDS[arguments.command].run(arguments, stop)
        _leave_process_group()
        summary.write(result, arguments, seconds=time.perf_counter() - start)
    except Exception as error:
        return processes.report(failures.report(error))
    return processes.report(failures.DONE)


def _number_of_processes(arguments: argparse.Namespace) -> int:
    """How many processes to start, where this is not yet one of them. Raises BadInput."""
    trains = issubclass(settings_of(arguments.command), TrainingSettings)
    if not trains or processes.is_launched():
        return 1
    number: int = inputs.parse_settings(arguments).processes
    return number


def _launch(argv: Sequence[str], *, number: int) -> int:
    status = torchrun.launch(argv, number=number)
    return failures.write_sentence(failures.PROCESS_DIED, processes.DIED) if status is None else status


def _leave_process_group() -> None:
    if processes.count() > 1:
        from models_core.training import distributed

        distributed.leave()


if __name__ == "__main__":
    processes.leave(main())
