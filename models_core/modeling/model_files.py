"""Configuration and weights of a model's folder, read with every way in which they can be broken said in a sentence."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig

from models_core.contract.errors import BadInput
from models_core.modeling import families
from models_core.modeling.adapters import storage
from models_core.modeling.tokenizer_files import first_line

CONFIG = "config.json"
SIZES = ("hidden_size", "num_hidden_layers", "vocab_size")


def config(source: str) -> Any:
    """The configuration of a folder's model, of a kind that Hone can work with. Raises BadInput."""
    given = _given(source)
    try:
        made = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except MemoryError:
        raise
    except Exception as error:  # a configuration class raises whatever its checks raise
        raise _refused(source, given, error) from None
    families.check(made, name=source)
    _check_sizes(made, source)
    return made


def network(kind: Any, source: str, config: Any, **how: Any) -> tuple[Any, set[str]]:
    """A model of that class, and the names of the weights that the folder lacks. Raises BadInput."""
    try:
        model, loading = kind.from_pretrained(
            source,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **storage.stored_variant(Path(source)),
            **how,
        )
    except SafetensorError as error:
        raise BadInput(f"The weights of {source} are damaged: {first_line(error)}") from None
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # building a model of whatever a configuration says raises whatever comes up
        if "ignore_mismatched_sizes" in str(error):
            raise BadInput(f"The model {source} cannot be loaded: {_other_shape(kind, source, config)}") from None
        if "can't allocate memory" in str(error) or type(error).__module__.startswith("models_core"):
            raise
        raise _refused(source, {}, error) from None
    return model, set(loading["missing_keys"])


def _given(source: str) -> dict[str, Any]:
    """What config.json holds. Raises BadInput for anything but an object whose "architectures" are names."""
    try:
        given = json.loads((Path(source) / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"The model {source} cannot be loaded: {CONFIG} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError):
        raise BadInput(f"The model {source} cannot be loaded: its {CONFIG} is not valid JSON in UTF-8.") from None
    if not isinstance(given, dict):
        raise BadInput(f"The model {source} cannot be loaded: its {CONFIG} is no JSON object.")
    names = given.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f'The model {source} cannot be loaded: "architectures" in its {CONFIG} is no list of names.')
    return given


def _refused(source: str, given: dict[str, Any], error: Exception) -> BadInput:
    reason = first_line(error)
    if "auto_map" in given:
        reason = "it needs code of its own (trust_remote_code), which is never run."
    return BadInput(f"The model {source} cannot be loaded: {reason}")


def _check_sizes(config: Any, source: str) -> None:
    """Raise BadInput for sizes that no model has, before anything is built that large.

    A layer has weights of its own, so there are no more layers than stored tensors.
    """
    for name in SIZES:
        value = getattr(config, name, None)
        if isinstance(value, int) and value < 1:
            raise BadInput(f"The model {source} cannot be loaded: {name} is {value} in its {CONFIG}.")
    layers, stored = getattr(config, "num_hidden_layers", None), len(_shapes(source))
    if isinstance(layers, int) and layers > stored:
        raise BadInput(
            f"The model {source} cannot be loaded: its {CONFIG} says {layers} layers, and there are weights of no more "
            f"than {stored}."
        )


def _shapes(source: str) -> dict[str, tuple[int, ...]]:
    """The shape of every stored tensor, by its name. Raises BadInput for damaged files."""
    found: dict[str, tuple[int, ...]] = {}
    for path in Path(source).glob("*.safetensors"):
        try:
            with safe_open(path, framework="pt") as file:
                found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise BadInput(f"The weights of {source} are damaged: {path.name}: {first_line(error)}") from None
        except OSError as error:
            raise BadInput(f"The model {source} cannot be loaded: {path.name}: {first_line(error)}") from None
    return found


def _other_shape(kind: Any, source: str, config: Any) -> str:
    """Which stored tensor differs from what the configuration says, as the end of a sentence."""
    try:
        with torch.device("meta"):
            wanted = {name: tuple(value.shape) for name, value in kind.from_config(config).state_dict().items()}
    except Exception:  # only the sentence is poorer for it
        wanted = {}
    for name, shape in _shapes(source).items():
        if name in wanted and wanted[name] != shape:
            return f"{name} is stored as {_times(shape)}, and its {CONFIG} makes it {_times(wanted[name])}."
    return f"its weights have other shapes than its {CONFIG} says."


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"
