"""The least that a run takes, where no more than the number of its models' parameters is known.

Memory is a lower bound without activations, so that no run is refused which would have fitted; a run in fp32, which has
no masters beside its weights, takes as much. Disk is what the run may come to. Bytes a parameter are those of
`loaded_models`: full fine-tuning in bf16 holds 2 + 4 + 8.
"""

from models_core.contract.memory_estimate.loaded_models import MASTER_BYTES, MOMENT_BYTES
from models_core.contract.settings import Settings, TrainingSettings

WEIGHT_BYTES = 2
"""In bf16."""
NARROW_METHODS_SHARE = 0.02
"""Part of the parameters that LoRA and its like learn: an upper bound for the defaults, used for disk alone."""


def memory(settings: Settings, *, first: int, others: int) -> int:
    """Bytes on the machine at least. `first`: parameters of the model that learns; `others`: of all the others."""
    read = WEIGHT_BYTES * (first + others)
    if not isinstance(settings, TrainingSettings):
        return read
    # Of methods that train a small part, whatever that is, nothing is counted.
    learned = first if settings.method == "full" and not getattr(settings, "trunk_layers", 0) else 0
    copies = settings.processes if settings.parallel != "fsdp" else 1
    return copies * (read + (MASTER_BYTES + MOMENT_BYTES) * learned)


def checkpoint(settings: TrainingSettings, *, first: int) -> int:
    """Bytes of a checkpoint at most: masters and moments of what learns."""
    return (MASTER_BYTES + MOMENT_BYTES) * _stored(settings, first=first)


def disk(settings: TrainingSettings, *, first: int, checkpoints: int) -> int:
    """Bytes of disk at most, where so many checkpoints are kept."""
    # One more is written before the oldest goes; the best weights lie beside them; the result is a whole model.
    weights = MASTER_BYTES * (2 * _stored(settings, first=first) + first)
    return checkpoint(settings, first=first) * (checkpoints + 1) + weights


def _stored(settings: TrainingSettings, *, first: int) -> int:
    return first if settings.method in ("full", "last_n") else round(NARROW_METHODS_SHARE * first)
