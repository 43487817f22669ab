"""`python -m models_core measure`, left after one step, with the memory of the run alone.

    python -m benchmarks.step_memory measure STAGE ... --out FILE

It says what the process holds of its own and of mapped weights when the step ends, in place of the most that the kernel
saw. Pages of libraries are left out: how many are mapped depends on what the page cache holds, and between two runs of
the same command it differs by 200 MB. Freed memory isn't given back while a run lasts, so its end is its peak.
"""

import re
import sys
from pathlib import Path

from models_core.__main__ import main
from models_core.cli.commands import measure
from models_core.training import step_meter

MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")


def own_memory(process: Path = Path("/proc/self")) -> int:
    """Bytes of this process's own pages, and of the pages of weights that it has mapped from files."""
    anonymous = _kilobytes((process / "status").read_text(encoding="ascii"), "RssAnon")
    mapped, is_weights = 0, False
    for line in (process / "smaps").read_text(encoding="utf-8", errors="replace").split("\n"):
        if MAPPING.match(line):
            is_weights = line.endswith(".safetensors")
        elif is_weights and line.startswith("Rss:"):
            mapped += _kilobytes(line, "Rss")
        elif is_weights and line.startswith("Anonymous:"):
            mapped -= _kilobytes(line, "Anonymous")  # written to since: among the process's own already
    return (anonymous + mapped) * 1024


def _kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None, name
    return int(found[1])


class OneStep(step_meter.StepMeter):
    """Notes the memory as a step ends, while its models are still there."""

    def step_ended(self) -> None:
        held = own_memory()
        step_meter.peak_memory = lambda: held
        super().step_ended()


if __name__ == "__main__":
    measure.MEASURED_STEPS = 1
    step_meter.StepMeter = OneStep  # type: ignore[misc]
    sys.exit(main(sys.argv[1:]))
