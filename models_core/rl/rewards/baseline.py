"""The reference's own answer to each prompt, drawn once: what an answer has to be better than.

The advantage over the SFT model's answer is the same on easy and on hard prompts. What was drawn and scored is kept in
RUN/baseline.jsonl, a line a prompt, and a resumed run reads it. A phase draws for all its new prompts at once, so that
a phase done again draws the same.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from models_core.contract import json_lines, processes
from models_core.contract.prompt_identity import content
from models_core.rl.rewards.base import Answered

SEEDS = 2**31
"""Seeds of baselines begin here, and those of phases, counted from 1, end before."""

Draw = Callable[[Sequence[Answered], int], list[Answered]]
"""One answer of the reference to the prompt of each of these answers, by a seed."""
Judged = Callable[[Sequence[Answered]], torch.Tensor]
"""The raw scores of answers, [B]."""


class Baseline:
    """`seed` is the run's. `path` is read where it is there: it holds the prompts of the steps that are done."""

    def __init__(self, path: Path, *, draw: Draw, judged: Judged, seed: int) -> None:
        self.path = path
        self.draw = draw
        self.judged = judged
        self.seed = seed
        self.scores: dict[str, float] = {}

    def restore(self) -> None:
        """Take up what a resumed run has drawn before. The run folder has dropped what came after its checkpoint."""
        self.scores = {row["content"]: row["score"] for row in json_lines.written(self.path)}

    def of(self, answers: Sequence[Answered], *, step: int) -> torch.Tensor:
        """What the reference's answer to each answer's prompt scored: [B], fp32."""
        keys = [content(answer.prompt.messages) for answer in answers]
        new = {key: answer for key, answer in zip(keys, answers, strict=True) if key not in self.scores}
        if new:
            self._add(list(new.items()), step=step)
        return torch.tensor([self.scores[key] for key in keys], dtype=torch.float32)

    def _add(self, new: Sequence[tuple[str, Answered]], *, step: int) -> None:
        drawn = self.draw([answer for _, answer in new], self.seed * 2**32 + SEEDS + step)
        scores = self.judged(drawn).tolist()
        self.scores.update((key, score) for (key, _), score in zip(new, scores, strict=True))
        if not processes.is_main():
            return
        with self.path.open("a", encoding="utf-8") as file:
            for (key, _), answer, score in zip(new, drawn, scores, strict=True):
                row = {"step": step, "id": answer.prompt.id, "content": key, "response": answer.text, "score": score}
                file.write(json_lines.line(row))
