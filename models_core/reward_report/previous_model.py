"""The reward model before this one, on judgments made since: how fast reward models age.

Touvron et al. 2023 (Llama 2, section 3.2.2) found that a reward model's accuracy falls on the answers of a policy that
has moved on, and gathered new judgments for each policy. The figure that shows it has to be taken before a model learns
from these judgments. The model before never did, so it can be taken at any time: a run folder keeps what its model was
trained on and measured with.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models_core.contract import records
from models_core.contract.errors import BadInput
from models_core.contract.records import Ranking
from models_core.modeling import loading
from models_core.reward_report import scored_judgments
from models_core.reward_report.heldout_judgments import Judged, comparison, pairs_of
from models_core.reward_report.measures import pair_accuracy

MOST_JUDGMENTS = 2000
"""The last so many are measured."""


@dataclass(frozen=True, kw_only=True)
class Newest:
    """The judgments of answers that the reward model `previous` has not seen.

    before: its accuracy on what was held out from it then, where its run folder says so.
    is_known: whether it has a run folder, which says what it has seen; of another's model nobody knows.
    """

    previous: str
    judgments: tuple[Ranking, ...]
    before: float | None
    is_known: bool


def since(previous: str, rankings: Sequence[Ranking]) -> Newest:
    """Those of the rankings whose answers are new to a reward model. Raises BadInput where it is none."""
    if not loading.is_reward_model(previous):
        raise BadInput(f"{previous} is not a reward model (--previous).")
    run = Path(previous).parent
    document = _json(run / "run.json")
    is_known = document.get("stage") == "reward"
    files = [entry["file"] for entry in document.get("data", {}).values()] if is_known else []
    paths = [run / "data" / name for name in files if Path(name).stem in ("rankings", "evaluation")]
    seen = {comparison(row) for path in paths for row in records.read(path, "rankings", unreadable=[])}
    before = _json(run / "result.json").get("metrics", {}).get("accuracy") if is_known else None
    fresh = tuple(ranking for ranking in rankings if comparison(ranking) not in seen)
    return Newest(previous=previous, judgments=fresh, before=before, is_known=is_known)


def measure(
    newest: Newest,
    *,
    now: Sequence[Judged],
    device: torch.device,
    dtype: torch.dtype,
    max_length: int,
    budget: int,
) -> dict[str, Any]:
    """The accuracy of the model before on what is new to it, and of the new model on what was held out of that.

    `now` are the held-out judgments with the new model's logits.
    """
    taken = newest.judgments[-MOST_JUDGMENTS:]
    scored: list[Judged] = []
    if taken:
        scored = scored_judgments.by_model(
            newest.previous, taken, device=device, dtype=dtype, max_length=max_length, budget=budget
        ).judgments
    fresh = {comparison(ranking) for ranking in newest.judgments}
    held_out = [judged for judged in now if comparison(judged.ranking) in fresh]
    return {
        "judgments": len(newest.judgments),
        "measured": len(taken),
        "known": newest.is_known,
        "before": newest.before,
        **pair_accuracy.overall(pairs_of(scored)).figures(),
        "now": pair_accuracy.overall(pairs_of(held_out)).figures(),
    }


def _json(path: Path) -> dict[str, Any]:
    """A document of a run folder; {} where there is none that can be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
