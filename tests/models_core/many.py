"""What each of several processes does in test_distributed.py: short runs of every recipe that many processes can share.

torchrun --nproc-per-node 2 -m tests.models_core.many FOLDER     with FOLDER/runs.json: [[name, stage, settings, given]]
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs import processes
from models_core.contract.runs.stopping import StopSignal
from models_core.modeling import loading
from models_core.training import distributed, fsdp
from models_core.training.optimizer import MasterAdamW
from tests.models_core import recipe_runs


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
    refused = given.pop("refused", "")
    try:
        recipe_runs.run(stage, out, values, stop=stop, **given)
    except Stopped:
        assert looks, "only a run that was told to may stop"
    except BadInput as error:
        if str(error) != refused:
            raise
        (folder / f"{name}-{processes.rank()}.refused").write_text(str(error), encoding="utf-8")


class Mixed(torch.nn.Module):
    """Weights in both precisions; two processes use some of them, one uses one, and nobody uses the last."""

    def __init__(self) -> None:
        super().__init__()
        self.rounded = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.bfloat16))
        self.exact = torch.nn.Parameter(torch.zeros(3))
        self.second_alone = torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
        self.second_alone_exact = torch.nn.Parameter(torch.zeros(2))
        self.idle = torch.nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
        self.idle_exact = torch.nn.Parameter(torch.zeros(1))


def sum_gradients(folder: Path) -> None:
    """Two steps of three parts each. bf16 has no number between 256 and 258."""
    model = Mixed()
    optimizer = MasterAdamW(dict(model.named_parameters()), lr=0.0)
    found = []
    for step in range(2):
        for part in range(3):
            loss = model.rounded.float().sum() * (1 if part else 256) + model.exact.sum() * (part + 1)
            if processes.rank() == 1 and part == step:
                loss = loss + model.second_alone.float().sum() + 3 * model.second_alone_exact.sum()
            optimizer.backward(loss, is_last=part == 2)
        optimizer.reduce()
        masters = {name: master.grad for name, master in optimizer.masters.items()}
        found.append({name: None if value is None else value.tolist() for name, value in masters.items()})
        optimizer.clear()
    (folder / f"sums-{processes.rank()}.json").write_text(json.dumps(found), encoding="utf-8")


def save_split(folder: Path) -> None:
    """A model is loaded and split, and everything that would be saved of it is put together."""
    network: Any = loading.load_policy(folder / "model", device="cpu", dtype=torch.float32)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    fsdp.shard(network, device=torch.device("cpu"))
    optimizer = MasterAdamW(dict(network.named_parameters()), lr=0.0)
    kept = optimizer.state_dict()
    found: dict[str, Any] = {
        "split": sorted(name for name, weight in network.named_parameters() if fsdp.is_sharded(weight)),
        "masters": {name: value.numel() for name, value in kept.items() if name.endswith(".master")},
        "same": all(torch.equal(kept[f"{name}.master"], value) for name, value in before.items())
        if processes.is_main()
        else None,
    }
    fsdp.unshard(network, for_saving=True)
    after = dict(network.named_parameters())
    found["whole"] = {name: torch.equal(after[name], value) for name, value in before.items()}
    found["sizes"] = {name: weight.numel() for name, weight in after.items()}
    (folder / f"saved-{processes.rank()}.json").write_text(json.dumps(found), encoding="utf-8")


def main() -> None:
    folder = Path(sys.argv[1])
    for each in json.loads((folder / "runs.json").read_text(encoding="utf-8")):
        run(folder, *each)
    sum_gradients(folder)
    save_split(folder)
    distributed.leave()


if __name__ == "__main__":
    main()
