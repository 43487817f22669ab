"""Reading and writing models in Hugging Face format: policies, and reward models with one scalar head.

Only safetensors are read, no code of a model's repository is run. M, wherever a command asks for a model, is a folder,
a name of the catalogue, or a Hub id.
"""

import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from transformers.utils import logging

from models_core.contract import catalogue
from models_core.contract.errors import BadInput
from models_core.contract.rows import trained_prompts
from models_core.contract.runs import processes
from models_core.modeling import chat, families, heads, int8_linears, model_files, reward_chat_template, tokenizer_files
from models_core.modeling.adapters import merging, peft_folder, quantised, soft_prompts, storage

logging.set_verbosity_error()
logging.disable_progress_bar()

TOKENIZER_FILES = ("tokenizer.json", "*.model", "vocab.*")
"""A tokenizer's vocabulary lies in one of these."""
NEW_HEAD = "score."
"""What a language model has no weights of when it becomes a reward model."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def locate(name: str | Path) -> str:
    """The folder that a model's name stands for; those of the catalogue and of the Hub are fetched.

    A run's folder stands for the model that it made. Raises BadInput.
    """
    name = str(name)
    if name in catalogue.MODELS:
        return str(catalogue.resolve(name))
    folder = Path(name)
    if not folder.is_dir():
        if folder.exists() or name.startswith((".", "/")) or not HUB_ID.fullmatch(name):
            raise BadInput(f"There is no model folder {name}.")
        folder = _from_hub(name)
    if (folder / "run.json").is_file() and not (folder / "config.json").is_file():
        folder = folder / "model"
        if not folder.is_dir():
            raise BadInput(f"The run {name} has not made a model yet.")
    if not (folder / "config.json").is_file():
        raise BadInput(f"{name} is not a model folder: it has no config.json.")
    if not any(folder.glob("*.safetensors")):
        raise BadInput(f"{name} has no weights in safetensors format; other formats are not read.")
    return str(folder)


def is_same(one: str | Path, other: str | Path) -> bool:
    """Whether two names of models stand for one folder. Raises BadInput."""
    return Path(locate(one)).resolve() == Path(locate(other)).resolve()


def several(names: str) -> list[str]:
    """Reward models that are asked together, by names parted by commas; a folder whose name has a comma is one."""
    if Path(names).exists():
        return [names]
    return [name for part in names.split(",") if (name := part.strip())] or [names]


def _from_hub(name: str) -> Path:
    """The Hub's files in its local cache, brought there if need be. A Hub out of reach is noticed in seconds."""
    is_online = catalogue.is_hub_reachable()
    try:
        return Path(snapshot_download(name, allow_patterns=catalogue.HUB_FILES, local_files_only=not is_online))
    except (OSError, ValueError) as error:
        reason = tokenizer_files.first_line(error) if is_online else "the Hub cannot be reached."
        raise BadInput(f"There is no model folder {name}, and it could not be had from the Hub: {reason}") from None


def load_tokenizer(name: str | Path) -> Any:
    """The model's tokenizer. Raises BadInput where there is none or where it has no EOS token."""
    source = locate(name)
    model_files.config(source)  # first: what is no language model at all is refused for that, not for its tokenizer
    if not any(any(Path(source).glob(pattern)) for pattern in TOKENIZER_FILES):
        raise BadInput(f"{name} has no tokenizer: none of the files {', '.join(TOKENIZER_FILES)} is there.")
    tokenizer = tokenizer_files.read(source, name=name)
    tokenizer.chat_template = reward_chat_template.unwrapped(tokenizer.chat_template)
    return tokenizer


def is_reward_model(name: str | Path) -> bool:
    """Whether M is a reward model, by its configuration alone. Raises BadInput."""
    return _is_classifier(model_files.config(locate(name)))


def shape(name: str | Path) -> str:
    """Kind and size of a model by its configuration alone, in words. Raises BadInput."""
    config = model_files.config(locate(name))
    return f"{config.model_type}, {config.num_hidden_layers} layers of width {config.hidden_size}"


def load_policy(
    name: str | Path, *, device: torch.device | str, dtype: torch.dtype, quantise: bool = False
) -> PreTrainedModel:
    """A causal language model in evaluation mode, without dropout; with `quantise` in 4 bits. Raises BadInput."""
    source = locate(name)
    config = model_files.config(source)
    if _is_classifier(config):
        raise BadInput(f"{name} is a reward model where a language model is needed.")
    return _loaded(AutoModelForCausalLM, source, config, dtype=dtype, device=device, quantise=quantise)


