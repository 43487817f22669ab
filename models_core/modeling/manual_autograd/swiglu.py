"""SwiGLU, silu(gate) * up (Shazeer, 2002.05202): the gated product inside Llama's MLP."""

from torch import Tensor
from torch.nn import functional


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up: [..., I] twice -> [..., I]."""
    return functional.silu(gate) * up
