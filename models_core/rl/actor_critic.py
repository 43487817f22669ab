"""The four networks of PPO in as few sets of weights as the memory plan allows.

| method | share_base_weights | reference | value_init | weights in memory |
| --- | --- | --- | --- | --- |
| lora and its like | always | policy, adapter off | head: on the policy's trunk | policy, reward model |
| the same | always | the same | reward: the reward model, an adapter on it | policy, reward model |
| the same | never | a copy | any | policy, reference, reward model, one for the value unless head |
| full, last_n | never | a copy | any | the same |

Every plan samples the same tokens, and sees the same log-probabilities, divergences and scores in its first phase.
Group baselines (rloo, grpo) need no value model at all.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models_core.contract.errors import BadInput
from models_core.contract.records import Message
from models_core.contract.settings import PPOConfig
from models_core.modeling import adapters, chat, forward, loading
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.loading import head
from models_core.modeling.packing import Group, Packed, hidden_states
from models_core.modeling.scorer import check_ensemble
from models_core.rl.rewards.reward_models import Judge, Judges, same_tokens

HEAD = "score."
"""What the weights of a scalar head are called, wherever it sits."""


@dataclass(frozen=True)
class Networks:
    policy: Any
    reference: Any  # the policy itself where its adapter can be switched off
    value: Any  # the policy itself where the head is on its trunk; None where there is no value model
    judges: Judges
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
        dtype: torch.dtype,
    ) -> "Networks":
        """Read the models and choose the weights that learn; `rewards` may name several or none. Raises BadInput."""
        tokenizer = loading.load_tokenizer(model)
        tokenizers = [loading.load_tokenizer(name) for name in rewards]
        first_reads_ids = bool(tokenizers) and same_tokens(tokenizer, tokenizers[0])
        is_shared = _is_shared(settings)
        start = _value_start(settings, first_reads_ids=first_reads_ids)
        how: Any = {"device": device, "dtype": dtype, "quantise": settings.method == "qlora"}

        policy: Any = loading.load_policy(model, **how)
        if start == "head":
            policy.score = _fresh_head(policy)
        policy = adapters.prepare(policy, settings, tokenizer=tokenizer)
        frozen = policy
        if not is_shared or not loading.is_same(reference, model):
            check_reference(reference, model=model, tokenizer=tokenizer)
            frozen = loading.load_policy(reference, **how).requires_grad_(False)

        value = policy if start == "head" else None
        if start == "policy":
            own = loading.new_reward_model(model, **how, seed=settings.seed)
            nn.init.zeros_(head(own).weight)
            value = adapters.prepare(own, settings, tokenizer=tokenizer)
        elif start == "reward":
            own = loading.load_reward_model(rewards[0], **how)
            value = adapters.prepare(own, settings, tokenizer=tokenizer)
        members = []
        for number, (name, reads) in enumerate(zip(rewards, tokenizers, strict=True)):
            is_learning = number == 0 and start == "reward" and is_shared
            judge = value if is_learning else loading.load_reward_model(name, **how).requires_grad_(False)
            members.append(Judge(judge, reads, is_learning))
        if members:
            check_ensemble(
                sum(judge.voices for judge in members),
                objective=settings.reward_objective,
                coef=settings.reward_std_coef,
                reward=",".join(rewards),
            )
        stop_ids = chat.eos_ids(policy, tokenizer)
        judges = Judges(members, tokenizer, stop_ids, settings.max_tokens_per_forward, device)
        return cls(policy, frozen, value, judges, tokenizer, settings, device)

    @property
    def stop_ids(self) -> Sequence[int]:
        """What ends a response of the policy."""
        return self.judges.stop_ids

    @property
    def is_one_trunk(self) -> bool:
        """Whether values come from a head on the policy's own trunk."""
        return self.value is self.policy

    @property
    def value_rate(self) -> float:
        """The value model's learning rate, in the policy's."""
        wanted, usual = self.settings.value_learning_rate, self.settings.learning_rate
        return wanted / usual if wanted and usual else 1.0

    @property
    def learning(self) -> dict[str, tuple[Any, Mapping[str, nn.Parameter]]]:
        """The models that learn, and which of their weights: an optimizer each, so that a large value loss does not
        scale the policy's step. A head on the policy's trunk has its own.
        """
        weights = adapters.trainable(self.policy)
        policy = {name: weight for name, weight in weights.items() if not name.startswith(HEAD)}
        if self.value is None:
            return {"policy": (self.policy, policy)}
        of_value = adapters.trainable(self.value)
        if self.is_one_trunk:
            of_value = {name: weight for name, weight in of_value.items() if name.startswith(HEAD)}
        return {"policy": (self.policy, policy), "value": (self.value, of_value)}

    def log_probs(self, packed: Packed, *, temperature: float | None = None) -> Tensor:
        """Of the response tokens under the policy, by default at the temperature they are sampled with: [M]."""
        return forward.response_log_probs(self.policy, packed, temperature=temperature or self.settings.temperature)

    def log_probs_and_values(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """Both of every response token, of a shared trunk in one pass: [M], [M]. Without a value model values are 0."""
        if not self.is_one_trunk:
            log_probs = self.log_probs(packed)
            return log_probs, torch.zeros_like(log_probs) if self.value is None else self.values(packed)
        states = hidden_states(trunk(self.policy), packed, rows=packed.predictors)
        log_probs = forward.token_log_probs(
            self.policy, states, packed.response_ids, temperature=self.settings.temperature
        )
        return log_probs, self.worth(states).to(log_probs.dtype)

    def values(self, packed: Packed) -> Tensor:
        """Of the state in which each response token is chosen, on the scale of scores: [M].

        A reward model's own head and scale are the start (Ouyang et al. 2022, appendix C.4).
        """
        return self.worth(hidden_states(trunk(self.value), packed, rows=packed.predictors))

    def reference_log_probs(self, packed: Packed) -> Tensor:
        """Of the response tokens under the reference, at the same temperature: [M]."""
        with adapters.adapter_off(self.policy) if self.reference is self.policy else contextlib.nullcontext():
            return forward.response_log_probs(self.reference, packed, temperature=self.settings.temperature)

    def opinions(self, groups: Sequence[Group], messages: Sequence[Sequence[Message]]) -> Tensor:
        """What every head of every reward model scores each episode: [B, voices]; see Judges."""
        return self.judges.opinions(groups, messages)

    def finished_policy(self) -> Any:
        """The policy as it is saved, once training is over."""
        if hasattr(self.policy, "score"):
            del self.policy.score
        return adapters.merge_adapters(self.policy)

    def worth(self, states: Tensor) -> Tensor:
        """What the value model's head makes of its trunk's last hidden states: [N, D] -> [N]."""
        score = head(self.value)
        shift, scale = loading.reward_scale(self.value)
        return (score(states.to(score.weight.dtype)).squeeze(-1) - shift) / scale


def check_reference(reference: str, *, model: str, tokenizer: Any) -> None:
    """Raise BadInput where the two are not the same kind of model over the same tokens: no divergence can be told."""
    if loading.load_tokenizer(reference).get_vocab() != tokenizer.get_vocab():
        raise BadInput(
            f"The reference {reference} has another vocabulary than the policy {model}: what the one says of the "
            "other's tokens means nothing. Take the SFT model that the policy comes from."
        )
    kinds = [loading.shape(name) for name in (reference, model)]
    if kinds[0] != kinds[1]:
        raise BadInput(
            f"The reference {reference} is of another architecture ({kinds[0]}) than the policy {model} ({kinds[1]}): "
            "the policy cannot come from it. Take the SFT model that it comes from."
        )


def _is_shared(settings: PPOConfig) -> bool:
    """Whether frozen networks are learning ones with their adapters off. Raises BadInput where they cannot be."""
    can_be = adapters.keeps_base(settings.method)
    if settings.share_base_weights == "always" and not can_be:
        raise BadInput(
            f"share_base_weights=always needs a method whose adapters can be disabled, and {settings.method} changes "
            "the base weights: take method=lora, or share_base_weights=never."
        )
    return can_be and settings.share_base_weights != "never"


def _value_start(settings: PPOConfig, *, first_reads_ids: bool) -> str:
    """What the value model is made of: "head", "reward", "policy", or "" for none. Raises BadInput."""
    if settings.algorithm != "ppo":
        return ""
    if settings.value_init == "reward" and not first_reads_ids:
        raise BadInput(
            "value_init=reward needs a reward model with the policy's own tokenizer and chat template: it has to say "
            "what the policy's tokens are worth. Take value_init=policy or head."
        )
    if settings.value_init != "auto":
        return settings.value_init
    if adapters.keeps_base(settings.method):
        return "head"
    return "reward" if first_reads_ids else "policy"


def _fresh_head(policy: Any) -> nn.Linear:
    """A scalar head that says 0 of everything, fp32."""
    table = policy.get_input_embeddings().weight
    width = policy.get_output_embeddings().weight.shape[1]  # what the trunk gives, where that is not its inner width
    score = nn.Linear(width, 1, bias=False, device=table.device, dtype=torch.float32)
    nn.init.zeros_(score.weight)
    return score
