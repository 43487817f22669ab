"""Reward models as a reward source: scores of rollouts by the reward models in PPO's memory.

Policy and reward models may differ in size, family and tokenizer: a model with the policy's tokens reads the sampled
token ids, any other one reads the decoded text.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Message
from models_core.modeling import chat, forward
from models_core.modeling.packing import Group, sharing_for
from models_core.rl.rewards.base import Completion, RewardFailed
from models_core.rl.rewards.reward_models import RewardModel, RewardModels, same_tokens
from models_core.training import distributed, gradient_cache


@dataclass(frozen=True)
class RolloutRewards:
    """`tokenizer` and `stop_ids` are the policy's: rollouts come in its tokens."""

    models: RewardModels
    tokenizer: Any
    stop_ids: Sequence[int]

    def head_scores(self, completions: Sequence[Completion]) -> Tensor:
        """Every head's score of each completion, fp32 on the CPU: (batch, heads).

        Raises RewardFailed where a score is not a finite number, BadInput for a response that a model cannot read.
        """
        scores = self.score_groups([item.group for item in completions], [item.prompt.messages for item in completions])
        if not scores.isfinite().all():
            raise RewardFailed("The reward model gave a score that is not a finite number.")
        return scores

    @torch.no_grad()
    def score_groups(self, groups: Sequence[Group], messages: Sequence[Sequence[Message]]) -> Tensor:
        """Every head's score of each group's one response, fp32 on the CPU: (batch, heads).

        `messages`: the groups' prompts. A truncated response is scored as if it ended there. Processes share the work.
        """
        own_rows = distributed.rows_of_rank([group.tokens for group in groups])
        own_groups = [groups[row] for row in own_rows]
        own_messages = [messages[row] for row in own_rows]
        scores = torch.cat([self._scores_of(model, own_groups, own_messages) for model in self.models.members], dim=1)
        rows = distributed.all_gather(dict(zip(own_rows, scores.cpu(), strict=True)))
        return torch.stack([rows[row] for row in range(len(groups))])

    def check_templates(self, messages: Iterable[Sequence[Message]]) -> None:
        """Raise chat.TemplateRefused for a chat that a model with another chat template cannot read."""
        others = [model for model in self.models.members if not same_tokens(self.tokenizer, model.tokenizer)]
        for turns in messages if others else ():
            for model in others:
                chat.write(model.tokenizer, turns)

    def _scores_of(self, model: RewardModel, groups: Sequence[Group], messages: Sequence[Sequence[Message]]) -> Tensor:
        if not groups:
            model.head_scores([])  # the other processes may wait for this one's part of split weights
            return torch.zeros(0, model.num_heads)
        if same_tokens(self.tokenizer, model.tokenizer):
            rows = [
                _truncate_prompt(Group(group.prompt, [self._with_eos(group.responses[0])]), limit=model.max_length)
                for group in groups
            ]
        else:
            texts = [chat.decode_response(self.tokenizer, group.responses[0]) for group in groups]
            rows = [model.encode(tuple(turns), [text]).group for turns, text in zip(messages, texts, strict=True)]
        if not all(group.responses for group in rows):
            raise BadInput("A response is longer than the reward model can read: take a smaller max_new_tokens.")
        sharing = sharing_for(model.model, "auto")
        return torch.cat(model.head_scores(list(_merge_prompts(rows, budget=model.budget, sharing=sharing)))).float()

    def _with_eos(self, response: Sequence[int]) -> list[int]:
        """A response that ends with the end-of-turn token, in place of any other stop token."""
        body = response[:-1] if response[-1] in self.stop_ids else response
        return [*body, chat.end_id(self.tokenizer)]


def _truncate_prompt(group: Group, *, limit: int) -> Group:
    """The prompt cut from the left to the model's limit; no response where even a short prompt leaves no room."""
    response = group.responses[0]
    room = limit - len(response)
    if room < min(len(group.prompt), forward.SHORTEST_PROMPT):
        return Group(group.prompt)
    return Group(group.prompt[-room:], [response])


def _merge_prompts(rows: Sequence[Group], *, budget: int, sharing: str) -> Iterator[Group]:
    """Neighbouring rows with the same prompt as one group, in pieces of at most `budget` tokens."""
    for prompt, members in groupby(rows, key=lambda group: list(group.prompt)):
        yield from gradient_cache.cut(
            Group(prompt, [member.responses[0] for member in members]), budget=budget, sharing=sharing
        )
