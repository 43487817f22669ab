"""The previous reward model on judgments made since: how fast reward models become outdated.

Touvron et al. 2023 (Llama 2, section 3.2.2) found that a reward model's accuracy falls on responses of a newer policy,
and collected new judgments for each policy. The previous model never trains on the new judgments, so it can
be evaluated on them at any time: its run folder keeps what it was trained and evaluated on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.rows import row_parser
from models_core.contract.rows.records import Ranking
from models_core.modeling import loading
from models_core.reward_report import scored_judgments
from models_core.reward_report.heldout_judgments import ScoredJudgment, comparison_key, ordered_pairs
from models_core.reward_report.measures import pair_accuracy

MAX_JUDGMENTS = 2000
"""The latest judgments that are scored, at most."""


@dataclass(frozen=True, kw_only=True)
class NewJudgments:
    """The judgments of responses that the reward model `previous` has not seen.

    accuracy_before: its accuracy on its own held-out judgments, where its run folder has it. is_known: whether it has a
    run folder; without one it is unknown what it has seen.
    """

    previous: str
    judgments: tuple[Ranking, ...]
    accuracy_before: float | None
    is_known: bool


def new_judgments(previous: str, rankings: Sequence[Ranking]) -> NewJudgments:
    """The rankings whose responses are new to a reward model. Raises BadInput where `previous` is none."""
    if not loading.is_reward_model(previous):
        raise BadInput(f"{previous} is not a reward model (--previous).")
    run = Path(previous).parent
    document = _read_json(run / "run.json")
    is_known = document.get("stage") == "reward"
    files = [entry["file"] for entry in document.get("data", {}).values()] if is_known else []
    paths = [run / "data" / name for name in files if Path(name).stem in ("rankings", "evaluation")]
    seen = {comparison_key(row) for path in paths for row in row_parser.read(path, "rankings", unreadable=[])}
    accuracy = _read_json(run / "result.json").get("metrics", {}).get("accuracy") if is_known else None
    new = tuple(ranking for ranking in rankings if comparison_key(ranking) not in seen)
    return NewJudgments(previous=previous, judgments=new, accuracy_before=accuracy, is_known=is_known)


def evaluate(
    new: NewJudgments,
    *,
    current: Sequence[ScoredJudgment],
    device: torch.device,
    dtype: torch.dtype,
    max_length: int,
    budget: int,
) -> dict[str, Any]:
    """Accuracy of the previous model on what is new to it, and of the current model on the held-out part of that.

    `current`: held-out judgments with the current model's logits.
    """
    latest = new.judgments[-MAX_JUDGMENTS:]
    scored: list[ScoredJudgment] = []
    if latest:
        scored = scored_judgments.score_rankings(
            new.previous, latest, device=device, dtype=dtype, max_length=max_length, budget=budget
        ).judgments
    keys = {comparison_key(ranking) for ranking in new.judgments}
    held_out = [judgment for judgment in current if comparison_key(judgment.ranking) in keys]
    return {
        "judgments": len(new.judgments),
        "measured": len(latest),
        "known": new.is_known,
        "before": new.accuracy_before,
        **pair_accuracy.accuracy(ordered_pairs(scored)).figures(),
        "now": pair_accuracy.accuracy(ordered_pairs(held_out)).figures(),
    }


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON document of a run folder; {} where it cannot be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
