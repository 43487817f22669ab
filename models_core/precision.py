"""Which numbers to compute in, and an optimizer that keeps fp32 masters of bf16 weights.

bf16 has eight bits of mantissa: an update of one part in a thousand is rounded away, and weights trained by a plain
bf16 optimizer do not move at all. The masters collect such updates; the model's weights are their rounded copies.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

PROBE_SIZE = 768
PROBE_GAIN = 1.3
"""bf16 must be this much faster to be worth its rounding."""


def resolve(precision: str, *, device: torch.device) -> str:
    """ "bf16" or "fp32": the given one, or for "auto" what a short measurement on this device favours."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    gain = _matmul_seconds(torch.float32) / _matmul_seconds(torch.bfloat16)
    return "bf16" if gain > PROBE_GAIN else "fp32"


def dtype_of(precision: str) -> torch.dtype:
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def _matmul_seconds(dtype: torch.dtype) -> float:
    """The best of several timings: a busy machine only ever slows one down."""
    a = torch.ones(PROBE_SIZE, PROBE_SIZE, dtype=dtype)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return min(seconds)


class MasterAdamW:
    """AdamW over fp32 masters; an fp32 parameter is its own master.

    `accumulate` after each micro-batch's backward pass adds bf16 gradients in fp32, `clip` scales them, `step` updates
    the masters, copies them into the model and clears the gradients.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        self.parameters = dict(parameters)
        self.masters = {
            name: weight if weight.dtype == torch.float32 else nn.Parameter(weight.detach().float())
            for name, weight in self.parameters.items()
        }
        # Norms and biases are vectors; decaying them only shrinks the model's scales.
        matrices = [master for master in self.masters.values() if master.dim() >= 2]
        vectors = [master for master in self.masters.values() if master.dim() < 2]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=lr, betas=betas, eps=eps, fused=True
        )

    def accumulate(self) -> None:
        """Move the model's bf16 gradients into the masters' fp32 sums."""
        for name, weight in self.parameters.items():
            master = self.masters[name]
            if master is weight or weight.grad is None:
                continue
            if master.grad is None:
                master.grad = weight.grad.float()
            else:
                master.grad.add_(weight.grad)
            weight.grad = None

    def clip(self, max_norm: float, *, penalty: Callable[[Mapping[str, Tensor]], None] | None = None) -> float:
        """Scale the gradients down to the norm; returns the norm they had. 0 leaves them as they are.

        `penalty` is called with the masters first and may add to their gradients.
        """
        self.accumulate()
        if penalty is not None:
            penalty(self.masters)
        limit = max_norm if max_norm > 0 else float("inf")
        return float(nn.utils.clip_grad_norm_(list(self.masters.values()), limit))

    def step(self, *, lr: float) -> None:
        self.accumulate()
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.adam.step()
        self._publish()
        self.clear()

    def clear(self) -> None:
        """Forget the gradients."""
        for name, weight in self.parameters.items():
            weight.grad = None
            self.masters[name].grad = None

    @torch.no_grad()
    def _publish(self) -> None:
        for name, weight in self.parameters.items():
            if self.masters[name] is not weight:
                weight.copy_(self.masters[name])

    def weights(self) -> dict[str, Tensor]:
        """The masters by name."""
        return {name: master.detach() for name, master in self.masters.items()}

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put other weights into masters and model; the moments stay."""
        for name, master in self.masters.items():
            master.copy_(weights[name])
        self._publish()

    def state_dict(self) -> dict[str, Tensor]:
        """Everything as named tensors: "NAME.master", "NAME.exp_avg", "NAME.exp_avg_sq", "NAME.step"."""
        tensors = {}
        for name, master in self.masters.items():
            tensors[f"{name}.master"] = master.detach()
            tensors |= {f"{name}.{key}": value for key, value in self.adam.state.get(master, {}).items()}
        return tensors

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue exactly where `state_dict` was taken."""
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(tensors[f"{name}.master"])
        moments: Any = {
            name: {key: tensors[f"{name}.{key}"] for key in ("exp_avg", "exp_avg_sq", "step")}
            for name in self.masters
            if f"{name}.step" in tensors
        }
        for name, state in moments.items():
            device = self.masters[name].device
            # AdamW counts its steps on the CPU, in a tensor.
            self.adam.state[self.masters[name]] = {
                key: value.clone() if key == "step" else value.clone().to(device) for key, value in state.items()
            }
        self._publish()
