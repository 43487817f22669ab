"""A model's layers and the parts inside them, under the names that transformers gives them."""

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from models_core.contract.errors import BadInput

ADDED = ("virtual_tokens", "bottleneck")
"""Names of the modules that fine-tuning methods add to a trunk; everything else is the base model."""


def trunk(model: PreTrainedModel) -> PreTrainedModel:
    """The transformer below a causal or scalar head. Call it for `last_hidden_state` (batch, time, width)."""
    body: PreTrainedModel = getattr(model, model.base_model_prefix)
    return body


def embedding(model: PreTrainedModel) -> Tensor:
    """The table of the tokens' embeddings, [V, width], whose type and device are the model's."""
    layer: Any = trunk(model).get_input_embeddings()
    table: Tensor = layer.weight
    return table


def stack(model: PreTrainedModel, *, needed_by: str) -> list[nn.Module]:
    """The model's layers, first to last. Raises BadInput where there is no list of them."""
    lists: dict[str, list[nn.Module]] = {}
    for name, part in trunk(model).named_modules():
        # What lies inside a layer, experts or a norm for each head, may be a longer list.
        is_inside = any(name.startswith(f"{outer}.") for outer in lists)
        if isinstance(part, nn.ModuleList) and len(part) > 0 and not is_inside:
            lists[name] = list(part)
    if not lists:
        raise BadInput(f"{needed_by} needs a stack of layers, and a {type(model).__name__} has none.")
    return max(lists.values(), key=len)


def attention_and_mlp(model: PreTrainedModel, layer: nn.Module, *, method: str) -> tuple[nn.Module, nn.Module]:
    """The two blocks of a layer. Raises BadInput where they are not the children of known names."""
    children = dict(layer.named_children())
    attention = next((children[name] for name in ("self_attn", "attn", "attention") if name in children), None)
    if attention is None or "mlp" not in children:
        raise BadInput(
            f"The method {method} needs layers made of an attention block and an MLP; those of a "
            f"{type(model).__name__} are made of {', '.join(children)}."
        )
    return attention, children["mlp"]


def choose_last(model: PreTrainedModel, *, count: int) -> None:
    """Let the last `count` layers learn, and the normalisation between them and the head."""
    for part in [*stack(model, needed_by="The method last_n")[-count:], _final_norm(model)]:
        if part is not None:
            part.requires_grad_(True)


def _final_norm(model: PreTrainedModel) -> nn.Module | None:
    body = trunk(model)
    return next((getattr(body, name) for name in ("norm", "ln_f", "final_layer_norm") if hasattr(body, name)), None)


def linear_layers(model: PreTrainedModel) -> list[str]:
    """Names, within the trunk, of all its linear layers, quantised ones included, but not of what methods added."""
    return [
        name
        for name, part in trunk(model).named_modules()
        if isinstance(part, nn.Linear | Conv1D) and not is_added(name)
    ]


def is_added(name: str) -> bool:
    """Whether a module or tensor of this name belongs to a fine-tuning method and not to the base model."""
    return any(part in ADDED for part in name.split("."))
