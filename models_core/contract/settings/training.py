"""Settings that the training stages share."""

from dataclasses import dataclass
from typing import Any

from models_core.contract.settings.base import MAX_STEPS, Settings, max_tokens_per_forward_setting, setting

METHODS = ("full", "last_n", "lora", "qlora", "adapter", "prefix", "prompt", "p_tuning", "p_tuning_v2", "ia3")
LEARNING_RATE_FACTORS = {
    "full": 1,
    "last_n": 2,
    "lora": 10,
    "qlora": 10,
    "adapter": 10,
    "prefix": 5,
    "prompt": 300,
    "p_tuning": 5,
    "p_tuning_v2": 200,
    "ia3": 200,
}
"""Default learning rate of a method relative to full fine-tuning: the fewer weights are trained, the larger."""


def fine_tuning_method(default: str) -> Any:
    return setting(default, "Fine-tuning method: full or parameter-efficient (docs/methods.md).", choices=METHODS)


def peak_learning_rate(default: float, *, method: str = "full fine-tuning") -> Any:
    return setting(
        default,
        f"Peak learning rate of {method}; other methods scale it (docs/methods.md).",
        minimum=0.0,
        maximum=1.0,
    )


def weight_decay_setting(default: float) -> Any:
    return setting(default, "AdamW weight decay coefficient (lambda).", minimum=0.0, maximum=1.0)


def offload_reference_setting() -> Any:
    return setting(
        False,
        "Keep the reference policy and reward models in host memory and bring them to the GPU while they compute: less "
        "GPU memory, a little slower.",
    )


def save_every_setting(default: int) -> Any:
    return setting(
        default, "Steps between checkpoints; 0 saves only when the run is stopped.", minimum=0, maximum=MAX_STEPS
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """Settings of every training stage."""

    method: str = fine_tuning_method("full")
    last_layers: int = setting(4, "Number of final layers trained by the method last_n.", minimum=1, maximum=1000)
    lora_rank: int = setting(16, "LoRA rank (r), also of the method qlora.", minimum=1, maximum=1024)
    adapter_width: int = setting(32, "Bottleneck width of the method adapter.", minimum=1, maximum=65_536)
    virtual_tokens: int = setting(
        20, "Number of virtual tokens of the methods prompt, p_tuning, p_tuning_v2 and prefix.", minimum=1, maximum=4096
    )
    learning_rate: float = peak_learning_rate(1e-5)
    weight_decay: float = weight_decay_setting(0.0)
    warmup_ratio: float = setting(
        0.05, "Fraction of the steps with linear learning rate warmup.", minimum=0.0, maximum=1.0
    )
    max_grad_norm: float = setting(1.0, "Maximum gradient norm for gradient clipping.", minimum=0.0, maximum=1e6)
    max_tokens_per_forward: int = max_tokens_per_forward_setting(2048)
    processes: int = setting(
        1, "Number of processes on this machine, each with one GPU or a share of the CPU cores.", minimum=1, maximum=64
    )
    parallel: str = setting(
        "auto",
        "Parallelism across processes: data parallel (ddp, also selected by auto) or fully sharded (fsdp).",
        choices=("auto", "ddp", "fsdp"),
    )
    gradient_checkpointing: bool = setting(
        False, "Recompute activations in the backward pass: less memory, about a third slower."
    )
    compile_trunk: bool = setting(
        False, "Compile the trained model's layers with torch.compile: needs a compiler, and a minute at the start."
    )
    save_every: int = save_every_setting(50)
    keep_checkpoints: int = setting(
        1, "Number of most recent checkpoints kept during training.", minimum=1, maximum=1000
    )
    eval_every: int = setting(
        0, "Steps between evaluations on held-out rows; 0 evaluates at the end.", minimum=0, maximum=MAX_STEPS
    )
    load_best_at_end: bool = setting(True, "Save the weights of the best held-out evaluation instead of the last ones.")
    patience: int = setting(
        0,
        "Early stopping: number of consecutive evaluations without improvement before the end; 0 disables it.",
        minimum=0,
        maximum=MAX_STEPS,
    )
