"""What kind of model a configuration describes: whether Hone can work with it at all, and which fast ways it may take.

The plain way computes any causal language model: transformers' own forward on padded rows
(models_core.modeling.plain_forward), transformers' own cache and positions for decoding
(models_core.generation.plain_batch). The fast ways, rows packed end to end and decoding with keys and values written in
place, know what a few families compute. A family's name does not say that: a window, a cap or a scale in the
configuration changes it. So each family has a list of the configuration keys that the fast ways were taught, and one
key beyond it, with another value than the family's default, sends the model the plain way. A key that transformers'
code for the family never reads changes nothing.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from models_core.contract.errors import BadInput

BOTH_WAYS = frozenset({"xlm", "xlnet"})
"""Families that transformers lists among causal models, and that see what comes after a token."""
CLASSIFIER = "ForSequenceClassification"
DIFFERS = "differs_from_transformers"
"""Attribute of a trunk whose fast ways were held against transformers' own forward and differed: the sentence on it."""
FIXED_ROPE = frozenset({"default", "linear", "llama3", "yarn"})
"""Kinds of rotary positions whose angles don't depend on the length of the row. yarn and linear scale them once."""
READ_BY_ALL = ("masking_utils", "modeling_rope_utils", "cache_utils")
"""Modules of transformers that read the configuration of whatever family."""


@dataclass(frozen=True)
class FastWays:
    """`packed`: rows laid end to end, and the head as one linear layer; `decoding`: keys and values written in place.

    Both end at `window` tokens, where there is one: the nearest tokens that some layer sees. `reasons` are the
    configuration keys, or the sentence, that close them.
    """

    packed: bool
    decoding: bool
    window: int | None = None
    reasons: tuple[str, ...] = ()

    def takes(self, seen: int) -> bool:
        """Whether a row in which a token sees so many, itself included, may be packed."""
        return self.packed and (self.window is None or seen <= self.window)


Rule = Callable[[Any], bool]


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


INERT = _keys(
    """
    _attn_implementation _attn_implementation_autoset _name_or_path architectures auto_map bos_token_id
    chunk_size_feed_forward classifier_dropout dtype eos_token_id hone_adapter id2label initializer_range
    is_llama_config label2id model_type num_labels output_attentions output_hidden_states pad_token_id pretraining_tp
    problem_type quantization_config return_dict reward_heads reward_scale reward_shift torch_dtype transformers_version
    use_cache
    """
)
"""Keys that no forward pass depends on, or that loading decides."""
SIZES = _keys(
    """
    head_dim hidden_act hidden_size intermediate_size max_position_embeddings num_attention_heads num_hidden_layers
    tie_word_embeddings vocab_size
    """
)
"""Keys that every fast way reads from the modules themselves, whatever they are."""
WINDOWS = _keys("layer_types max_window_layers sliding_window use_sliding_window")
"""`window` reads them."""


def _has_fixed_rope(parameters: Any) -> bool:
    """Rotary positions of one kind for all layers, whose angles don't change with the length of the row."""
    return isinstance(parameters, Mapping) and parameters.get("rope_type", "default") in FIXED_ROPE


ROPE: Mapping[str, Rule] = {"rope_parameters": _has_fixed_rope}


@dataclass(frozen=True)
class _Family:
    """`known`: keys of any value; `rules`: keys whose value the fast ways know where the rule is true."""

    known: frozenset[str]
    rules: Mapping[str, Rule]


def _family(known: str, rules: Mapping[str, Rule] = ROPE) -> _Family:
    return _Family(SIZES | WINDOWS | _keys(known), rules)


LLAMA_LIKE = "attention_bias attention_dropout mlp_bias num_key_value_heads rms_norm_eps"
FAMILIES: Mapping[str, _Family] = {
    "llama": _family(LLAMA_LIKE),
    "mistral": _family(LLAMA_LIKE),
    "qwen2": _family(LLAMA_LIKE),
    "qwen3": _family(LLAMA_LIKE),
    "gpt_neox": _family(
        "attention_bias attention_dropout hidden_dropout is_decoder layer_norm_eps use_parallel_residual"
    ),
    "gpt2": _family(
        """
        activation_function attn_pdrop embd_pdrop layer_norm_epsilon n_embd n_head n_inner n_layer n_positions
        resid_pdrop scale_attn_by_inverse_layer_idx scale_attn_weights summary_activation summary_first_dropout
        summary_proj_to_labels summary_type summary_use_proj
        """,
        {},
    ),
    "opt": _family(
        """
        _remove_final_layer_norm activation_function attention_dropout do_layer_norm_before dropout enable_bias ffn_dim
        init_std layer_norm_elementwise_affine layerdrop word_embed_proj_dim
        """,
        {},
    ),
}  # fmt: skip
"""Families whose attention the fast ways know; `rope_parameters` with a partial factor are transformers' own work."""


def fast_ways(model: Any) -> FastWays:
    """Which fast ways a causal language model, a reward model or their trunk may take."""
    found = _of_config(model.config)
    body = getattr(model, model.base_model_prefix, model)
    if found.packed and (sentence := getattr(body, DIFFERS, None)) is not None:
        return FastWays(packed=False, decoding=False, reasons=(sentence,))
    if found.packed and not _is_transformers_own(body, model.config.model_type):
        return FastWays(
            packed=False, decoding=False, reasons=(f"its code is not transformers' ({type(body).__name__})",)
        )
    return found


def _is_transformers_own(body: Any, model_type: str) -> bool:
    """Whether the trunk's class, or the one that FSDP made its class of, is that of transformers for this family."""
    return any(
        kind.__module__ == f"transformers.models.{model_type}.modeling_{model_type}" for kind in type(body).__mro__
    )


