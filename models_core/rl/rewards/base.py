"""What every reward source is given and gives back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from models_core.contract import processes
from models_core.contract.errors import BadInput, Halted, Stopped
from models_core.contract.records import Prompt
from models_core.modeling.packing import Group
from models_core.training import distributed


class RewardFailed(Halted):
    """A reward source that cannot be learned from; the message is a sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A prompt and the policy's answer to it.

    `ids` are the answer's tokens in the policy's own tokenizer, with the stop token where `ended`: a source that reads
    by another one takes `text` and tokenises it anew. `log_probs` and `values` are what the sampler knew of each token
    when it drew it; there are values where a head on the policy's trunk gives them.
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


class Source(Protocol):
    """Whoever says how good answers are."""

    def opinions(self, answers: Sequence[Answered]) -> torch.Tensor:
        """What every voice scores each answer, fp32 on the CPU: [B, voices]; NaN where there is no score.

        Only a judge leaves answers without one. Raises RewardFailed, BadInput, Stopped.
        """
        ...


class Shared:
    """A source that one process asks and all hear: a judge costs money, and a function may roll dice."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def opinions(self, answers: Sequence[Answered]) -> torch.Tensor:
        """[B, voices]. What the source raises in the first process is raised in all."""
        if processes.count() == 1:
            return self.source.opinions(answers)
        said: dict[str, Any] = json.loads(distributed.broadcast(json.dumps(self._asked(answers))))
        if "error" in said:
            raise {"RewardFailed": RewardFailed, "BadInput": BadInput}.get(said["kind"], Stopped)(said["error"])
        return torch.tensor(said["opinions"], dtype=torch.float32)

    def _asked(self, answers: Sequence[Answered]) -> dict[str, Any]:
        if not processes.is_main():
            return {}
        try:
            return {"opinions": self.source.opinions(answers).tolist()}
        except (RewardFailed, BadInput, Stopped) as error:
            return {"kind": type(error).__name__, "error": str(error)}
