"""Fresh decoders of a given shape, and dropout for any decoder while it is pretrained.

`llama`: rotary positions, RMS norms, gated SiLU (Touvron et al. 2023, 2302.13971). `gpt2`: learned positions, layer
norms, GELU (Radford et al. 2019). Both end in the transposed embedding: an output layer of its own would take a large
part of a small model's parameters and learn no more from little text.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from models_core.contract.errors import BadInput
from models_core.contract.settings import PretrainConfig
from models_core.modeling import tokenization
from models_core.modeling.adapters.layers import trunk

SHAPES = {
    "1m": (4, 128, 4),
    "5m": (6, 256, 4),
    "15m": (8, 384, 6),
    "40m": (12, 512, 8),
    "100m": (12, 768, 12),
}
"""Layers, width and heads of every size; the embedding's vocabulary x width comes on top of the layers' share."""
DEVIATION = 0.02
HEAD_WIDTH = 64
RESIDUAL = ("o_proj", "down_proj", "c_proj", "out_proj", "dense_4h_to_h", "dense", "fc2")
"""Names of the last linear layer of attention and MLP in transformers' decoders: what is added to the residual."""


def build(settings: PretrainConfig, tokenizer: Any, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A random model of the wanted shape for this tokenizer. Its weights depend on the seed alone. Raises BadInput."""
    layers, width, heads = shape(settings)
    shared: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenization.start_id(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": DEVIATION,
        "tie_word_embeddings": True,
    }
    model: Any
    state = torch.get_rng_state()
    torch.manual_seed(settings.seed)
    if settings.architecture == "llama":
        model = LlamaForCausalLM(
            LlamaConfig(
                hidden_size=width,
                intermediate_size=32 * round(8 * width / 3 / 32),
                num_hidden_layers=layers,
                num_attention_heads=heads,
                max_position_embeddings=settings.max_length,
                **shared,
            )
        )
    else:
        dropouts: dict[str, Any] = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        model = GPT2LMHeadModel(
            GPT2Config(
                n_embd=width, n_layer=layers, n_head=heads, n_positions=settings.max_length, **dropouts, **shared
            )
        )
    _shrink_residual(model, layers=layers)
    torch.set_rng_state(state)
    placed: PreTrainedModel = model.to(device=device, dtype=dtype).eval()
    return placed


def shape(settings: PretrainConfig) -> tuple[int, int, int]:
    """(layers, width, heads): the size's, where the settings name none themselves. Raises BadInput."""
    usual = SHAPES[settings.size]
    layers, width = settings.layers or usual[0], settings.width or usual[1]
    heads = settings.heads or (usual[2] if width == usual[1] else _heads(width))
    if width % heads or (width // heads) % 2:
        raise BadInput(f"A width of {width} cannot be shared by {heads} heads of an even size each.")
    return layers, width, heads


def _heads(width: int) -> int:
    """As many heads as makes each about as wide as models commonly have it."""
    possible = [heads for heads in range(1, width + 1) if width % heads == 0 and (width // heads) % 2 == 0]
    return min(possible, key=lambda heads: abs(width // heads - HEAD_WIDTH), default=1)


@torch.no_grad()
def _shrink_residual(model: PreTrainedModel, *, layers: int) -> None:
    """What 2 x layers layers add to the residual starts with its deviation divided by the root of their number.

    The sum then starts as wide as a single one (Radford et al. 2019, section 2.3).
    """
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and name.rsplit(".", 2)[-2] in RESIDUAL:
            weight.normal_(0.0, DEVIATION / math.sqrt(2 * layers))


def add_dropout(model: PreTrainedModel, rate: float) -> None:
    """Dropout of the embedding and of everything added to the residual, in training mode only (where GPT-2 has it).

    By hooks, for whatever shape the model has: transformers' Llama knows none but attention's. The configuration stays
    as it is, so the model that is saved has none. Raises BadInput for a model in which no such layer is found.
    """
    if not rate:
        return
    modules = [module for name, module in trunk(model).named_modules() if name.rsplit(".", 1)[-1] in RESIDUAL]
    if not modules:
        raise BadInput(f"Dropout finds no layer in a {type(model).__name__}; set dropout=0.")

    def dropped(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        return functional.dropout(output, rate, training=module.training)

    for module in [model.get_input_embeddings(), *modules]:
        module.register_forward_hook(dropped)


def hidden_matrices(model: PreTrainedModel) -> list[str]:
    """Names of the matrices inside the layers that learn: not of embeddings, positions and the output layer.

    Muon is for these; a row of an embedding is a vector of its own, which AdamW serves better.
    """
    outside = {model.get_output_embeddings(), *(part for part in model.modules() if isinstance(part, nn.Embedding))}
    owned = {id(weight) for part in outside for weight in part.parameters()}
    return [
        name
        for name, weight in model.named_parameters()
        if weight.requires_grad and weight.dim() == 2 and id(weight) not in owned
    ]
