"""Memory of a run on each of its GPUs, from its settings and the architecture of its models: bytes by arithmetic.

Of N numbers in b bytes (2 in bf16, 4 in fp32) a model that learns holds weights b N, fp32 masters 4 N where b is 2,
AdamW's moments 8 N (Kingma and Ba 2014) and gradients 4 N; a frozen one b N. Activations are the tensors that the
packed forward keeps for the backward pass, counted in models_core.modeling.manual_autograd. Lengths are upper bounds:
every row has max_length tokens, and every forward pass max_tokens_per_forward.

A stage has periods, which follow each other: what is kept throughout stands in each of them, and the largest counts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from models_core.contract.memory_estimate.loaded_models import LoadedModel, Machine, trained
from models_core.contract.memory_estimate.model_shape import ModelShape
from models_core.contract.settings import PPOConfig, Settings, TrainingSettings

LOGIT_CHUNK, LOGITS_AT_ONCE = 128, 2**26
"""Tokens whose logits exist at once in training: CHUNK of models_core.modeling.manual_autograd.lm_head; on a GPU more
of them, as many as have LOGITS_AT_ONCE together."""
KEPT_LOGIT_BYTES = 256 * 2**20
"""Up to this size probabilities are kept for the backward pass: KEPT_BYTES of the same module."""
HOLES, WIDE_HOLES = 1 / 3, 1 / 5
"""A processor's heap holds so much more than the activations, in bf16 and in fp32: numbers of a layer are made and
freed among those that are kept, and what is freed is too small for what comes next. (docs/benchmarks/memory.md)"""
KEPT_CACHE_BYTES = 2 * 2**30
"""On a GPU a cache of up to this size stays between iterations of PPO, with the graphs that were recorded over it:
KEPT_BYTES of models_core.generation.static_steps.kept_rows."""
COLUMNS = ("weights", "masters_and_moments", "gradients", "activations", "logits", "kv_cache")


@dataclass(frozen=True, kw_only=True)
class Period:
    """Bytes of what is in memory at one time of a run."""

    name: str
    weights: int = 0
    masters_and_moments: int = 0
    gradients: int = 0
    activations: int = 0
    logits: int = 0
    kv_cache: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, column) for column in COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A stage's periods; `total` is that of the largest."""

    stage: str
    periods: tuple[Period, ...]

    @property
    def largest(self) -> Period:
        return max(self.periods, key=lambda period: period.total)

    @property
    def total(self) -> int:
        return self.largest.total


def machine_of(settings: Settings, *, gpus: int) -> Machine:
    """GPUs, which compute in bf16 unless the setting says otherwise."""
    return Machine(processes=gpus, number_bytes=4 if settings.precision == "fp32" else 2)


def estimate(
    stage: str, settings: Settings, *, model: ModelShape, reward: ModelShape | None = None, on: Machine
) -> Estimate:
    """What a stage with these settings holds on each GPU. `reward`: the reward model of ppo, else one like `model`."""
    if model.positions:
        settings = replace(settings, max_length=min(settings.max_length, model.positions))
    if not isinstance(settings, TrainingSettings):
        is_four_bit = getattr(settings, "weight_format", "full") == "nf4"
        policy = LoadedModel(shape=model, four_bit=is_four_bit, on=replace(on, processes=1))
        return Estimate(stage=stage, periods=(_sampling(settings, policy, on=on),))
    if stage == "reward":
        model = model.as_reward_model().shortened(getattr(settings, "trunk_layers", 0))
    policy = trained(model, settings, on=on)
    if isinstance(settings, PPOConfig):
        return _ppo(settings, policy, reward=(reward or model).as_reward_model())
    update = _update(stage, settings, [policy], [policy])
    if not policy.sharded:
        return Estimate(stage=stage, periods=(update,))
    before = [_whole(policy)] if stage == "dpo" else []
    return Estimate(stage=stage, periods=(*before, update, *_merging([policy], policy)))