def load_sampler(
    name: str | Path, *, device: torch.device | str, dtype: torch.dtype, weight_format: str
) -> PreTrainedModel:
    """A causal language model to sample from, its weights in a format of SampleConfig. Raises BadInput."""
    if weight_format == "nf4":
        return load_policy(name, device=device, dtype=dtype, quantise=True)
    if weight_format == "full":
        return load_policy(name, device=device, dtype=dtype)
    quantised_model: PreTrainedModel = int8_linears.quantise(load_policy(name, device=device, dtype=dtype))
    return quantised_model


def load_reward_model(
    name: str | Path, *, device: torch.device | str, dtype: torch.dtype, quantise: bool = False
) -> PreTrainedModel:
    """A trained reward model in evaluation mode. Its head stays in fp32, whatever `dtype` the trunk has.

    Of an ensemble that head is the mean; `heads.held` has the several ones.
    """
    source = locate(name)
    config = model_files.config(source)
    if not _is_classifier(config):
        raise BadInput(f"{name} is a language model where a reward model is needed.")
    if config.num_labels != 1:
        raise BadInput(f"{name} has {config.num_labels} outputs; a reward model has one.")
    model = _loaded(AutoModelForSequenceClassification, source, config, dtype=dtype, device=device, quantise=quantise)
    _restore_head(model, source)
    heads.attach(model, Path(source))
    return model


def new_reward_model(
    name: str | Path,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    seed: int,
    head_scale: float = 1.0,
    head_count: int = 1,
    trunk_layers: int = 0,
    quantise: bool = False,
) -> PreTrainedModel:
    """A language model's trunk with fresh scalar heads without bias, fp32, normal: [head_count, width].

    Their deviation is head_scale/sqrt(width + 1). `trunk_layers` keeps only the first so many layers, 0 all. A reward
    model given as `name` keeps its head, or heads where it has `head_count` of them, and its layers, and is trained on.
    """
    source = locate(name)
    config = model_files.config(source)
    if _is_classifier(config):
        model = load_reward_model(name, device=device, dtype=dtype, quantise=quantise)
        heads.resize(model, count=head_count, seed=seed, scale=head_scale)
        return model
    families.check_reward(config, name=str(name))
    config.num_labels = 1
    if trunk_layers:
        if trunk_layers > config.num_hidden_layers:
            raise BadInput(f"trunk_layers is {trunk_layers}, but {name} has {config.num_hidden_layers} layers.")
        config = families.shortened(config, layers=trunk_layers, name=str(name))
    model = _loaded(AutoModelForSequenceClassification, source, config, dtype=dtype, device=device, quantise=quantise)
    width = head(model).weight.shape[1]
    started: Any = model
    started.score = heads.linear(heads.init(head_count, width, seed=seed, scale=head_scale).to(device))
    return model


def head(model: Any) -> torch.nn.Linear:
    """The scalar head of a reward model. weight: (1, width), (m, width) while m heads are being trained."""
    score = getattr(model, "score", None)
    if not isinstance(score, torch.nn.Linear):
        raise BadInput(f"A {type(model).__name__} has no scalar head that can be read at the last token.")
    return score


def context_length(model: Any) -> int:
    """The most positions the model has for tokens; a large number where its configuration names none.

    Virtual tokens take theirs first.
    """
    return (getattr(model.config, "max_position_embeddings", None) or 10**9) - soft_prompts.count(model)


def reward_scale(model: Any) -> tuple[float, float]:
    """(shift, scale) with score = (logit - shift) / scale; (0, 1) where config.json holds none."""
    return float(getattr(model.config, "reward_shift", 0.0)), float(getattr(model.config, "reward_scale", 1.0))


def save_policy(folder: Path, model: PreTrainedModel, tokenizer: Any) -> None:
    """Write model and tokenizer, whole or not at all: a temporary folder is renamed. An adapter gets one of its own."""
    _stop_at_ends(model, tokenizer)
    _save(folder, model, tokenizer)


def _stop_at_ends(model: Any, tokenizer: Any) -> None:
    """Have plain transformers end a response where this program does: at the end of a turn, which may not be EOS."""
    ends = chat.eos_ids(model, tokenizer)
    settings = getattr(model, "generation_config", None)
    if settings is not None and settings.eos_token_id not in (list(ends), ends[0]):
        settings.eos_token_id = list(ends) if len(ends) > 1 else ends[0]


