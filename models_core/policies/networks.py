"""The four networks of PPO: policy, its frozen reference, the frozen reward model, and the value model it starts.

Under a method that leaves the weights alone there are two sets of them in memory, not four: the reference is the policy
with its adapter off, the reward model is the value model with its adapter off and the head it came with. Of several
reward models the first one starts the value model.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models_core import chat, heads, language_models, methods, scoring
from models_core.batching import micro_batches
from models_core.config import BadInput, PPOConfig
from models_core.language_models import head
from models_core.methods.layers import trunk
from models_core.packing import Group, Packed, hidden_states, pack
from models_core.records import Message
from models_core.scorer import check_ensemble


@dataclass(frozen=True)
class Judge:
    """A frozen reward model and what it reads text by. It may be the value model, with its adapter switched off."""

    model: Any
    tokenizer: Any


Rows = torch.Tensor
"""One row per episode, one column per response token, 0 where a response has ended: [B, T]."""


@dataclass(frozen=True)
class Networks:
    policy: Any
    reference: Any  # the policy itself where its adapter can be switched off
    value: Any
    judges: Sequence[Judge]  # the first is the value model itself where its adapter can be switched off
    tokenizer: Any
    settings: PPOConfig
    device: torch.device

    @classmethod
    def load(
        cls, settings: PPOConfig, *, model: str, reference: str, reward: str, device: torch.device, dtype: torch.dtype
    ) -> "Networks":
        """Read the models and choose the weights that learn; `reward` may name several. Raises BadInput."""
        tokenizer = language_models.load_tokenizer(model)
        first, *others = language_models.several(reward)
        reward_tokenizer = language_models.load_tokenizer(first)
        shared = methods.keeps_base(settings.method)
        how: Any = {"device": device, "dtype": dtype, "quantise": settings.method == "qlora"}

        policy = methods.prepare(language_models.load_policy(model, **how), settings, tokenizer=tokenizer)
        frozen = policy
        if not shared or reference != model:
            frozen = language_models.load_policy(reference, **how).requires_grad_(False)

        reward_model = language_models.load_reward_model(first, **how)
        if not _same_tokens(tokenizer, reward_tokenizer):
            # It cannot read the policy's tokens, so it cannot say what a state is worth: start from the policy's trunk.
            reward_model.requires_grad_(False)
            value = language_models.new_reward_model(model, **how, seed=settings.seed)
            torch.nn.init.zeros_(head(value).weight)
            value = methods.prepare(value, settings, tokenizer=tokenizer)
        elif shared:
            reward_model = value = methods.prepare(reward_model, settings, tokenizer=tokenizer)
        else:
            reward_model.requires_grad_(False)
            value = language_models.load_reward_model(first, **how)
            value = methods.prepare(value, settings, tokenizer=tokenizer)
        judges = [Judge(reward_model, reward_tokenizer)]
        for name in others:
            frozen_model = language_models.load_reward_model(name, **how).requires_grad_(False)
            judges.append(Judge(frozen_model, language_models.load_tokenizer(name)))
        voices = sum(heads.held(judge.model).count for judge in judges)
        check_ensemble(voices, objective=settings.reward_objective, coef=settings.reward_std_coef, reward=reward)
        return cls(policy, frozen, value, judges, tokenizer, settings, device)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """What ends a response of the policy."""
        return chat.eos_ids(self.policy, self.tokenizer)

    def log_probs(self, packed: Packed, *, temperature: float | None = None) -> torch.Tensor:
        """Of the response tokens under the policy, by default at the temperature they are sampled with: [M]."""
        return scoring.response_log_probs(self.policy, packed, temperature=temperature or self.settings.temperature)

    def values(self, packed: Packed) -> torch.Tensor:
        """Of the state in which each response token is chosen, on the scale of scores: [M].

        The reward model's own head and scale are the start (Ouyang et al. 2022, appendix C.4).
        """
        states = hidden_states(trunk(self.value), packed)[packed.predictors]
        logits = head(self.value)(states.float()).squeeze(-1)
        shift, scale = language_models.reward_scale(self.value)
        return (logits - shift) / scale

    @torch.no_grad()
    def measure_policy(self, groups: Sequence[Group]) -> tuple[Rows, Rows, Rows]:
        """(log-probabilities, the reference's, values) of finished episodes."""
        log_probs = self._rows(groups, self.log_probs)
        return log_probs, self._rows(groups, self._reference_log_probs), self._rows(groups, self.values)

    @torch.no_grad()
    def opinions(self, groups: Sequence[Group], messages: Sequence[Sequence[Message]]) -> torch.Tensor:
        """What every head of every reward model scores each episode, a cut one as if it ended there: [B, voices].

        `messages` are the prompts, for a reward model that has another tokenizer and reads the text anew.
        """
        return torch.cat([self._of_judge(judge, groups, messages) for judge in self.judges], dim=1)

    def _of_judge(self, judge: Judge, groups: Sequence[Group], messages: Sequence[Sequence[Message]]) -> torch.Tensor:
        if _same_tokens(self.tokenizer, judge.tokenizer):
            ended = [Group(group.prompt, [self._ended(group.responses[0])]) for group in groups]
        else:
            limit = language_models.context_length(judge.model)
            texts = [chat.decode_response(self.tokenizer, group.responses[0]) for group in groups]
            pairs = zip(messages, texts, strict=True)
            ended = [scoring.encode_group(judge.tokenizer, chat_, [text], max_length=limit)[0] for chat_, text in pairs]
        if not all(group.responses for group in ended):
            raise BadInput("An answer is longer than the reward model can read: take a smaller max_new_tokens.")
        with methods.adapter_off(judge.model) if judge.model is self.value else contextlib.nullcontext():
            logits = scoring.group_head_logits(
                judge.model, ended, budget=self.settings.micro_batch_tokens, device=self.device
            )
        return heads.scores(judge.model, torch.cat(logits)).to(self.device)

    def _ended(self, response: Sequence[int]) -> list[int]:
        """A response with the EOS at its end, which another stop id of the policy may have to make room for."""
        body = response[:-1] if response[-1] in self.stop_ids else response
        return [*body, self.tokenizer.eos_token_id]

    def _reference_log_probs(self, packed: Packed) -> torch.Tensor:
        with methods.adapter_off(self.policy) if self.reference is self.policy else contextlib.nullcontext():
            return scoring.response_log_probs(self.reference, packed, temperature=self.settings.temperature)

    def _rows(self, groups: Sequence[Group], measured: Callable[[Packed], torch.Tensor]) -> Rows:
        """A quantity of every response token, computed in micro-batches and put into rows in the groups' order."""
        rows: list[torch.Tensor] = [torch.empty(0)] * len(groups)
        for batch in micro_batches([group.tokens for group in groups], budget=self.settings.micro_batch_tokens):
            packed = pack([groups[index] for index in batch], device=self.device)
            for index, row in zip(batch, measured(packed).split(packed.response_sizes), strict=True):
                rows[index] = row
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _same_tokens(one: Any, other: Any) -> bool:
    return one.get_vocab() == other.get_vocab() and one.chat_template == other.chat_template
