"""Frozen reward models as PPO asks them: what every head of each thinks of finished episodes.

Policy and reward models may differ in size, family and tokenizer: a model of other tokens reads the text anew, one of
the same tokens reads the very tokens that were sampled.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from models_core.contract.errors import BadInput
from models_core.contract.records import Message
from models_core.modeling import adapters, chat, forward, heads, loading
from models_core.modeling.packing import Group, sharing_for
from models_core.training import distributed, gradient_cache


@dataclass(frozen=True)
class Judge:
    """A frozen reward model and what it reads text by. `is_learning`: the value model, to be asked with adapter off."""

    model: Any
    tokenizer: Any
    is_learning: bool = False

    @property
    def voices(self) -> int:
        return heads.held(self.model).count


@dataclass(frozen=True)
class Judges:
    """Those of one run, and the policy's tokenizer, in whose tokens episodes come."""

    members: Sequence[Judge]
    tokenizer: Any
    stop_ids: Sequence[int]
    budget: int
    device: torch.device

    @torch.no_grad()
    def opinions(self, groups: Sequence[Group], messages: Sequence[Sequence[Message]]) -> Tensor:
        """What every head of every model scores each episode, a cut one as if it ended there: [B, voices], fp32.

        `groups` hold one response each, `messages` their prompts. Processes share the work. Raises BadInput for an
        answer that a model cannot read.
        """
        mine = distributed.rows_of_rank([group.tokens for group in groups])
        own = [groups[row] for row in mine]
        chats = [messages[row] for row in mine]
        scores = torch.cat([self._of_judge(judge, own, chats) for judge in self.members], dim=1)
        rows = distributed.all_gather(dict(zip(mine, scores.cpu(), strict=True)))
        return torch.stack([rows[row] for row in range(len(groups))]).to(self.device)

    def check_templates(self, messages: Iterable[Sequence[Message]]) -> None:
        """Raise chat.TemplateRefused for a chat that a model with a template of its own could not read."""
        others = [judge for judge in self.members if not same_tokens(self.tokenizer, judge.tokenizer)]
        for chat_ in messages if others else ():
            for judge in others:
                chat.write(judge.tokenizer, chat_)

    def _of_judge(self, judge: Judge, groups: Sequence[Group], messages: Sequence[Sequence[Message]]) -> Tensor:
        if not groups:
            return torch.zeros(0, judge.voices)
        limit = loading.context_length(judge.model)
        if same_tokens(self.tokenizer, judge.tokenizer):
            rows = [_fitted(Group(group.prompt, [self._ended(group.responses[0])]), limit=limit) for group in groups]
        else:
            texts = [chat.decode_response(self.tokenizer, group.responses[0]) for group in groups]
            pairs = zip(messages, texts, strict=True)
            rows = [forward.encode_group(judge.tokenizer, chat_, [text], max_length=limit)[0] for chat_, text in pairs]
        if not all(group.responses for group in rows):
            raise BadInput("An answer is longer than the reward model can read: take a smaller max_new_tokens.")
        with adapters.adapter_off(judge.model) if judge.is_learning else contextlib.nullcontext():
            sharing = sharing_for(judge.model, "auto")
            groups = list(_together(rows, budget=self.budget, sharing=sharing))
            logits = forward.group_head_logits(judge.model, groups, budget=self.budget, device=self.device)
        return heads.scores(judge.model, torch.cat(logits)).float().cpu()

    def _ended(self, response: Sequence[int]) -> list[int]:
        """A response with the end of a turn behind it; another stop id of the policy makes room for it."""
        body = response[:-1] if response[-1] in self.stop_ids else response
        return [*body, chat.end_id(self.tokenizer)]


def same_tokens(one: Any, other: Any) -> bool:
    """Whether two tokenizers write a chat as the same ids."""
    return bool(one.get_vocab() == other.get_vocab() and one.chat_template == other.chat_template)


def _fitted(group: Group, *, limit: int) -> Group:
    """A row cut from the left to what a model can read; without a response where that alone is too long."""
    response = group.responses[0]
    room = limit - len(response)
    if room < min(len(group.prompt), forward.SHORTEST_PROMPT):
        return Group(group.prompt)
    return Group(group.prompt[-room:], [response])


def _together(rows: Sequence[Group], *, budget: int, sharing: str) -> Iterator[Group]:
    """Neighbours with the same prompt as one group, so that it is computed once for them; large ones in pieces."""
    for prompt, members in groupby(rows, key=lambda group: list(group.prompt)):
        yield from gradient_cache.cut(
            Group(prompt, [member.responses[0] for member in members]), budget=budget, sharing=sharing
        )
