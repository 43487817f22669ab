"""Score responses with a reward model: (logit at EOS - shift) / scale, one row of scores per row of responses.

    python -m models_core score --model RM --data rankings.jsonl --out scores.jsonl
    another program | python -m models_core score --model RM --data - --out - | a third

Rows are written as they are scored, so memory doesn't grow with the file, and an interrupted command goes on with
--resume. From standard input, rows are scored as they come. An ensemble's rows also hold the standard deviation of its
heads' scores of each response (std), and their disagreement on the order of the row's responses (disagreement).
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from models_core.commands.output.resumable_writer import ResumableWriter
from models_core.commands.output.stream_batches import STANDARD_INPUT, windows
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.rows import row_parser
from models_core.contract.rows.records import PromptResponses
from models_core.contract.runs import model_places
from models_core.contract.runs.progress import Ticker
from models_core.contract.runs.run_folder import file_sha256
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import ScoreConfig
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
    """Score the responses of every row of rankings, pairs, sampled responses or demonstrations into OUT.

    `data` and `out` "-" are standard input and output. Raises BadInput, also for a response too long to be scored where
    the settings don't say to leave a gap, and Stopped.
    """
    data, out, stop = Path(data), Path(out), stop or StopSignal()
    is_stream = data == STANDARD_INPUT
    if is_stream and resume:
        raise BadInput("--resume needs a file: what came from standard input is gone.")
    complaints = _Complaints() if settings.unreadable_rows == "skip" else None
    # A first pass over a file finds what is wrong with it before anything is loaded, and how long it is.
    total = 0 if is_stream else sum(1 for _ in row_parser.stream(data, "responses", unreadable=complaints))
    if not (is_stream or total):
        raise BadInput(f"{data.name}: the file has no rows that can be read.")
    unreadable: list[str] | None = complaints if is_stream or complaints is None else []
    reward_models = RewardModels.load(
        model,
        device=device,
        dtype=precision.dtype_of(precision.resolve(settings.precision, device=device)),
        max_length=settings.max_length,
        budget=settings.max_tokens_per_forward,
        chat_template=settings.chat_template,
    )
    digest = None if is_stream else file_sha256(data)
    request = {"model": model_places.stored(model), "data": digest, "settings": asdict(settings)}
    totals = _Totals()
    seconds = 0.0
    progress = Ticker("rows")
    with ResumableWriter(out, request=request, window=settings.batch_size, resume=resume, is_unique=is_stream) as file:
        totals.add(file.kept)
        try:
            for rows in windows(
                data,
                "responses",
                size=settings.batch_size,
                skip=file.rows,
                unreadable=unreadable,
                stop=stop,
            ):
                start = time.perf_counter()
                head_scores = reward_models.head_scores([(row.messages, row.texts) for row in rows])
                seconds += time.perf_counter() - start
                if settings.long_responses == "refuse":
                    _check_lengths(rows, head_scores, file=data, max_length=reward_models.max_length)
                scored = [{"id": row.id, **score_row(own)} for row, own in zip(rows, head_scores, strict=True)]
                file.add(scored)
                totals.add(scored)
                if not is_stream:
                    progress(file.rows, total)
        except Stopped:
            raise Stopped(_stop_message(file, is_stream=is_stream)) from None
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


def score_row(head_scores: Sequence[torch.Tensor | None]) -> dict[str, Any]:
    """Scores of a row's responses, from those of all heads: [heads] each, None of one that is too long."""
    row: dict[str, Any] = {"scores": [None if scores is None else float(scores.mean()) for scores in head_scores]}
    known = [scores for scores in head_scores if scores is not None]
    if not known or len(known[0]) == 1:
        return row
    row["std"] = [None if scores is None else float(scores.std(correction=0)) for scores in head_scores]
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
    rows: Sequence[PromptResponses],
    head_scores: Sequence[Sequence[torch.Tensor | None]],
    *,
    file: Path,
    max_length: int,
) -> None:
    """Raise BadInput for the first response that was too long to be scored: a gap would be read as a number."""
    for row, own in zip(rows, head_scores, strict=True):
        place = next((place for place, scores in enumerate(own, start=1) if scores is None), 0)
        if place:
            raise BadInput(
                f"{row_parser.name_of(file)}: response {place} of the row {row.id!r} is longer than "
                f"max_length ({max_length} tokens) allows."
            )


def _stop_message(file: ResumableWriter, *, is_stream: bool) -> str:
    """The last message when the command has to end early."""
    if is_stream or not file.rows:
        return f"Stopped; {file.rows} rows are scored."
    return f"Stopped; {file.rows} rows are scored, --resume goes on with the others."
