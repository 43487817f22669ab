"""A finished PPO run, as its page shows it: what was measured, responses along the way, the picture."""

import json
import math
import shutil
from typing import Any

from annotate.models import Project
from rlhf.models import RunMetric, Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles

QUESTIONS = ("What is a good name for a bakery on a hill?", "Explain in two sentences why the sky is blue.")
RESPONSES = (
    "A good name for a bakery says bakery. You could take the name of the hill, or of the street.",
    "Hilltop Bread. It says where you are and what you sell.",
    "Hilltop Bread! It is a wonderful, wonderful, wonderful name.",
)


def made(project: Project) -> TrainingRun:
    """A run of 16 iterations that was measured four times, was best at the third, and passed its ceiling."""
    run = TrainingRun.objects.create(
        project=project,
        stage=Stage.PPO,
        status="succeeded",
        result={"score": 1.2, "stopped_by": "max_kl", "best_step": 10},
    )
    shutil.rmtree(RunFiles(run).path, ignore_errors=True)
    points = []
    for step in range(1, 17):
        values = {
            "kl": step**1.5 / 3,
            "score": math.log1p(step),
            "reward/length": -step / 50,
            "entropy": 2.0 - step / 16,
        }
        points += [RunMetric(run=run, name=name, step=step, value=value) for name, value in values.items()]
    for step, score in ((0, 0.0), (5, 1.4), (10, 1.9), (16, 1.2)):
        points.append(RunMetric(run=run, name="eval_kl", step=step, value=step**1.5 / 3))
        points.append(RunMetric(run=run, name="eval_score", step=step, value=score))
    RunMetric.objects.bulk_create(points)
    rows = []
    for step in (0, 5, 10, 16):
        for number, question in enumerate(QUESTIONS):
            asked = [{"role": "user", "content": question}]
            reason = "length" if step == 0 else "stop"
            text = RESPONSES[min(step // 5, 2)]
            rows.append(line(step, number, prompt=asked, response=text, finish_reason=reason))
    leave(run, *rows)
    RunFiles(run).reward_kl_plot.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return run


def line(step: int, number: int = 0, **values: Any) -> dict[str, Any]:
    """One line of a run's samples."""
    return {
        "step": step, "id": str(number), "prompt": [{"role": "user", "content": f"Question {number}?"}],
        "response": f"response {number} at {step}", "finish_reason": "stop", "score": step / 10, "logprob": -2.0,
        "reference_logprob": -3.5, "held_out": True, **values,
    }  # fmt: skip


def leave(run: TrainingRun, *rows: Any) -> None:
    """Write these lines, dicts or broken ones, as the run's samples."""
    path = RunFiles(run).samples
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
