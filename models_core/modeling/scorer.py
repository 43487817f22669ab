"""A reward model ready to score texts, or several that are asked together.

Each reads the text by its own tokenizer, and what it says is put on its own scale first: shift and scale make scores of
models comparable that were trained apart. The heads of an ensemble count as one voice each.
"""

from collections.abc import Sequence

import torch

from models_core.contract.errors import BadInput
from models_core.contract.records import Messages
from models_core.modeling import chat, heads, loading
from models_core.modeling.forward import encode_group, group_head_logits


class Scorer:
    """One reward model, or several by names parted by commas. All are in memory at once."""

    def __init__(
        self,
        names: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
        max_length: int,
        budget: int,
        chat_template: str = "",
    ) -> None:
        """`chat_template`: see chat.give_template; where it is empty, a model that has none gets the plain one."""
        self.members = [
            _Member(name, device=device, dtype=dtype, max_length=max_length, budget=budget, chat_template=chat_template)
            for name in loading.several(names)
        ]

    @property
    def voices(self) -> int:
        """How many heads there are in all."""
        return sum(heads.held(member.model).count for member in self.members)

    @property
    def max_length(self) -> int:
        """The longest row that every one of them can read, in its own tokens."""
        return min(member.max_length for member in self.members)

    def opinions(self, chats: Sequence[tuple[Messages, Sequence[str]]]) -> list[list[torch.Tensor | None]]:
        """What every voice scores each text of every chat, [voices]; None where a text is longer than one can read."""
        of_members = [member.opinions(chats) for member in self.members]
        return [
            [_joined([rows[number] for rows in of_chat]) for number in range(len(texts))]
            for (_, texts), *of_chat in zip(chats, *of_members, strict=True)
        ]

    def scores(self, chats: Sequence[tuple[Messages, Sequence[str]]]) -> list[list[float | None]]:
        """The mean score of every text of every chat, in order; None for one that is too long."""
        return [[None if text is None else float(text.mean()) for text in row] for row in self.opinions(chats)]


def check_ensemble(voices: int, *, objective: str, coef: float, reward: str) -> None:
    """Raise BadInput where a price on disagreement is asked for and there is nobody to disagree."""
    if voices == 1 and (coef > 0 or objective == "worst"):
        wish = "reward_std_coef" if coef > 0 else "reward_objective=worst"
        raise BadInput(
            f"{wish} needs an ensemble, and {reward} is one reward model with one head: train it with ensemble=5, "
            "or name several, parted by commas."
        )


class _Member:
    def __init__(
        self, name: str, *, device: torch.device, dtype: torch.dtype, max_length: int, budget: int, chat_template: str
    ) -> None:
        self.tokenizer = loading.load_tokenizer(name)
        if chat_template:
            chat.give_template(self.tokenizer, name=name, chat_template=chat_template)
        self.model = loading.load_reward_model(name, device=device, dtype=dtype)
        self.max_length = min(max_length, loading.context_length(self.model))
        self.budget = budget
        self.device = device

    def opinions(self, chats: Sequence[tuple[Messages, Sequence[str]]]) -> list[list[torch.Tensor | None]]:
        encoded = [encode_group(self.tokenizer, turns, texts, max_length=self.max_length) for turns, texts in chats]
        logits = group_head_logits(self.model, [item.group for item in encoded], budget=self.budget, device=self.device)
        rows: list[list[torch.Tensor | None]] = []
        for own, item in zip(logits, encoded, strict=True):
            remaining = iter(heads.scores(self.model, own))
            rows.append([next(remaining) if fit else None for fit in item.fits])
        return rows


def _joined(opinions: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    known = [opinion for opinion in opinions if opinion is not None]
    return torch.cat(known) if len(known) == len(opinions) else None
