"""What rows in flight are besides numbers: whose they are, what they have said, and what their prompts share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SHORTEST_SHARED = 8
"""A beginning that all prompts share (a system turn) is computed once if it has this many tokens."""


@dataclass(frozen=True, kw_only=True)
class RowId:
    """A response in the making: the index of its prompt and its number among the prompt's samples."""

    prompt: int
    number: int


class TokenHistory:
    """The ids of B rows so far, prompts up against one width, which is that of every row: T."""

    def __init__(
        self, prompts: Sequence[Sequence[int]], slots: Sequence[int], *, max_new_tokens: int, device: torch.device
    ) -> None:
        """Row i begins with prompts[slots[i]]; padding repeats an id of the row's own prompt."""
        self.width = max(map(len, prompts))
        padded = [[ids[0]] * (self.width - len(ids)) + list(ids) + [ids[0]] * max_new_tokens for ids in prompts]
        self.ids = torch.tensor(padded, device=device)[torch.tensor(slots, device=device)]

    @property
    def token_ids(self) -> Tensor:
        """Ids of prompt and response so far, repeats included: [B, T]."""
        return self.ids[:, : self.width]

    def append(self, tokens: Tensor) -> None:
        """One more token a row: [B]."""
        self.ids[:, self.width] = tokens
        self.width += 1

    def reindex(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was."""
        self.ids = self.ids[rows]


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, leaving each at least one of its own; 0 where that is hardly any."""
    shortest = min(map(len, prompts))
    same = next((place for place in range(shortest) if len({ids[place] for ids in prompts}) > 1), shortest)
    same = min(same, shortest - 1)
    return same if len(prompts) > 1 and same >= SHORTEST_SHARED else 0
