"""Fine-tuning methods: which weights of a model learn, and where what they learned is kept.

| method | what learns | where it ends up |
| --- | --- | --- |
| full, last_n | the weights, all of them or those of the last layers | RUN/model |
| lora, qlora, ia3 | matrices or factors beside the weights | merged into RUN/model |
| adapter | narrow layers after every block | RUN/adapter |
| prompt, p_tuning, prefix, p_tuning_v2 | virtual tokens before every row | RUN/adapter |

A model stays a model of transformers under every method: what is added lives inside its trunk, where packed training,
scoring and sampling find it.
"""

from models_core.modeling.adapters.merging import merge_adapters, merged_for_sampling
from models_core.modeling.adapters.soft_prompts import learned_prefix
from models_core.modeling.adapters.tuning import (
    adapter_off,
    keeps_base,
    parameter_summary,
    prepare,
    trainable,
    trainable_parameters,
)

__all__ = [
    "adapter_off",
    "keeps_base",
    "learned_prefix",
    "merge_adapters",
    "merged_for_sampling",
    "parameter_summary",
    "prepare",
    "trainable",
    "trainable_parameters",
]
