"""Which models can be decoded over their weights directly, and where those weights are."""

from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM

from models_core.modeling import families

SHAPES = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)


def is_direct(model: Any) -> bool:
    """Not for sliding windows, hooks (adapters, soft prompts), quantised layers, or LoRA that is not merged."""
    ways = families.fast_ways(model)
    if type(model) not in SHAPES or not ways.decoding or ways.window is not None or _is_hooked(model):
        return False
    parts = [model.lm_head, *(part for layer in model.model.layers for part in linears(layer))]
    return type(model.model.embed_tokens) is nn.Embedding and all(map(plain, parts))


def linears(layer: Any) -> list[Any]:
    """A decoder layer's query, key, value, output, gate, up and down."""
    attention, mlp = layer.self_attn, layer.mlp
    projections = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
    return [*projections, mlp.gate_proj, mlp.up_proj, mlp.down_proj]


def plain(module: Any) -> Any:
    """The nn.Linear that computes what `module` does: itself, the base that LoRA is merged into, or None."""
    if isinstance(module, BaseTunerLayer) and (module.merged or module.disable_adapters):
        module = module.get_base_layer()
    return module if type(module) is nn.Linear else None


def is_silu(activation: Any) -> bool:
    """Whether a gated MLP's activation is x sigmoid(x)."""
    return type(activation).__name__ in ("SiLUActivation", "SiLU")


def _is_hooked(model: nn.Module) -> bool:
    """Whether something listens in on a module's forward pass, or replaces it by another function."""
    return any(module._forward_hooks or module._forward_pre_hooks or _is_replaced(module) for module in model.modules())


def _is_replaced(module: nn.Module) -> bool:
    """The kernels of training compute what the module's own forward does."""
    forward = vars(module).get("forward")
    return forward is not None and not getattr(forward, "__module__", "").startswith(
        "models_core.modeling.manual_autograd."
    )
