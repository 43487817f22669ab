"""Commands that are measured in a process of their own, as their user starts them."""

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any


def finished(command: Sequence[str]) -> tuple[dict[str, Any], int]:
    """The JSON of a command's last line, and the most memory it held, in KiB. A failure ends the benchmark.

    What goes wrong, the command says itself on standard error.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    # The usage of this one child: `resource` knows only the largest of all.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command[:4])} ended with {process.returncode}.")
    return json.loads(output.strip().split("\n")[-1]), usage.ru_maxrss