def _ppo(settings: PPOConfig, policy: LoadedModel, *, reward: ModelShape) -> Estimate:
    shares = policy.is_adapter and settings.share_base_weights != "never"
    value = _value_init(settings, policy)
    # The moving average of an adapter, and the last good weights, which wait in host memory.
    policy = replace(policy, copies=int(policy.is_adapter and settings.ema_decay > 0) + int(policy.on.is_cpu))
    is_offloaded = settings.offload_reference and not policy.four_bit and not policy.sharded
    frozen = replace(
        policy, method="", learned_layers=0, learned_outside=0, four_bit=policy.four_bit, offloaded=is_offloaded
    )
    loaded, learning = [policy], [policy]
    if not shares:
        loaded.append(frozen)
    if value in ("reward", "policy"):
        loaded.append(trained(reward if value == "reward" else policy.shape.as_reward_model(), settings, on=policy.on))
        learning.append(loaded[-1])
    if not (value == "reward" and shares):
        loaded.append(replace(frozen, shape=reward))
    periods: list[Period] = []
    cache = 0
    if not settings.rollout_server:
        periods.append(_rollout(settings, loaded, policy))
        cache = periods[-1].kv_cache
    if is_offloaded:
        periods.append(_reference(loaded))
    update = _update("ppo", settings, loaded, learning)
    stays = cache <= KEPT_CACHE_BYTES and not (policy.on.is_cpu or policy.sharded)
    periods += [replace(update, kv_cache=cache if stays else 0), *_merging(loaded, policy)]
    return Estimate(stage="ppo", periods=tuple(periods))


def _value_init(settings: PPOConfig, policy: LoadedModel) -> str:
    if settings.algorithm != "ppo":
        return ""
    if settings.value_init != "auto":
        return settings.value_init
    return "head" if policy.is_adapter else "reward"


def _kept(loaded: list[LoadedModel]) -> dict[str, int]:
    return {
        "weights": sum(item.weights for item in loaded),
        "masters_and_moments": sum(item.masters_and_moments for item in loaded),
    }


def _whole(policy: LoadedModel) -> Period:
    """The policy computes the reference's log-probabilities before it is split; the other stages split what they load
    layer by layer, from host memory."""
    return Period(name="reference", weights=policy.base)


def _merging(loaded: list[LoadedModel], policy: LoadedModel) -> list[Period]:
    """At the end of a training the layers of a split model that have adapters are whole, to be merged."""
    if not (policy.sharded and policy.is_adapter):
        return []
    kept = _kept(loaded)
    kept["weights"] += policy.on.number_bytes * policy.layers
    return [Period(name="merge", **kept)]


def _update(stage: str, settings: TrainingSettings, loaded: list[LoadedModel], learning: list[LoadedModel]) -> Period:
    """Forward and backward pass of a full micro-batch, when gradients of others have been added up."""
    largest = max(loaded, key=lambda item: item.shape.parameters)
    tokens = tokens_per_forward(settings, processes=loaded[0].on.processes)
    kept = _kept(loaded)
    kept["weights"] += max(item.gathered for item in loaded)
    saved = activations(largest.shape, settings, tokens=tokens, on=largest.on)
    return Period(
        name="update",
        **kept,
        gradients=sum(item.gradients for item in learning),
        activations=saved + round(_holes(largest.on) * saved),
        logits=0 if stage == "reward" else _logits(learning[0], tokens=tokens),
    )


def _holes(on: Machine) -> float:
    if not on.is_cpu:
        return 0.0
    return WIDE_HOLES if on.is_wide else HOLES


def tokens_per_forward(settings: TrainingSettings, *, processes: int) -> int:
    """Tokens of a forward pass at the most: the limit, or a process's part of the batch where that is less."""
    batch = getattr(settings, "batch_tokens", 0) or getattr(settings, "batch_size", 1) * settings.max_length
    longest = settings.max_length
    return max(min(settings.max_tokens_per_forward, math.ceil(batch / processes)), min(longest, batch))


