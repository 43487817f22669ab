"""NVIDIA's management library without a GPU: a module in the place of pynvml."""

import sys
import types
from typing import Any

import pytest


def fake_nvml(monkeypatch: pytest.MonkeyPatch, *, memory: list[int]) -> Any:
    """GPUs with so many bytes of memory, each busier and fuller than the one before it; GPU 1 has the UUID GPU-1."""
    library: Any = types.ModuleType("pynvml")
    library.NVMLError = type("NVMLError", (Exception,), {})

    def by_uuid(name: str) -> int:
        if name not in (known := [f"GPU-{number}" for number in range(len(memory))]):
            raise library.NVMLError("Not Found")
        return known.index(name)

    library.nvmlInit = lambda: None
    library.nvmlDeviceGetCount = lambda: len(memory)
    library.nvmlDeviceGetHandleByIndex = lambda number: number
    library.nvmlDeviceGetHandleByUUID = by_uuid
    library.nvmlDeviceGetIndex = lambda number: number
    library.nvmlDeviceGetName = lambda number: b"NVIDIA H200"
    library.nvmlDeviceGetUtilizationRates = lambda number: types.SimpleNamespace(gpu=10 * number)
    library.nvmlDeviceGetMemoryInfo = lambda number: types.SimpleNamespace(used=number * 2**30, total=memory[number])
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library