def save_reward_model(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: Any,
    *,
    reward_shift: float = 0.0,
    reward_scale: float = 1.0,
    trained_on: Collection[str] = (),
) -> None:
    """Write a reward model that plain transformers pools at the EOS. `trained_on`: digests of prompts.

    transformers reads the logit at the last token that is not `pad_token_id`. Many tokenizers pad with EOS, which would
    move that place one token back, so another id is stored as padding. Of an ensemble it reads the mean.
    """
    config = model.config
    heads.record_count(model)
    config.pad_token_id = pad_id(tokenizer)
    config.reward_shift, config.reward_scale = float(reward_shift), float(reward_scale)
    pad, side, template = tokenizer.pad_token, tokenizer.padding_side, tokenizer.chat_template
    tokenizer.chat_template = reward_chat_template.wrapped(tokenizer)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.convert_ids_to_tokens(config.pad_token_id), "right"
    try:
        _save(folder, model, tokenizer, beside=partial(_beside_reward_model, trained_on=trained_on))
    finally:
        tokenizer.pad_token, tokenizer.padding_side, tokenizer.chat_template = pad, side, template


def _beside_reward_model(model: PreTrainedModel, folder: Path, *, trained_on: Collection[str]) -> None:
    heads.save(model, folder)
    if trained_on:
        trained_prompts.write(folder, trained_on)


def pad_id(tokenizer: Any) -> int:
    """An id for padding that is not EOS: the tokenizer's own, or another special token, or any other token."""
    special = [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, *tokenizer.all_special_ids]
    candidates = [*special, 0, 1]
    return next(token for token in candidates if token is not None and token != tokenizer.eos_token_id)


def _save(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: Any,
    *,
    beside: Callable[[PreTrainedModel, Path], None] = lambda model, folder: None,
) -> None:
    if not processes.is_main():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    storage.save(model, folder)
    peft_folder.save(model, folder)
    exact = getattr(model, merging.EXACT, {})
    model.save_pretrained(partial, state_dict=storage.base_tensors(model, exact), **storage.variant(model.config))
    storage.describe(model, partial)
    beside(model, partial)
    tokenizer.save_pretrained(partial)
    for path in partial.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def _is_classifier(config: Any) -> bool:
    return any(name.endswith("ForSequenceClassification") for name in config.architectures or [])


def _loaded(
    kind: Any, source: str, config: Any, *, dtype: torch.dtype, device: torch.device | str, quantise: bool
) -> PreTrainedModel:
    """In evaluation mode, with the adapter that belongs to it. Raises BadInput."""
    _without_dropout(config)
    how = quantised.loading(device=device, dtype=dtype) if quantise else {}
    model, missing = model_files.network(kind, source, config, dtype=dtype, **how)
    _check(model, source, missing=missing)
    if quantise:
        quantised.freeze(model)
    else:
        model = model.to(device)
    storage.attach(model, Path(source))
    return model.eval()


def _check(model: PreTrainedModel, source: str, *, missing: Collection[str]) -> None:
    """Raise BadInput where weights are missing, which transformers would draw at random, or no finite numbers."""
    absent = sorted(name for name in missing if not name.startswith(NEW_HEAD))
    if absent:
        raise BadInput(f"The weights of {source} are incomplete: {absent[0]} is missing ({len(absent)} in all).")
    damaged = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    if damaged:
        raise BadInput(f"The weights of {source} are damaged: {damaged[0]} holds no finite numbers.")


def _without_dropout(config: Any) -> None:
    """Dropout off, also in training mode: PPO's ratios would start off 1 with it, and a comparison would be noise."""
    settings: Mapping[str, Any] = config.to_dict()
    for name, value in settings.items():
        if ("drop" in name or "jitter" in name) and isinstance(value, float):
            setattr(config, name, 0.0)


def _restore_head(model: PreTrainedModel, source: str) -> None:
    """The head in fp32 as it was saved: loading in bf16 rounds it, and a score is a small difference of logits."""
    score = head(model).float()
    for path in Path(source).glob("*.safetensors"):
        if path.name == heads.FILE:
            continue
        with safe_open(path, framework="pt") as file:
            if "score.weight" in file.keys():  # noqa: SIM118 (a safetensors handle is not a mapping)
                with torch.no_grad():
                    score.weight.copy_(file.get_tensor("score.weight").float())