def activations(shape: ModelShape, settings: TrainingSettings, *, tokens: int, on: Machine) -> int:
    """Bytes kept for the backward pass of so many tokens in one forward pass.

    A layer keeps its input, both normed states and what is added in between (4 D), queries and attended values (2 Q),
    keys and values (2 K), and of the MLP gate, up, their product and the activation (4 I). The trunk keeps its input's
    norm and the last states.
    """
    low_rank = settings.lora_rank * len(shape.linears) if settings.method in ("lora", "qlora") else 0
    layer = 4 * shape.width + 2 * shape.query_width + 2 * shape.kv_width + (shape.matrices + 1) * shape.inner + low_rank
    if on.is_cpu and on.is_wide:
        layer += shape.heads * min(settings.max_length, tokens)
    deep = min(shape.layers, settings.last_layers) if settings.method == "last_n" else shape.layers
    numbers = shape.layers * shape.width + layer if settings.gradient_checkpointing else deep * layer
    return tokens * on.number_bytes * (numbers + 3 * shape.width)


def _logits(item: LoadedModel, *, tokens: int) -> int:
    """A chunk's logits in the weights' type, in fp32 and as probabilities, and what is kept for the backward pass.

    A head that learns has its gradient beside that: the embedding's is as large, and where both are one, they are
    added up.
    """
    shape, number = item.shape, item.on.number_bytes
    at_once = LOGIT_CHUNK if item.on.is_cpu else max(LOGIT_CHUNK, LOGITS_AT_ONCE // shape.vocabulary)
    chunk = min(tokens, at_once) * shape.vocabulary * (2 * number + 4)
    if item.method != "full":
        return chunk + tokens * shape.width * number
    kept = tokens * shape.vocabulary * number
    return chunk + (kept if kept <= KEPT_LOGIT_BYTES else 0) + 2 * shape.embedding * number


def _rollout(settings: PPOConfig, loaded: list[LoadedModel], policy: LoadedModel) -> Period:
    """Sampling, between updates: no gradients. LoRA is merged into a copy, and split weights are gathered whole."""
    kept = _kept(loaded)
    number, linears = policy.on.number_bytes, policy.shape.layers * policy.shape.layer_linears
    if policy.sharded:
        kept["weights"] += number * policy.layers
    if policy.method in ("lora", "ia3"):
        kept["weights"] += number * linears
    rows = math.ceil(settings.batch_size / policy.on.processes)
    return _with_cache("sample", kept, settings, policy, rows=rows)


def _reference(loaded: list[LoadedModel]) -> Period:
    """A model that waits in host memory computes: it is brought whole, before anything is kept for a backward pass."""
    kept = _kept(loaded)
    kept["weights"] += max((item.base for item in loaded if item.offloaded), default=0)
    return Period(name="score", **kept)


def _sampling(settings: Any, policy: LoadedModel, *, on: Machine) -> Period:
    kept = _kept([policy])
    if getattr(settings, "weight_format", "full") == "int8":
        kept["weights"] -= (on.number_bytes - 1) * policy.shape.layers * policy.shape.layer_linears
    return _with_cache("sample", kept, settings, policy, rows=settings.batch_size)


def _with_cache(name: str, kept: Mapping[str, int], settings: Any, policy: LoadedModel, *, rows: int) -> Period:
    """Rows in flight: keys and values of every position, and the logits of one token of each."""
    shape, number = policy.shape, policy.on.number_bytes
    cache = rows * settings.max_length * 2 * shape.layers * shape.kv_width * number
    packs = policy.on.is_cpu and not policy.on.is_wide
    packed = shape.layers * shape.layer_linears + shape.embedding
    weights = kept["weights"] + (number * packed if packs else 0)
    return Period(
        name=name,
        weights=weights,
        masters_and_moments=kept["masters_and_moments"],
        logits=rows * shape.vocabulary * (number + 12),
        kv_cache=cache,
    )