def _of_config(config: Any) -> FastWays:
    return _of_values(config.model_type, json.dumps(config.to_dict(), default=str, sort_keys=True))


@lru_cache(maxsize=64)
def _of_values(model_type: str, values: str) -> FastWays:
    given: dict[str, Any] = json.loads(values)
    if (family := FAMILIES.get(model_type)) is None:
        return FastWays(packed=False, decoding=False, reasons=(f"model_type={model_type}",))
    reasons = tuple(f"{key}={value}" for key, value in given.items() if not _is_known(key, value, family, model_type))
    try:
        window = _window(given)
    except ValueError as error:
        reasons = (*reasons, str(error))
        window = None
    return FastWays(packed=not reasons, decoding=not reasons, window=window, reasons=reasons)


def _is_known(key: str, value: Any, family: _Family, model_type: str) -> bool:
    if key in INERT or key in family.known:
        return True
    if key in family.rules:
        return family.rules[key](value)
    defaults = _defaults(model_type)
    if key in defaults:
        return bool(value == defaults[key])
    return not _is_read(key, model_type)


@cache
def _defaults(model_type: str) -> dict[str, Any]:
    """The configuration of a family as transformers makes it where nothing is said."""
    made: dict[str, Any] = json.loads(json.dumps(CONFIG_MAPPING[model_type]().to_dict(), default=str))
    return made


def _is_read(key: str, model_type: str) -> bool:
    """Whether transformers' code for a family mentions a key that its configuration class doesn't have."""
    return re.search(rf"\b{re.escape(key)}\b", _code(model_type)) is not None


@cache
def _code(model_type: str) -> str:
    names = [f"models.{model_type}.modeling_{model_type}", *READ_BY_ALL]
    files = [find_spec(f"transformers.{name}") for name in names]
    return "\n".join(Path(file.origin).read_text(encoding="utf-8") for file in files if file and file.origin)


def _window(given: Mapping[str, Any]) -> int | None:
    """How many of the nearest tokens, itself included, a token sees in some layer; None where it sees all.

    Raises ValueError for layers of another kind than these two.
    """
    kinds = given.get("layer_types")
    width = given.get("sliding_window")
    if kinds is None:
        return width
    if others := set(kinds) - {"full_attention", "sliding_attention"}:
        raise ValueError(f"layer_types={min(others)}")
    return width if "sliding_attention" in kinds else None


def has_window(config: Any) -> bool:
    """Whether some layer of a family that the fast ways know sees only the nearest tokens."""
    return _window(config.to_dict()) is not None


def depends_on_length(config: Any) -> bool:
    """Whether what a token becomes depends on how long the longest row beside it is, by its rotary positions."""
    text = json.dumps(config.to_dict(), default=str)
    return any(kind in text for kind in ('"dynamic"', '"longrope"'))


def needs_equal_lengths(model: Any) -> bool:
    """Whether rows of unequal length must not be decoded together: padding in front would change what they are."""
    return bool(getattr(model, "_is_stateful", False)) or depends_on_length(model.config)


# ---- what Hone can work with -------------------------------------------------------------------------------------


def check(config: Any, *, name: str) -> None:
    """Raise BadInput for a model that no command can work with: it writes no text, or not only from text."""
    named = [str(each) for each in getattr(config, "architectures", None) or []]
    kind = named[0] if named else f"model of type {config.model_type}"
    if getattr(config, "is_encoder_decoder", False):
        raise BadInput(f"{name} is a {kind}, an encoder with a decoder; Hone works with decoders alone.")
    if _is_multimodal(config):
        raise BadInput(f"{name} is a {kind}, a model of images or sound too; Hone works with models of text alone.")
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    if causal is None:
        raise BadInput(
            f"{name} is a {kind}, which has no causal language model in transformers; Hone works with those."
        )
    is_causal = any(each == causal or each.endswith(("ForCausalLM", "LMHeadModel")) for each in named)
    is_reward_model = any(each.endswith(CLASSIFIER) for each in named)
    if config.model_type in BOTH_WAYS or (
        "is_decoder" in _defaults(config.model_type)
        and not getattr(config, "is_decoder", False)
        and not config.model_type.startswith("gpt_neox")  # decoders, whatever that key says
    ):
        raise BadInput(f"{name} is a {kind}, an encoder: it reads in both directions and cannot write text.")
    if named and not (is_causal or is_reward_model or any(each.endswith("Model") for each in named)):
        raise BadInput(f"{name} is a {kind}, which is no causal language model; Hone works with those.")


def check_reward(config: Any, *, name: str) -> None:
    """Raise BadInput where transformers has no reward model of this family: nobody else could read what is saved."""
    if MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.get(config.model_type) is None:
        raise BadInput(
            f"{name} cannot become a reward model: transformers has no sequence classification for the family "
            f"{config.model_type}. Take a model of another family as the reward model's base."
        )


def shortened(config: Any, *, layers: int, name: str) -> Any:
    """The configuration of a model's first layers alone, what it says of each layer included. Raises BadInput."""
    values = config.to_dict()
    count = config.num_hidden_layers
    for key, value in values.items():
        if "layer" in key and isinstance(value, list) and len(value) == count:
            values[key] = value[:layers]
    if "attention_types" in values:  # GPT-Neo has them as runs
        values["attention_types"] = [[[kind], 1] for kind in config.attention_layers[:layers]]
    values[config.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = layers
    try:
        cut = type(config).from_dict(values)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"trunk_layers={layers} cannot shorten {name}, a {config.model_type}: {reason}.") from None
    cut._name_or_path = config._name_or_path
    return cut


def _is_multimodal(config: Any) -> bool:
    if config.get_text_config(decoder=True) is not config:
        return True
    return any(hasattr(config, key) for key in ("vision_config", "audio_config", "image_size"))
