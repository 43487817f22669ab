"""Score answers with a reward model: (logit at EOS - shift) / scale, one row of scores a row of answers.

    python -m models_core score --model RM --data rankings.jsonl --out scores.jsonl
    another program | python -m models_core score --model RM --data - --out - | a third

Rows are written as they are scored, so memory doesn't grow with the file, and an interrupted command goes on with
--resume. From standard input, rows are scored as they come. An ensemble's rows say besides how far its heads are apart:
on each answer (std), and on the order of the row's answers (disagreement).
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from models_core.commands.output.resumable_writer import GrowingFile
from models_core.commands.output.stream_batches import STANDARD_INPUT, windows
from models_core.contract import records
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.progress import Ticker
from models_core.contract.records import Answers
from models_core.contract.run_folder import file_sha256
from models_core.contract.settings import ScoreConfig
from models_core.contract.stopping import StopSignal
from models_core.modeling import heads
from models_core.rl.rewards.reward_models import RewardModels
from models_core.training import precision


def run(
    settings: ScoreConfig,
    *,
    model: str,
    data: str | Path,
    out: str | Path,
    device: torch.device,
    stop: StopSignal | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Score the answers of every row of rankings, pairs, sampled responses or demonstrations into OUT.

    `data` and `out` "-" are standard input and output. Raises BadInput, also for an answer too long to be scored where
    the settings don't say to leave a gap, and Stopped.
    """
    data, out, stop = Path(data), Path(out), stop or StopSignal()
    is_stream = data == STANDARD_INPUT
    if is_stream and resume:
        raise BadInput("--resume needs a file: what came from standard input is gone.")
    complaints = _Complaints() if settings.unreadable_rows == "skip" else None
    # A first pass over a file finds what is wrong with it before anything is loaded, and how long it is.
    total = 0 if is_stream else sum(1 for _ in records.stream(data, "answers", unreadable=complaints))
    if not (is_stream or total):
        raise BadInput(f"{data.name}: the file has no rows that can be read.")
    told: list[str] | None = complaints if is_stream or complaints is None else []
    reward_models = RewardModels.load(
        model,
        device=device,
        dtype=precision.dtype_of(precision.resolve(settings.precision, device=device)),
        max_length=settings.max_length,
        budget=settings.max_tokens_per_forward,
        chat_template=settings.chat_template,
    )
    request = {"model": model, "data": None if is_stream else file_sha256(data), "settings": asdict(settings)}
    totals = _Totals()
    seconds = 0.0
    progress = Ticker("rows")
    with GrowingFile(out, request=request, window=settings.batch_size, resume=resume, is_unique=is_stream) as file:
        totals.add(file.kept)
        try:
            for rows in windows(
                data,
                "answers",
                size=settings.batch_size,
                skip=file.rows,
                unreadable=told,
                stop=stop,
            ):
                start = time.perf_counter()
                opinions = reward_models.head_scores([(row.messages, row.texts) for row in rows])
                seconds += time.perf_counter() - start
                if settings.long_responses == "refuse":
                    _check_lengths(rows, opinions, file=data, max_length=reward_models.max_length)
                scored = [{"id": row.id, **said(own)} for row, own in zip(rows, opinions, strict=True)]
                file.add(scored)
                totals.add(scored)
                if not is_stream:
                    progress(file.rows, total)
        except Stopped:
            raise Stopped(_farewell(file, is_stream=is_stream)) from None
        file.finish()
    scored_now = file.rows - len(file.kept)
    return {
        "rows": file.rows,
        "responses": totals.scored,
        "too_long_responses": totals.gaps,
        "unreadable_rows": len(complaints or ()),
        "mean_score": totals.sum / totals.scored if totals.scored else None,
        "seconds": seconds,
        "rankings_per_s": scored_now / seconds if seconds else None,
    }


def said(opinions: Sequence[torch.Tensor | None]) -> dict[str, Any]:
    """What a row says of its answers, from every voice's score of each; null of one that is too long."""
    row: dict[str, Any] = {"scores": [None if voices is None else float(voices.mean()) for voices in opinions]}
    known = [voices for voices in opinions if voices is not None]
    if not known or len(known[0]) == 1:
        return row
    row["std"] = [None if voices is None else float(voices.std(correction=0)) for voices in opinions]
    return row | {"disagreement": heads.disagreement(torch.stack(known))}


class _Complaints(list[str]):
    """Sentences about rows that are left out, said at once."""

    def append(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)
        super().append(sentence)


class _Totals:
    """Sums over all rows that were written."""

    def __init__(self) -> None:
        self.sum = 0.0
        self.scored = self.gaps = 0

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        scores = [score for row in rows for score in row["scores"]]
        known = [score for score in scores if score is not None]
        self.sum += sum(known)
        self.scored += len(known)
        self.gaps += len(scores) - len(known)


def _check_lengths(
    rows: Sequence[Answers], opinions: Sequence[Sequence[torch.Tensor | None]], *, file: Path, max_length: int
) -> None:
    """Raise BadInput for the first answer that was too long to be scored: a gap would be read as a number."""
    for row, own in zip(rows, opinions, strict=True):
        place = next((place for place, voices in enumerate(own, start=1) if voices is None), 0)
        if place:
            raise BadInput(
                f"{records.name_of(file)}: response {place} of the row {row.id!r} is longer than "
                f"max_length ({max_length} tokens) allows."
            )


def _farewell(file: GrowingFile, *, is_stream: bool) -> str:
    """What to say when the command has to end early."""
    if is_stream or not file.rows:
        return f"Stopped; {file.rows} rows are scored."
    return f"Stopped; {file.rows} rows are scored, --resume goes on with the others."
