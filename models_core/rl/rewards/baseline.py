"""The reward baseline: the score of one response of the reference model to each prompt, subtracted from rewards.

The advantage over the SFT model's response is comparable between easy and hard prompts. Responses and scores are kept
in RUN/baseline.jsonl, one line a prompt, and a resumed run reads them. An iteration samples all its new prompts at
once, so that a repeated iteration samples the same.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from models_core.contract.rows import json_lines
from models_core.contract.rows.prompt_identity import digest
from models_core.contract.runs import processes
from models_core.rl.rewards.base import Completion

SEED_OFFSET = 2**31
"""Seeds of baselines start here; those of rollout iterations, counted from 1, end before."""

SampleReference = Callable[[Sequence[Completion], int], list[Completion]]
"""(completions, seed) -> one completion of the reference model for each one's prompt."""
ScoreCompletions = Callable[[Sequence[Completion]], torch.Tensor]
"""Raw scores of completions: (batch,)."""


class Baseline:
    """Scores of the reference's responses by prompt. `path` is the file that keeps them; `seed` is the run's."""

    def __init__(self, path: Path, *, sample: SampleReference, score: ScoreCompletions, seed: int) -> None:
        self.path = path
        self.sample = sample
        self.score = score
        self.seed = seed
        self.scores: dict[str, float] = {}

    def load(self) -> None:
        """Read the file of a resumed run, from which the run folder has dropped what followed the checkpoint."""
        self.scores = {row["content"]: row["score"] for row in json_lines.written(self.path)}

    def scores_for(self, completions: Sequence[Completion], *, step: int) -> torch.Tensor:
        """Score of the reference's response to each completion's prompt, fp32: (batch,)."""
        keys = [digest(item.prompt.messages) for item in completions]
        new = {key: item for key, item in zip(keys, completions, strict=True) if key not in self.scores}
        if new:
            self._add(list(new.items()), step=step)
        return torch.tensor([self.scores[key] for key in keys], dtype=torch.float32)

    def _add(self, new: Sequence[tuple[str, Completion]], *, step: int) -> None:
        sampled = self.sample([item for _, item in new], self.seed * 2**32 + SEED_OFFSET + step)
        scores = self.score(sampled).tolist()
        self.scores.update((key, score) for (key, _), score in zip(new, scores, strict=True))
        if not processes.is_main():
            return
        with self.path.open("a", encoding="utf-8") as file:
            for (key, _), item, score in zip(new, sampled, scores, strict=True):
                row = {"step": step, "id": item.prompt.id, "content": key, "response": item.text, "score": score}
                file.write(json_lines.line(row))


def _key(row: Mapping[str, Any]) -> str:
    """The prompt's digest; a row of an earlier version holds the messages as text."""
    return str(row["digest"]) if "digest" in row else digest(json.loads(row["content"]))
