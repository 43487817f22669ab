"""Policy, reference model, value model and reward models of a PPO run, in as few copies of the weights as possible.

| method | share_base_weights | reference model | value_init | weights in memory |
| --- | --- | --- | --- | --- |
| lora and other adapters | always | policy, adapter off | head: on the policy's trunk | policy, reward model |
| lora and other adapters | always | policy, adapter off | reward: adapter on the reward model | policy, reward model |
| lora and other adapters | never | a copy | any | policy, reference, reward model, value model unless head |
| full, last_n | never | a copy | any | policy, reference, reward model, value model unless head |

With `offload_reference` reference and reward models wait in host memory, and are on the device while they compute.
The first rollout iteration has the same tokens, log-probabilities, KL and scores under every plan. Group baselines
(rloo, grpo) have no value model.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models_core.contract.errors import BadInput
from models_core.contract.settings import PPOConfig
from models_core.modeling import adapters, chat, forward, loading
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.loading import head
from models_core.modeling.packing import Packed, hidden_states
from models_core.modeling.packing import check as check_packed
from models_core.rl.rewards.reward_models import RewardModel, RewardModels, check_ensemble, same_tokens
from models_core.rl.rewards.rollout_rewards import RolloutRewards
from models_core.training import offload

HEAD_PREFIX = "score."
"""Names of a scalar head's weights start with this, in a reward model and on a policy's trunk alike."""


@dataclass(frozen=True)
class ActorCritic:
    policy: Any
    reference: Any  # the policy itself where its adapter can be switched off
    value: Any  # the policy itself where the value head is on its trunk; None without a value model
    rewards: RolloutRewards
    tokenizer: Any
    settings: PPOConfig
    device: torch.device

    @classmethod
    def load(
        cls,
        settings: PPOConfig,
        *,
        model: str,
        reference: str,
        rewards: Sequence[str],
        device: torch.device,
        loading_device: torch.device | None = None,
        dtype: torch.dtype,
        shard: Callable[[Any], None] = lambda network: None,
    ) -> "ActorCritic":
        """Load all models and choose the trained weights. `rewards`: names of reward models, may be empty.

        Models are loaded to `loading_device`, by default the one they compute on; `shard` is called with each as soon
        as it is loaded, and brings it to `device` where that is another one. Raises BadInput.
        """
        tokenizer = loading.load_tokenizer(model)
        tokenizers = [loading.load_tokenizer(name) for name in rewards]
        shares_tokens = bool(tokenizers) and same_tokens(tokenizer, tokenizers[0])
        shares_base = _shares_base(settings)
        value_init = _value_init(settings, shares_tokens=shares_tokens)
        place = loading_device or device
        options: Any = {"device": place, "dtype": dtype, "quantise": settings.method == "qlora"}

        offloads_to = device if settings.offload_reference else None
        if offloads_to is not None:
            offload.check(settings, splits_frozen=True)
        host = offload.host_of(place, is_offloaded=settings.offload_reference)
        frozen_options: Any = options | {"device": host}

        policy: Any = loading.load_policy(model, **options)
        if value_init == "head":
            policy.score = _zero_value_head(policy)
        policy = adapters.prepare(policy, settings, tokenizer=tokenizer)
        shard(policy)
        frozen = policy
        if not shares_base or not loading.is_same(reference, model):
            check_reference(reference, model=model, tokenizer=tokenizer)
            frozen = _frozen(loading.load_policy(reference, **frozen_options), shard, offloads_to=offloads_to)

        value = policy if value_init == "head" else None
        if value_init == "policy":
            separate = loading.new_reward_model(model, **options, seed=settings.seed)
            nn.init.zeros_(head(separate).weight)
            value = adapters.prepare(separate, settings, tokenizer=tokenizer)
        elif value_init == "reward":
            separate = loading.load_reward_model(rewards[0], **options)
            value = adapters.prepare(separate, settings, tokenizer=tokenizer)
        if value is not None:
            shard(value)
        members = []
        for number, (name, own_tokenizer) in enumerate(zip(rewards, tokenizers, strict=True)):
            is_value_model = number == 0 and value_init == "reward" and shares_base
            network: Any = value
            if not is_value_model:
                network = _frozen(loading.load_reward_model(name, **frozen_options), shard, offloads_to=offloads_to)
            members.append(
                RewardModel(
                    network,
                    own_tokenizer,
                    max_length=loading.context_length(network),
                    budget=settings.max_tokens_per_forward,
                    device=device,
                    is_value_model=is_value_model,
                )
            )
        reward_models = RewardModels(members)
        if members:
            check_ensemble(
                reward_models.num_heads,
                objective=settings.reward_objective,
                coef=settings.reward_std_coef,
                reward=",".join(rewards),
            )
        rollout_rewards = RolloutRewards(reward_models, tokenizer, chat.eos_ids(policy, tokenizer))
        return cls(policy, frozen, value, rollout_rewards, tokenizer, settings, device)

    @property
    def stop_ids(self) -> Sequence[int]:
        """Token ids that end a response of the policy."""
        return self.rewards.stop_ids

    @property
    def shares_trunk(self) -> bool:
        """Whether values come from a head on the policy's own trunk."""
        return self.value is self.policy

    @property
    def value_lr_ratio(self) -> float:
        """Learning rate of the value model divided by that of the policy."""
        value_rate, policy_rate = self.settings.value_learning_rate, self.settings.learning_rate
        return value_rate / policy_rate if value_rate and policy_rate else 1.0

    @property
    def trained_weights(self) -> dict[str, tuple[Any, Mapping[str, nn.Parameter]]]:
        """{"policy": (model, weights by name), "value": ...}: one optimizer each.

        Separate optimizers keep a large value loss from scaling the policy's step; a value head on the policy's trunk
        has its own as well.
        """
        weights = adapters.trainable(self.policy)
        policy = {name: weight for name, weight in weights.items() if not name.startswith(HEAD_PREFIX)}
        if self.value is None:
            return {"policy": (self.policy, policy)}
        value = adapters.trainable(self.value)
        if self.shares_trunk:
            value = {name: weight for name, weight in value.items() if name.startswith(HEAD_PREFIX)}
        return {"policy": (self.policy, policy), "value": (self.value, value)}

    def log_probs(self, packed: Packed, *, temperature: float | None = None) -> Tensor:
        """Log-probabilities of the response tokens under the policy, by default at the sampling temperature: [M]."""
        return forward.response_log_probs(self.policy, packed, temperature=temperature or self.settings.temperature)

    def log_probs_and_values(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """Log-probabilities and values of the response tokens, one pass on a shared trunk: [M], [M].

        Values are 0 without a value model.
        """
        if not self.shares_trunk:
            log_probs = self.log_probs(packed)
            return log_probs, torch.zeros_like(log_probs) if self.value is None else self.values(packed)
        states = hidden_states(trunk(self.policy), packed, rows=packed.predictors)
        log_probs = forward.token_log_probs(
            self.policy, states, packed.response_ids, temperature=self.settings.temperature
        )
        return log_probs, self.state_values(states).to(log_probs.dtype)

    def values(self, packed: Packed) -> Tensor:
        """Value of the state in which each response token is chosen, on the scale of scores: [M].

        A value model initialised from a reward model keeps its head and scale (Ouyang et al. 2022, appendix C.4).
        """
        return self.state_values(hidden_states(trunk(self.value), packed, rows=packed.predictors))

    def state_values(self, states: Tensor) -> Tensor:
        """The value head on its trunk's last hidden states: (tokens, width) -> (tokens,)."""
        score = head(self.value)
        shift, scale = loading.reward_scale(self.value)
        return (score(states.to(score.weight.dtype)).squeeze(-1) - shift) / scale

    def reference_on_device(self) -> contextlib.AbstractContextManager[None]:
        """Where the reference has several forward passes: it is brought from host memory once for all of them."""
        return offload.on_device(self.reference)

    def reference_log_probs(self, packed: Packed) -> Tensor:
        """Log-probabilities of the response tokens under the reference model, at the sampling temperature: [M]."""
        is_policy = self.reference is self.policy
        with self.reference_on_device(), adapters.adapter_off(self.policy) if is_policy else contextlib.nullcontext():
            return forward.response_log_probs(self.reference, packed, temperature=self.settings.temperature)

    def finished_policy(self) -> Any:
        """The policy as it is saved: without the value head, adapters merged."""
        if hasattr(self.policy, "score"):
            del self.policy.score
        return adapters.merge_adapters(self.policy)


def check_reference(reference: str, *, model: str, tokenizer: Any) -> None:
    """Raise BadInput where policy and reference differ in vocabulary or architecture: their KL has no meaning."""
    if loading.load_tokenizer(reference).get_vocab() != tokenizer.get_vocab():
        raise BadInput(
            f"The reference {reference} has another vocabulary than the policy {model}, so their log-probabilities "
            "cannot be compared. Take the SFT model that the policy comes from."
        )
    shapes = [loading.shape(name) for name in (reference, model)]
    if shapes[0] != shapes[1]:
        raise BadInput(
            f"The reference {reference} is of another architecture ({shapes[0]}) than the policy {model} "
            f"({shapes[1]}). Take the SFT model that the policy comes from."
        )


def _frozen(network: Any, shard: Callable[[Any], None], *, offloads_to: torch.device | None) -> Any:
    """A model that does not learn, held against transformers' forward while its weights are whole.

    `offloads_to`: the device of a model that waits in host memory.
    """
    network.requires_grad_(False)
    if offloads_to is not None:
        offload.keep_on_host(network, device=offloads_to)
    with offload.on_device(network):
        check_packed(trunk(network))
    shard(network)
    return network


def _shares_base(settings: PPOConfig) -> bool:
    """Whether frozen models are trained ones with their adapters off. Raises BadInput where they cannot be."""
    can_share = adapters.keeps_base(settings.method)
    if settings.share_base_weights == "always" and not can_share:
        raise BadInput(
            f"share_base_weights=always needs a method whose adapters can be disabled, and {settings.method} changes "
            "the base weights: take method=lora, or share_base_weights=never."
        )
    return can_share and settings.share_base_weights != "never"


def _value_init(settings: PPOConfig, *, shares_tokens: bool) -> str:
    """Initialisation of the value model: "head", "reward", "policy", or "" for no value model. Raises BadInput.

    `shares_tokens`: whether the first reward model has the policy's tokenizer and chat template.
    """
    if settings.algorithm != "ppo":
        return ""
    if settings.value_init == "reward" and not shares_tokens:
        raise BadInput(
            "value_init=reward needs a reward model with the policy's own tokenizer and chat template, because it "
            "reads the policy's tokens. Take value_init=policy or head."
        )
    if settings.value_init != "auto":
        return settings.value_init
    if adapters.keeps_base(settings.method):
        return "head"
    return "reward" if shares_tokens else "policy"


def _zero_value_head(policy: Any) -> nn.Linear:
    """A scalar head of zeros, fp32."""
    embedding = policy.get_input_embeddings().weight
    # The trunk's output width, which differs from its inner width in some families.
    width = policy.get_output_embeddings().weight.shape[1]
    score = nn.Linear(width, 1, bias=False, device=embedding.device, dtype=torch.float32)
    nn.init.zeros_(score.weight)
    return score
