"""What the makers of cards say of them: flops of dense bf16 products, and bytes a second of the memory."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from models_core.contract.errors import BadInput

PEAKS = (
    ("B200", 2250e12, 8.0e12),
    ("H200 NVL", 836e12, 4.8e12),
    ("H200", 989e12, 4.8e12),
    ("GH200", 989e12, 4.0e12),
    ("H100 PCIE", 756e12, 2.0e12),
    ("H100 NVL", 835e12, 3.9e12),
    ("H100", 989e12, 3.35e12),
    ("A100-SXM4-80GB", 312e12, 2.039e12),
    ("A100 80GB PCIE", 312e12, 1.935e12),
    ("A100", 312e12, 1.555e12),
    ("L40S", 362e12, 864e9),
    ("L4", 121e12, 300e9),
    ("A10", 125e12, 600e9),
    ("RTX 4090", 165e12, 1008e9),
)
"""(part of the name, flops, bytes/s); the first that fits."""
COPIED_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the parts compute on. Peaks are None where the card is unknown."""

    device: str
    name: str
    count: int
    memory: int
    torch: str
    peak_flops: float | None
    bandwidth: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def peaks(name: str) -> tuple[float, float] | None:
    """(flops, bytes/s) of a card by its name, or None for an unknown one."""
    words = name.upper().split()
    for wanted, flops, bandwidth in PEAKS:
        if f" {wanted} " in f" {' '.join(words)} " or any(word.startswith(f"{wanted}-") for word in words):
            return flops, bandwidth
    return None


def look(device: str) -> Card:
    """The card that "auto", "cpu" or "cuda" means. Raises BadInput where there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: this machine has no GPU that torch can use.")
    common: dict[str, Any] = {"torch": torch.__version__}
    if device == "cpu" or not torch.cuda.is_available():
        return Card(device="cpu", name="cpu", count=0, memory=0, peak_flops=None, bandwidth=None, **common)
    name = torch.cuda.get_device_name()
    known = peaks(name) or (None, None)
    memory = torch.cuda.get_device_properties(0).total_memory
    return Card(
        device="cuda",
        name=name,
        count=torch.cuda.device_count(),
        memory=memory,
        peak_flops=known[0],
        bandwidth=known[1],
        **common,
    )
