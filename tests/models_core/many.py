"""What each of several processes does in test_distributed.py: short runs of every recipe that many processes can share.

torchrun --nproc-per-node 2 -m tests.models_core.many FOLDER     with FOLDER/runs.json: [[name, stage, settings, given]]
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from models_core import distributed
from models_core.stopping import Stopped, StopSignal
from tests.models_core import recipes


class StopAt(StopSignal):
    """Told to stop by a signal that only process 1 sees, the n-th time it looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def requested(self) -> bool:  # type: ignore[override]
        import os

        self.looks -= 1
        return self.looks == 0 and os.environ.get("RANK", "1") == "1"

    @requested.setter
    def requested(self, value: bool) -> None:
        pass


def run(folder: Path, name: str, stage: str, values: dict[str, Any], given: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    given = dict(given)
    out = folder / given.pop("out", name)
    looks = given.pop("stop_after", 0)
    stop = StopAt(looks) if looks else StopSignal()
    try:
        recipes.run(stage, out, values, stop=stop, **given)
    except Stopped:
        assert looks, "only a run that was told to may stop"


def main() -> None:
    folder = Path(sys.argv[1])
    for each in json.loads((folder / "runs.json").read_text(encoding="utf-8")):
        run(folder, *each)
    distributed.leave()


if __name__ == "__main__":
    main()
