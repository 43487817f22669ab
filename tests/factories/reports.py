"""Reports of reward models that no training is needed for: judgments with made-up logits, measured for real."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models_core.contract.rows.records import RankedResponse, Ranking
from models_core.reward_report import assembly
from models_core.reward_report.heldout_judgments import ScoredJudgment
from rlhf.models import TrainingRun
from rlhf.runs.execution.run_files import RunFiles

WORDS = ("Boil the eggs for ten minutes.", "把鸡蛋煮十分钟。", "**Ten** minutes, then `cold` water.", "I don’t know.")


def made_up(
    count: int = 120,
    *,
    labelers: Sequence[str] = ("ann", "bob"),
    ids: Sequence[str] = (),
    subsets: Sequence[str] = (),
    noise: float = 1.0,
) -> list[ScoredJudgment]:
    """Judgments of 2 to 4 responses each in two languages; every other prompt by two labelers. `ids` name the first,
    prompts are of the `subsets` in turn."""
    generator = random.Random(0)
    names = iter(ids)
    judgments = []
    for number in range(count):
        size = generator.choice((2, 2, 3, 4))
        ranks = generator.sample(range(1, size + 1), size)
        logits = tuple(generator.gauss(-rank, noise) for rank in ranks)
        lengths = tuple(generator.randint(3, 60) for _ in ranks)
        for labeler in labelers[: 1 + number % 2]:
            said = ranks if labeler == labelers[0] or generator.random() < 0.7 else ranks[::-1]
            responses = tuple(
                RankedResponse(text=f"{WORDS[index]} ({number})", rank=rank, model=f"kindness/policy-{number % 3}")
                for index, rank in enumerate(said)
            )
            ranking = Ranking(
                id=next(names, f"row-{number}-{labeler}"),
                messages=({"role": "user", "content": f"How do I boil {number} eggs?"},),
                responses=responses,
                labeler=labeler,
                judge="human" if number % 5 else "gpt-4",
                lang="zh" if number % 4 == 0 else "en",
                source="written by labelers",
                margin=float(generator.randint(0, 3)),
                subset=subsets[number % len(subsets)] if subsets else None,
            )
            judgments.append(ScoredJudgment(ranking=ranking, logits=logits, lengths=lengths))
    return judgments


NEWEST = {
    "judgments": 40, "measured": 40, "known": True, "before": 0.74,
    "accuracy": 0.61, "low": 0.55, "high": 0.67, "pairs": 110, "prompts": 40, "small": False,
    "now": {"accuracy": 0.7, "low": 0.4, "high": 0.9, "pairs": 12, "prompts": 6, "small": True},
}  # fmt: skip


def leave_report(run: TrainingRun, judgments: Sequence[ScoredJudgment], *, newest: Any = None) -> Path:
    """Put the report of these judgments where the run's training would have left it."""
    folder = RunFiles(run).run
    folder.mkdir(parents=True, exist_ok=True)
    all_rankings = [judgment.ranking for judgment in judgments]
    assembly.write(folder, assembly.build(judgments, all_rankings=all_rankings, shift=-2.0, scale=1.2, newest=newest))
    return folder / "report.json"
