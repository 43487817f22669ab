"""Score answers with a reward model: (logit at EOS - shift) / scale, one row of scores a row of answers.

An ensemble's rows say besides how far its heads are apart: on each answer (std), and on the order of the row's answers
(disagreement).
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from models_core import heads, precision, records
from models_core.config import BadInput, ScoreConfig
from models_core.records import Answers
from models_core.run_folder import write_lines
from models_core.scorer import Scorer


def run(
    settings: ScoreConfig, *, model: str, data: str | Path, out: str | Path, device: torch.device
) -> dict[str, Any]:
    """Score the answers of every row of rankings, pairs, sampled responses or demonstrations into OUT.

    Raises BadInput, also for an answer too long to be scored, where the settings don't say to leave a gap.
    """
    rows: list[Answers] = records.read(data, "answers")
    dtype = precision.dtype_of(precision.resolve(settings.precision, device=device))
    scorer = Scorer(
        model, device=device, dtype=dtype, max_length=settings.max_length, budget=settings.micro_batch_tokens
    )
    start = time.perf_counter()
    opinions = scorer.opinions([(row.messages, row.texts) for row in rows])
    seconds = time.perf_counter() - start
    for row, own in zip(rows, opinions, strict=True):
        if settings.long_responses == "refuse" and (place := _too_long(own)):
            raise BadInput(
                f"{Path(data).name}: response {place} of the row {row.id!r} is longer than "
                f"max_length ({scorer.max_length} tokens) allows."
            )
    write_lines(Path(out), (json.dumps({"id": row.id, **said(own)}) for row, own in zip(rows, opinions, strict=True)))
    known = [opinion for own in opinions for opinion in own if opinion is not None]
    return {
        "rows": len(rows),
        "responses": len(known),
        "too_long_responses": sum(map(len, opinions)) - len(known),
        "mean_score": float(torch.cat(known).mean()) if known else None,
        "seconds": seconds,
        "rankings_per_s": len(rows) / seconds,
    }


def said(opinions: Sequence[torch.Tensor | None]) -> dict[str, Any]:
    """What a row says of its answers, from every voice's score of each; null of one that is too long."""
    row: dict[str, Any] = {"scores": [None if voices is None else float(voices.mean()) for voices in opinions]}
    known = [voices for voices in opinions if voices is not None]
    if not known or len(known[0]) == 1:
        return row
    row["std"] = [None if voices is None else float(voices.std(correction=0)) for voices in opinions]
    return row | {"disagreement": heads.disagreement(torch.stack(known))}


def _too_long(opinions: Sequence[torch.Tensor | None]) -> int:
    """The place, from 1, of the first response that was too long; 0 where none was."""
    return next((place for place, voices in enumerate(opinions, start=1) if voices is None), 0)
