"""Score answers with a reward model: (logit at EOS - shift) / scale, one row of scores a row of answers."""

import json
import time
from pathlib import Path
from typing import Any

import torch

from models_core import language_models, precision, records
from models_core.config import BadInput, ScoreConfig
from models_core.records import Answers, Messages
from models_core.run_folder import write_lines
from models_core.scoring import encode_group, group_logits


class Scorer:
    """A reward model with its tokenizer, scale and limits, ready to score texts."""

    def __init__(self, name: str, *, device: torch.device, dtype: torch.dtype, max_length: int, budget: int) -> None:
        self.tokenizer = language_models.load_tokenizer(name)
        self.model = language_models.load_reward_model(name, device=device, dtype=dtype)
        self.max_length = min(max_length, language_models.context_length(self.model))
        self.budget = budget
        self.device = device

    def scores(self, chats: list[tuple[Messages, tuple[str, ...]]]) -> list[list[float | None]]:
        """A score for every text of every chat, in order; None for a text that is longer than the model can read."""
        encoded = [encode_group(self.tokenizer, chat, texts, max_length=self.max_length) for chat, texts in chats]
        logits = group_logits(self.model, [chat.group for chat in encoded], budget=self.budget, device=self.device)
        shift, scale = language_models.reward_scale(self.model)
        rows: list[list[float | None]] = []
        for own, chat in zip(logits, encoded, strict=True):
            remaining = iter(own)
            rows.append([(next(remaining) - shift) / scale if fit else None for fit in chat.fits])
        return rows


def run(
    settings: ScoreConfig, *, model: str, data: str | Path, out: str | Path, device: torch.device
) -> dict[str, Any]:
    """Score the answers of every row of rankings, pairs, sampled responses or demonstrations into OUT.

    Raises BadInput, also for an answer too long to be scored: a gap in the numbers would be read as a number.
    """
    rows: list[Answers] = records.read(data, "answers")
    dtype = precision.dtype_of(precision.resolve(settings.precision, device=device))
    scorer = Scorer(
        model, device=device, dtype=dtype, max_length=settings.max_length, budget=settings.micro_batch_tokens
    )
    start = time.perf_counter()
    scores = scorer.scores([(row.messages, row.texts) for row in rows])
    seconds = time.perf_counter() - start
    for row, own in zip(rows, scores, strict=True):
        if None in own:
            raise BadInput(
                f"{Path(data).name}: response {own.index(None) + 1} of the row {row.id!r} is longer than "
                f"max_length ({scorer.max_length} tokens) allows."
            )
    write_lines(
        Path(out),
        (json.dumps({"id": row.id, "scores": own}) for row, own in zip(rows, scores, strict=True)),
    )
    flat = [score for own in scores for score in own if score is not None]
    return {
        "rows": len(rows),
        "responses": len(flat),
        "mean_score": sum(flat) / len(flat),
        "seconds": seconds,
        "rankings_per_s": len(rows) / seconds,
    }
