"""Sizes of a decoder from its config.json alone: layers, widths, heads, vocabulary, and what they come to."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_core.contract import catalogue
from models_core.contract.errors import BadInput

NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "width": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "vocabulary": ("vocab_size",),
}
"""Keys of config.json that have to be there, as families of transformers call them."""
KV_HEADS = ("num_key_value_heads", "num_kv_heads")
INNER = ("intermediate_size", "n_inner", "ffn_dim")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
POSITIONS = ("max_position_embeddings", "n_positions")
PLAIN_MLP = ("gpt2", "gpt_neo", "gpt_neox", "opt", "gptj", "phi", "falcon", "bloom", "starcoder2", "mpt")
"""Families whose MLP has two matrices; the others have a gate too."""
OWN_HEAD = (
    "llama",
    "mistral",
    "mixtral",
    "qwen2",
    "qwen3",
    "qwen2_moe",
    "qwen3_moe",
    "gpt_neox",
    "gptj",
    "phi",
    "olmo",
)
"""Families whose output layer is one of its own where config.json does not say."""
LARGEST = 10**7
"""No size in a config.json is larger."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Sizes of a decoder. `matrices`: of an MLP, 3 with a gate; `experts`: MLPs of a layer."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    vocabulary: int
    tied: bool
    matrices: int = 3
    experts: int = 1
    positions: int = 0

    @property
    def query_width(self) -> int:
        return self.heads * self.head_size

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_size

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of every linear layer of one decoder layer."""
        attention = [(self.width, self.query_width), *[(self.width, self.kv_width)] * 2, (self.query_width, self.width)]
        mlp = [*[(self.width, self.inner)] * (self.matrices - 1), (self.inner, self.width)]
        return attention + mlp * self.experts

    @property
    def layer_linears(self) -> int:
        """Numbers in the linear layers of one decoder layer."""
        return sum(inputs * outputs for inputs, outputs in self.linears)

    @property
    def layer(self) -> int:
        """Numbers in one decoder layer, its two norms included."""
        return self.layer_linears + 2 * self.width

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.width

    @property
    def outside(self) -> int:
        """Numbers in embedding, output layer and last norm."""
        return self.embedding * (1 if self.tied else 2) + self.width

    @property
    def parameters(self) -> int:
        return self.layers * self.layer + self.outside

    def as_reward_model(self) -> "ModelShape":
        """The same trunk under a scalar head: without an output layer of its own."""
        return dataclasses.replace(self, tied=True)

    def shortened(self, layers: int) -> "ModelShape":
        """With the first so many layers alone; 0 keeps all."""
        return dataclasses.replace(self, layers=min(self.layers, layers) if layers else self.layers)


def read(model: str) -> ModelShape:
    """Of M: a folder, a run's folder, a config.json or a name of the catalogue. Raises BadInput."""
    path = Path(model)
    if model in catalogue.MODELS and not path.exists():
        path = catalogue.default_store() / model
        if not (path / "config.json").is_file():
            raise BadInput(f"{model} is not fetched yet: python -m models_core catalogue fetch {model}.")
    if path.is_dir():
        inside = next((each for each in (path, path / "model") if (each / "config.json").is_file()), path)
        path = inside / "config.json"
    if not path.is_file():
        raise BadInput(
            f"There is no config.json at {model}: name a model's folder, a catalogue name or the file itself."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BadInput(f"{path} is no JSON file that can be read.") from None
    if not isinstance(config, dict):
        raise BadInput(f"{path} holds no configuration of a model.")
    return of_config(config, name=str(path))


def of_config(config: Mapping[str, Any], *, name: str) -> ModelShape:
    """Of a parsed config.json; `name` is for sentences. Raises BadInput."""
    if isinstance(config.get("text_config"), dict):
        config = {**config, **config["text_config"]}
    sizes = {field: _size(config, keys, name=name) for field, keys in NAMES.items()}
    kind = config.get("model_type")
    inner = _size(config, INNER, name=name, default=4 * sizes["width"])
    experts = _size(config, EXPERTS, name=name, default=1)
    if experts > 1:
        inner = _size(config, ("moe_intermediate_size",), name=name, default=inner)
    tied = config.get("tie_word_embeddings")
    return ModelShape(
        **sizes,
        kv_heads=_size(config, KV_HEADS, name=name, default=sizes["heads"]),
        head_size=_size(config, ("head_dim",), name=name, default=max(1, sizes["width"] // sizes["heads"])),
        inner=inner,
        tied=bool(tied) if tied is not None else kind not in OWN_HEAD,
        matrices=2 if kind in PLAIN_MLP else 3,
        experts=experts,
        positions=_size(config, POSITIONS, name=name, default=0, minimum=0),
    )


def _size(
    config: Mapping[str, Any], keys: tuple[str, ...], *, name: str, default: int | None = None, minimum: int = 1
) -> int:
    """The first of these keys that has a value. Raises BadInput where it is no size."""
    key = next((key for key in keys if config.get(key) is not None), None)
    if key is None:
        if default is None:
            raise BadInput(f"{name} doesn't say the model's {keys[0]}, so its size isn't known.")
        return default
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= LARGEST:
        raise BadInput(f"{name}: {key} must be a whole number from {minimum} to {LARGEST}, not {value!r}.")
    return value
