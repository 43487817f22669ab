"""Scores of reward models: the one implementation behind score, sample, evaluate, the reward report and PPO.

Each model reads text by its own tokenizer, and its logits are put on its own scale, score = (logit - shift) / scale,
which makes separately trained models comparable. An ensemble's heads and separate models count alike: one column each.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Messages
from models_core.modeling import adapters, chat, heads, loading
from models_core.modeling.forward import Encoded, encode_group, group_head_logits
from models_core.modeling.packing import Group
from models_core.training import offload

Chat = tuple[Messages, Sequence[str]]
"""A prompt and responses to it."""


@dataclass(frozen=True)
class RewardModel:
    """A reward model in memory and its tokenizer.

    `max_length`: longest row in tokens; `budget`: tokens per forward pass. `is_value_model`: the model is trained as
    PPO's value model too, so it is read with its adapter off.
    """

    model: Any
    tokenizer: Any
    max_length: int
    budget: int
    device: torch.device
    is_value_model: bool = False

    @classmethod
    def load(
        cls,
        name: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
        max_length: int,
        budget: int,
        chat_template: str = "",
    ) -> "RewardModel":
        """`chat_template`: see chat.give_template; empty keeps the model's own, or the plain one. Raises BadInput."""
        tokenizer = loading.load_tokenizer(name)
        if chat_template:
            chat.give_template(tokenizer, name=name, chat_template=chat_template)
        model = loading.load_reward_model(name, device=device, dtype=dtype)
        max_length = min(max_length, loading.context_length(model))
        return cls(model, tokenizer, max_length=max_length, budget=budget, device=device)

    @property
    def num_heads(self) -> int:
        return heads.heads_of(self.model).count

    def encode(self, messages: Messages, texts: Sequence[str]) -> Encoded:
        """A prompt and its responses in this model's tokens; see forward.encode_group."""
        return encode_group(self.tokenizer, messages, texts, max_length=self.max_length)

    def head_logits(self, groups: Sequence[Group]) -> list[Tensor]:
        """Each head's logit of every response, on the CPU: one (responses, heads) a group."""
        switched = adapters.adapter_off(self.model) if self.is_value_model else contextlib.nullcontext()
        with switched, offload.on_device(self.model):
            return group_head_logits(self.model, groups, budget=self.budget, device=self.device)

    def head_scores(self, groups: Sequence[Group]) -> list[Tensor]:
        """Each head's score of every response, on the CPU: one (responses, heads) a group."""
        return [heads.scores(self.model, logits) for logits in self.head_logits(groups)]

    def score_chats(self, chats: Sequence[Chat]) -> list[list[Tensor | None]]:
        """Each head's score of every response of every chat, (heads,); None for a response too long for the model."""
        encoded = [self.encode(messages, texts) for messages, texts in chats]
        rows: list[list[Tensor | None]] = []
        for item, scores in zip(encoded, self.head_scores([item.group for item in encoded]), strict=True):
            remaining = iter(scores)
            rows.append([next(remaining) if fits else None for fits in item.fits])
        return rows


@dataclass(frozen=True)
class RewardModels:
    """One reward model or several, all in memory at once."""

    members: Sequence[RewardModel]

    @classmethod
    def load(
        cls,
        names: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
        max_length: int,
        budget: int,
        chat_template: str = "",
    ) -> "RewardModels":
        """`names`: reward models separated by commas. For the others see RewardModel.load. Raises BadInput."""
        return cls(
            [
                RewardModel.load(
                    name,
                    device=device,
                    dtype=dtype,
                    max_length=max_length,
                    budget=budget,
                    chat_template=chat_template,
                )
                for name in loading.several(names)
            ]
        )

    @property
    def num_heads(self) -> int:
        """Heads of all models together."""
        return sum(member.num_heads for member in self.members)

    @property
    def max_length(self) -> int:
        """Longest row that every model can read, each in its own tokens."""
        return min(member.max_length for member in self.members)

    def head_scores(self, chats: Sequence[Chat]) -> list[list[Tensor | None]]:
        """Every head's score of each response of every chat, (heads,); None for a response too long for a model."""
        by_member = [member.score_chats(chats) for member in self.members]
        return [
            [_joined([rows[number] for rows in of_chat]) for number in range(len(texts))]
            for (_, texts), *of_chat in zip(chats, *by_member, strict=True)
        ]

    def mean_scores(self, chats: Sequence[Chat]) -> list[list[float | None]]:
        """Mean over heads of each response's score; None for a response too long for a model."""
        return [[None if scores is None else float(scores.mean()) for scores in row] for row in self.head_scores(chats)]


def _joined(scores: Sequence[Tensor | None]) -> Tensor | None:
    known = [item for item in scores if item is not None]
    return torch.cat(known) if len(known) == len(scores) else None


def check_ensemble(num_heads: int, *, objective: str, coef: float, reward: str) -> None:
    """Raise BadInput for a penalty on disagreement with a single head."""
    if num_heads == 1 and (coef > 0 or objective == "worst"):
        setting = "reward_std_coef" if coef > 0 else "reward_objective=worst"
        raise BadInput(
            f"{setting} needs an ensemble, and {reward} is one reward model with one head: train it with ensemble=5, "
            "or name several, separated by commas."
        )


def same_tokens(first: Any, second: Any) -> bool:
    """Whether two tokenizers encode a chat to the same ids."""
    return bool(first.get_vocab() == second.get_vocab() and first.chat_template == second.chat_template)
