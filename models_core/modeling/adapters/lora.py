"""LoRA: small matrices beside the weights (Hu et al. 2021, arXiv 2106.09685), and QLoRA: the same over a 4-bit base."""

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from models_core.modeling.adapters.layers import embedding, linear_layers, trunk


def add(model: PreTrainedModel, *, rank: int) -> None:
    """LoRA on every linear layer of the trunk, alpha = 2 rank, no dropout.

    The matrices take the model's dtype: in fp32 beside bf16 weights they would convert every activation. Their fp32
    masters live in the optimizer.
    """
    body = trunk(model)
    dtype = embedding(model).dtype
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=linear_layers(model),
        fan_in_fan_out=any(isinstance(part, Conv1D) for part in body.modules()),
    )
    inject_adapter_in_model(config, body)
    for layer in body.modules():
        if isinstance(layer, LoraLayer):
            for matrices in (layer.lora_A, layer.lora_B):
                matrices.to(dtype=dtype)
                matrices.requires_grad_(True)
