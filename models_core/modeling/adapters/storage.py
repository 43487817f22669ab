"""What a method learned beside the weights, on disk: an adapter folder next to the model's.

RUN/model/config.json           under "hone_adapter": the other folder's place and the SHA-256 of its weights
RUN/adapter/adapter.json        which parts there are and their sizes
RUN/adapter/adapter.safetensors their weights, named as within the trunk

A model is never loaded without the adapter it was trained with: that would be the base model under another name. Plain
transformers knows nothing of the other folder, so the weights beside config.json have a name that it finds only when it
is asked for the base model (`variant`); else it raises.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from models_core.contract.atomic_write import write_json
from models_core.contract.errors import BadInput
from models_core.contract.runs.run_folder import file_sha256
from models_core.modeling.adapters import bottleneck
from models_core.modeling.adapters.layers import is_added, trunk
from models_core.modeling.adapters.soft_prompts import VirtualTokens

KEY = "hone_adapter"
"""In the model's config.json."""
WEIGHTS, DESCRIPTION = "adapter.safetensors", "adapter.json"
FORMAT = 1
BASE = "without_adapter"
"""The `variant` of save_pretrained and from_pretrained that the weights of an adapted model are: part of their name."""
CARD = "README.md"


def folder_of(model_folder: Path) -> Path:
    """RUN/model has its adapter in RUN/adapter; another NAME has it in NAME-adapter."""
    return model_folder.with_name("adapter" if model_folder.name == "model" else f"{model_folder.name}-adapter")


def save(model: PreTrainedModel, model_folder: Path) -> None:
    """Write the adapter of a model that is about to be saved, and note it in the model's configuration."""
    if hasattr(model.config, KEY):
        delattr(model.config, KEY)
    body = trunk(model)
    tensors = {name: value.contiguous().cpu() for name, value in body.state_dict().items() if is_added(name)}
    folder = folder_of(model_folder)
    if not tensors:
        shutil.rmtree(folder, ignore_errors=True)
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(tensors, partial / WEIGHTS)
    write_json(partial / DESCRIPTION, {"format": FORMAT, **_description(model)})
    with (partial / WEIGHTS).open("rb") as file:
        os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    place = {"folder": os.path.relpath(folder, model_folder), "sha256": file_sha256(folder / WEIGHTS)}
    setattr(model.config, KEY, place)


def variant(config: Any) -> dict[str, Any]:
    """Arguments of save_pretrained: what the weights in the model's own folder are called."""
    return {"variant": BASE} if getattr(config, KEY, None) is not None else {}


def stored_variant(model_folder: Path) -> dict[str, Any]:
    """Arguments of from_pretrained: what the weights in a folder are called."""
    return {"variant": BASE} if any(model_folder.glob(f"*.{BASE}*")) else {}


def describe(model: PreTrainedModel, folder: Path) -> None:
    """Write into an adapted model's folder, for whoever opens it, that these weights are not all of it."""
    if (place := getattr(model.config, KEY, None)) is None:
        return
    kind = type(model).__name__
    text = f"""# A {kind} with an adapter

The weights in this folder are those of the base model. What was trained lies in `{place["folder"]}`, and only Hone puts
the two together:

    python -m models_core {"score" if kind.endswith("ForSequenceClassification") else "sample"} --model FOLDER ...

`{kind}.from_pretrained(FOLDER)` in plain transformers finds no weights
and raises, so that nobody takes the base model for this one. `from_pretrained(FOLDER, variant="{BASE}")` loads
the base model on purpose. Train with `method=lora`, `ia3` or `full` for a model that plain transformers loads whole.
"""
    (folder / CARD).write_text(text, encoding="utf-8")


def base_tensors(model: PreTrainedModel, exact: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that belong into the model's own folder, those of `exact` in more bits than the model has.

    A weight that goes by two names, as tied embeddings do, is exact under both.
    """
    weights = model.state_dict()
    exact_at = {weights[name].data_ptr(): value for name, value in exact.items() if name in weights}
    return {name: exact_at.get(value.data_ptr(), value) for name, value in weights.items() if not is_added(name)}


def attach(model: PreTrainedModel, model_folder: Path) -> None:
    """Put the adapter that belongs to a model just loaded into it. Raises BadInput where it is missing or another."""
    place = getattr(model.config, KEY, None)
    if place is None:
        return
    folder = _folder(model_folder, place)
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
        _attach(model, description, tensors)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise BadInput(f"The adapter in {folder} cannot be used with this model: {reason}.") from None


def _folder(model_folder: Path, place: Any) -> Path:
    """The adapter's folder, checked to hold what the model was saved with."""
    if not isinstance(place, dict) or not isinstance(place.get("folder"), str):
        raise BadInput(f"{model_folder / 'config.json'}: {KEY} does not say where the adapter is.")
    folder = Path(os.path.normpath(model_folder / place["folder"]))
    if not (folder / WEIGHTS).is_file():
        raise BadInput(
            f"The model {model_folder} was fine-tuned with an adapter, and that is missing: copy {folder.name}/ "
            f"to {folder}, beside it."
        )
    if file_sha256(folder / WEIGHTS) != place.get("sha256"):
        raise BadInput(f"The adapter in {folder} is not the one that {model_folder} was saved with (SHA-256 differs).")
    return folder


def _description(model: PreTrainedModel) -> dict[str, Any]:
    virtual = getattr(trunk(model), "virtual_tokens", None)
    adapters = bottleneck.held(model)
    parts: dict[str, Any] = {}
    if isinstance(virtual, VirtualTokens):
        parts["virtual_tokens"] = {"kind": virtual.kind, "count": virtual.count}
    if adapters:
        parts["bottleneck"] = {"width": adapters[0].down.out_features}
    return parts


def _attach(model: PreTrainedModel, description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """A reward model may keep fewer layers than its adapter was trained with; those are the first ones."""
    if description["format"] != FORMAT:
        raise ValueError(f"its format is {description['format']}, and {FORMAT} is known")
    body = trunk(model)
    if "bottleneck" in description:
        bottleneck.add(model, inner=int(description["bottleneck"]["width"]))
    if "virtual_tokens" in description:
        tensors["virtual_tokens.table"] = table = _fitted(tensors["virtual_tokens.table"], model)
        body.virtual_tokens = VirtualTokens(table.clone().to(model.device), is_new=False)
    wanted = {name for name in body.state_dict() if is_added(name)}
    if missing := wanted - tensors.keys():
        raise ValueError(f"it lacks {min(missing)}")
    body.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
    for name, part in body.named_parameters():
        if is_added(name):
            part.requires_grad_(False)


def _fitted(table: Tensor, model: PreTrainedModel) -> Tensor:
    """A table of virtual tokens for the layers that the model has."""
    layers, width = model.config.num_hidden_layers, model.config.hidden_size
    if table.dim() == 2 and table.shape[1] == width:
        return table
    if table.dim() == 5 and table.shape[0] >= layers:
        return table[:layers]
    raise ValueError(f"its virtual tokens have the shape {list(table.shape)}, which no layer of the model takes")
