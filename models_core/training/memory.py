"""Memory of a training run: what is freed stays for the next step, and layers may be computed twice instead of kept."""

import ctypes
import os
import sys
from contextlib import nullcontext
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from models_core.contract.errors import BadInput
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.packing import attention_by

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Numbers of glibc's mallopt."""
NEVER = -1
TOP_PAD = 2**26
PRIMITIVES = 64
"""Products of one shape that oneDNN keeps ready, its code and its working memory: a training step over one micro-batch
has about 45 of a model trained by LoRA. No micro-batch is as long as another, so more are kept in vain."""


def limit_primitive_cache() -> None:
    """Let oneDNN keep what it prepared for the last few shapes alone; a setting of the environment comes first.

    It keeps 1,024 by its own choice, and rows of text bring new shapes for as long as a run lasts: gigabytes. It reads
    the variable at the first product of a process, so this comes before all of them.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRIMITIVES))


def keep_freed_memory() -> None:
    """Let glibc keep freed memory: a training step frees and takes the same gigabytes again and again.

    Given back to the system each time, every page of them must be cleared anew: a quarter of a step on a processor. So
    large blocks (a gradient of the vocabulary's layer, logits) come from the heap too, and the heap never shrinks.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_TRIM_THRESHOLD, NEVER), (M_TOP_PAD, TOP_PAD), (M_MMAP_MAX, 0)):
            mallopt(option, value)


def checkpoint_activations(network: Any) -> None:
    """Keep only the inputs of each layer for the backward pass, which computes the layer again (Chen et al. 2016,
    1604.06174). Same numbers, less memory, a third more time. Raises BadInput where a model has no such layers.
    """
    body = trunk(network)
    layers: list[Any] = [part for part in body.modules() if isinstance(part, GradientCheckpointingLayer)]
    if not layers:
        raise BadInput(f"gradient_checkpointing: a {type(network).__name__} has no layers that can be computed twice.")
    for layer in layers:
        # Layers look at their own training flag; what lies inside them, dropout say, keeps its own.
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(
            checkpoint,
            use_reentrant=False,
            # Called as a layer is computed the first time: packed rows and plain ones attend in different ways.
            context_fn=lambda: (nullcontext(), attention_by(body.config, body.config._attn_implementation)),
        )
        layer.training = True
