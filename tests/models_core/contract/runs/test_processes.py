"""How one of a run's processes ends."""

import os
import subprocess
import sys

import pytest

from models_core.contract.runs.processes import LAUNCHED_VARIABLES

ENDING = """
import atexit, sys
from models_core.contract.runs import processes

class Loud:
    def __del__(self):
        raise ConnectionError("the other end is gone")

loud = Loud()
atexit.register(print, "registered", file=sys.stderr)
print("Stopped after step 1.", file=sys.stderr)
print("result")
processes.leave(3)
"""


@pytest.mark.parametrize("launched", [True, False])
def test_one_of_many_processes_says_nothing_after_what_is_registered_for_its_end(launched: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHED_VARIABLES}
    if launched:
        environment |= dict.fromkeys(LAUNCHED_VARIABLES, "1")
    done = subprocess.run([sys.executable, "-c", ENDING], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "result\n")
    said = done.stderr.splitlines()
    assert said[:2] == ["Stopped after step 1.", "registered"]
    assert (said[2:] == []) is launched
