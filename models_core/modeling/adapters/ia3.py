"""IA3: a learned factor for every key, value and inner activation (Liu et al. 2022, arXiv 2205.05638)."""

from peft import IA3Config, inject_adapter_in_model
from peft.tuners.ia3 import IA3Layer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from models_core.contract.errors import BadInput
from models_core.modeling.adapters.layers import embedding, linear_layers, trunk

SHAPES = (
    (("self_attn.k_proj", "self_attn.v_proj"), "mlp.down_proj"),  # Llama, Mistral, Qwen, Gemma
    (("attn.c_attn",), "mlp.c_proj"),  # GPT-2: queries, keys and values in one product
    (("attention.query_key_value",), "mlp.dense_4h_to_h"),  # GPT-NeoX, likewise
)
"""What makes keys and values (their output is scaled), and what reads the inner activations (its input is)."""


def add(model: PreTrainedModel) -> None:
    """Factors of 1, in the model's dtype. Raises BadInput for a model of a shape that is not known."""
    body = trunk(model)
    names = linear_layers(model)
    for scaled_outputs, scaled_input in SHAPES:
        outputs = [name for name in names if name.endswith(scaled_outputs)]
        inputs = [name for name in names if name.endswith(scaled_input)]
        if outputs and len(outputs) == len(scaled_outputs) * len(inputs):
            break
    else:
        raise BadInput(
            f"The method ia3 knows the layers of Llama-, GPT-2- and GPT-NeoX-shaped models; "
            f"a {type(model).__name__} is none of them."
        )
    dtype = embedding(model).dtype
    config = IA3Config(
        target_modules=[*outputs, *inputs],
        feedforward_modules=inputs,
        fan_in_fan_out=any(isinstance(part, Conv1D) for part in body.modules()),
    )
    inject_adapter_in_model(config, body)
    for layer in body.modules():
        if isinstance(layer, IA3Layer):
            layer.ia3_l.to(dtype=dtype)
            layer.ia3_l.requires_grad_(True)
