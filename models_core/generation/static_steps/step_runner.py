"""Who computes a step: a function without arguments that reads and writes tensors that stay where they are."""

from collections.abc import Callable, Hashable
from typing import Protocol

import torch

from models_core.contract.runs import processes

Step = Callable[[], None]
Capture = Callable[[Step], Step]
"""Records what a step would compute, without computing it; returns what computes it."""


class StepRunner(Protocol):
    def __call__(self, key: Hashable, step: Step) -> None:
        """Compute the step. Steps of one key are the same computation over the same tensors."""


def eagerly(key: Hashable, step: Step) -> None:
    """A `StepRunner` that calls the function."""
    step()


class CapturedSteps:
    """A `StepRunner` that computes each key's first step eagerly, records its second and replays that from then on.

    The first is needed: a capture must not be what loads kernels or makes the workspaces of libraries.
    """

    def __init__(self, capture: Capture) -> None:
        self.capture: Capture | None = capture
        self.known: set[Hashable] = set()
        self.recorded: dict[Hashable, Step] = {}

    @property
    def has_graphs(self) -> bool:
        return self.capture is not None and bool(self.recorded)

    def __call__(self, key: Hashable, step: Step) -> None:
        if self.capture is None or key not in self.known:
            self.known.add(key)
            step()
            return
        if key not in self.recorded:
            try:
                self.recorded[key] = self.capture(step)
            except RuntimeError as error:
                self.capture = None
                reason = str(error).strip().partition("\n")[0]
                processes.log_main(f"Decoding goes on without CUDA graphs, which takes longer: {reason}")
                step()
                return
        self.recorded[key]()


def cuda_graphs() -> Capture:
    """Capture by `torch.cuda.CUDAGraph`. What its graphs compute in between has one pool of memory: they write what
    lasts to tensors from outside, and no two of them run at once."""
    pool = torch.cuda.graph_pool_handle()

    def capture(step: Step) -> Step:
        graph = torch.cuda.CUDAGraph()
        # thread_local: other threads (NCCL's watchdog, a chat) may call CUDA while this one records.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            step()
        return graph.replay

    return capture


def for_device(device: torch.device) -> StepRunner | None:
    """How steps of fixed shapes are computed on a device; None where they would gain nothing."""
    return CapturedSteps(cuda_graphs()) if device.type == "cuda" else None
