"""The NVIDIA GPUs that a worker may use: their memory and utilisation, by NVIDIA's management library (NVML).

CUDA_VISIBLE_DEVICES says which, by numbers or by UUIDs. NVML numbers GPUs by their place on the bus, as CUDA does where
CUDA_DEVICE_ORDER is PCI_BUS_ID; the workers that Hone starts have it so.
"""

import functools
import logging
import os
from typing import Any, TypedDict

log = logging.getLogger(__name__)

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
BY_BUS = "PCI_BUS_ID"


class GPUReading(TypedDict):
    """A GPU by its number: name, bytes of memory and how many are in use, percent of the time that it computes."""

    number: int
    name: str
    memory: int
    used: int
    utilisation: int


class GPUDevices:
    """The GPUs of this process; none where the library's Python package or a driver is missing."""

    def __init__(self) -> None:
        self._handles: list[tuple[int, Any]] = []
        try:
            import pynvml

            pynvml.nvmlInit()
            self._library = pynvml
            self._handles = [(pynvml.nvmlDeviceGetIndex(handle), handle) for handle in _visible(pynvml)]
        except ImportError:
            return
        except Exception as error:  # the library is there, a driver is not
            log.info("GPUs are not sampled: %s", error)

    def readings(self) -> list[GPUReading]:
        """A GPU that doesn't tell is left out."""
        found: list[GPUReading] = []
        for number, handle in self._handles:
            try:
                memory = self._library.nvmlDeviceGetMemoryInfo(handle)
                found.append(
                    GPUReading(
                        number=number,
                        name=_text(self._library.nvmlDeviceGetName(handle)),
                        memory=memory.total,
                        used=memory.used,
                        utilisation=self._library.nvmlDeviceGetUtilizationRates(handle).gpu,
                    )
                )
            except self._library.NVMLError:
                continue
        return found


def of_this_process() -> GPUDevices:
    """Kept in the process: a fork of it has to begin anew with the library."""
    return _of(os.getpid())


@functools.cache
def _of(process_id: int) -> GPUDevices:
    return GPUDevices()


def names() -> list[str]:
    """The GPUs of this worker as CUDA_VISIBLE_DEVICES names them: all that NVML knows where it is not set."""
    if (visible := os.environ.get(VISIBLE)) is not None:
        return _words(visible)
    return [str(reading["number"]) for reading in of_this_process().readings()]


def for_processes(processes: int) -> dict[str, str]:
    """The variables that leave a run's child one of this worker's GPUs for each process; {} where none is known."""
    chosen = names()[:processes]
    return {VISIBLE: ",".join(chosen), ORDER: os.environ.get(ORDER, BY_BUS)} if chosen else {}


def _visible(library: Any) -> list[Any]:
    """Handles of the GPUs that CUDA_VISIBLE_DEVICES leaves to this process, in its order; all where it isn't set."""
    if (visible := os.environ.get(VISIBLE)) is None:
        return [library.nvmlDeviceGetHandleByIndex(number) for number in range(library.nvmlDeviceGetCount())]
    return [
        library.nvmlDeviceGetHandleByIndex(int(word)) if word.isdecimal() else library.nvmlDeviceGetHandleByUUID(word)
        for word in _words(visible)
    ]


def _words(visible: str) -> list[str]:
    """As CUDA reads the variable: -1 and what follows it is no GPU."""
    words: list[str] = []
    for word in filter(None, (word.strip() for word in visible.split(","))):
        if word.startswith("-"):
            break
        words.append(word)
    return words


def _text(name: str | bytes) -> str:
    return (name.decode("utf-8", "replace") if isinstance(name, bytes) else name)[:100]
