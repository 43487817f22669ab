"""The interface of reward sources."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from models_core.contract.errors import BadInput, Halted, Stopped
from models_core.contract.rows.records import Prompt
from models_core.contract.runs import processes
from models_core.modeling.packing import Group
from models_core.training import distributed


class RewardFailed(Halted):
    """A reward source gave no usable scores; the message is a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A prompt and the policy's response.

    `ids` are the response's tokens in the policy's tokenizer, with the stop token where `ended`; a source with another
    tokenizer reads `text`. `log_probs` and `values` were noted while sampling, one a token; there are values where a
    head on the policy's trunk gives them.
    """

    prompt: Prompt
    prompt_ids: Sequence[int]
    ids: Sequence[int]
    text: str
    ended: bool
    log_probs: Sequence[float] = ()
    values: Sequence[float] = ()

    @property
    def group(self) -> Group:
        """The prompt with this one response."""
        return Group(self.prompt_ids, [self.ids])


class RewardSource(Protocol):
    def head_scores(self, completions: Sequence[Completion]) -> torch.Tensor:
        """Scores of each completion, fp32 on the CPU: (batch, heads), NaN for a missing score.

        Heads are those of all reward models; other sources have one column. Only an LLM judge leaves scores missing.
        Raises RewardFailed, BadInput, Stopped.
        """
        ...


class BroadcastSource:
    """A source that only the first process asks, for all: an LLM judge costs money, a function may be random."""

    def __init__(self, source: RewardSource) -> None:
        self.source = source

    def head_scores(self, completions: Sequence[Completion]) -> torch.Tensor:
        """(batch, heads). What the source raises in the first process is raised in all."""
        if processes.count() == 1:
            return self.source.head_scores(completions)
        result: dict[str, Any] = json.loads(distributed.broadcast(json.dumps(self._result(completions))))
        if "error" in result:
            raise {"RewardFailed": RewardFailed, "BadInput": BadInput}.get(result["kind"], Stopped)(result["error"])
        return torch.tensor(result["scores"], dtype=torch.float32)

    def _result(self, completions: Sequence[Completion]) -> dict[str, Any]:
        if not processes.is_main():
            return {}
        try:
            return {"scores": self.source.head_scores(completions).tolist()}
        except (RewardFailed, BadInput, Stopped) as error:
            return {"kind": type(error).__name__, "error": str(error)}
