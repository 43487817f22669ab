"""Models of a run on one GPU: how many bytes their weights, masters, moments and gradients take there."""

import math
from dataclasses import dataclass, field

from models_core.contract.memory_estimate.model_shape import ModelShape
from models_core.contract.settings import TrainingSettings

MASTER_BYTES, MOMENT_BYTES, GRADIENT_BYTES = 4, 8, 4
FOUR_BIT_BYTES = 4.127 / 8
"""NF4 with double quantisation (Dettmers et al. 2023): 4 bits, and 0.127 for the scales of blocks of 64 numbers."""
CHANGES_BASE = ("full", "last_n")
"""Methods that change the base weights; all others leave them alone."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a run computes: on GPUs, or on a processor, whose other ways cost memory too.

    There decoding in bf16 keeps a second copy of the layers' weights in oneDNN's order, and attention in fp32 keeps its
    weights for the backward pass.
    """

    processes: int = 1
    number_bytes: int = 2
    is_cpu: bool = False

    @property
    def is_wide(self) -> bool:
        return self.number_bytes >= MASTER_BYTES


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """One model on one GPU. `layers` and `outside`: numbers in its layers, and in the rest, which stays whole."""

    shape: ModelShape
    method: str = ""  # empty: frozen
    learned_layers: int = 0
    learned_outside: int = 0
    four_bit: bool = False
    offloaded: bool = False
    copies: int = 0  # further ones in fp32 of what learns
    on: Machine = field(default_factory=Machine)
    sharded: bool = False

    @property
    def parts(self) -> int:
        return self.on.processes if self.sharded else 1

    @property
    def learned(self) -> int:
        return self.learned_layers + self.learned_outside

    @property
    def layers(self) -> int:
        return self.shape.layers * self.shape.layer

    @property
    def base(self) -> int:
        """Bytes of all weights, whole, as a forward pass reads them, without what a method adds."""
        number = self.on.number_bytes
        if not self.four_bit:
            return number * self.shape.parameters
        quantised = self.shape.layers * self.shape.layer_linears
        return round(FOUR_BIT_BYTES * quantised) + number * (self.shape.parameters - quantised)

    @property
    def is_adapter(self) -> bool:
        return self.method not in ("", *CHANGES_BASE)

    @property
    def weights(self) -> int:
        """Bytes of weights between forward passes, of which split ones that learn are the masters themselves."""
        number, added = self.on.number_bytes, self.learned if self.is_adapter else 0
        if self.offloaded:
            return 0
        if not self.sharded:
            return self.base + number * added
        frozen = self.layers - (0 if self.is_adapter else self.learned_layers)
        return math.ceil(number * frozen / self.parts) + number * (self.shape.outside + added - self._split_added)

    @property
    def _split_added(self) -> int:
        return self.learned_layers if self.is_adapter else 0

    @property
    def gathered(self) -> int:
        """Bytes of the layers that a forward pass holds whole: the one that computes and the next one."""
        return 2 * self.on.number_bytes * self.shape.layer if self.sharded else 0

    @property
    def masters_and_moments(self) -> int:
        own_masters = 0 if self.on.is_wide else MASTER_BYTES
        more = MOMENT_BYTES + MASTER_BYTES * self.copies
        split = more + (MASTER_BYTES if self.sharded else own_masters)
        return math.ceil(split * self.learned_layers / self.parts) + (own_masters + more) * self.learned_outside

    @property
    def gradients(self) -> int:
        """bf16 gradients of several micro-batches are added up in fp32, which leaves gaps where they were, or, in many
        processes, stands beside DDP's buckets of them. FSDP has one layer's in bf16.
        """
        each = GRADIENT_BYTES if self.on.is_wide else GRADIENT_BYTES + self.on.number_bytes
        if self.sharded:
            whole_layer = self.on.number_bytes * math.ceil(self.learned_layers / max(1, self.shape.layers))
            split = math.ceil(GRADIENT_BYTES * self.learned_layers / self.parts)
            return split + whole_layer + each * self.learned_outside
        return each * self.learned


def trained(shape: ModelShape, settings: TrainingSettings, *, on: Machine) -> LoadedModel:
    layers, outside = _learned(shape, settings)
    return LoadedModel(
        shape=shape,
        method=settings.method,
        learned_layers=layers,
        learned_outside=outside,
        four_bit=settings.method == "qlora",
        on=on,
        sharded=settings.parallel == "fsdp" and on.processes > 1,
    )


def _learned(shape: ModelShape, settings: TrainingSettings) -> tuple[int, int]:
    """Numbers that learn: in the layers, and outside of them."""
    match settings.method:
        case "full":
            return shape.layers * shape.layer, shape.outside
        case "last_n":
            return min(shape.layers, settings.last_layers) * shape.layer, shape.width
        case "lora" | "qlora":
            return shape.layers * settings.lora_rank * sum(map(sum, shape.linears)), 0
        case "adapter":
            return shape.layers * 2 * (2 * shape.width + 1) * settings.adapter_width, 0
        case "ia3":
            return shape.layers * (2 * shape.kv_width + shape.inner), 0
        case "prefix" | "p_tuning_v2":
            return 0, settings.virtual_tokens * 2 * shape.layers * shape.kv_width
    return 0, settings.virtual_tokens * shape.width
