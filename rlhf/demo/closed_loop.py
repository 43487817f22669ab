"""Two rounds of the loop with simulated labelers, measured on prompts that are held out of everything.

Nothing here is a short cut: responses are sampled, models trained and rounds advanced by Celery workers as from a page,
and the simulated labelers claim and submit through the functions that a person's request goes through.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from django.conf import settings

from annotate.errors import Refused
from annotate.labeling import simulation
from annotate.models import Project
from rlhf.demo.recipes import Recipe
from rlhf.demo.selection import Selection
from rlhf.loop import loop, prompts, sampling, versions
from rlhf.models import LoopSettings, ModelVersion
from rlhf.runs import waiting
from rlhf.runs.execution import run_command

ROUNDS = 2
JUDGE, LABELERS = "positivity", 2
SEED = 7
"""Seed of the responses to held-out prompts, the same for every model."""

EXAMPLES = 3

Say = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class RoundNumbers:
    """What a round came to.

    judgments:       that its models have learned from, of all rounds so far.
    reward_accuracy: part of the judged pairs that the reward model orders as the labeler did, on prompts it was not
                     trained on; None for the base model.
    kl:              divergence of the policy from the base model in nats per response, at the end of PPO.
    gold_mean:       mean positivity, from -1 to 1, of the responses to held-out prompts.
    gold_win_rate_vs_base: share of held-out prompts with a more positive response than the base's; a tie is half.
    """

    round: int
    judgments: int
    reward_accuracy: float | None
    kl: float
    gold_mean: float
    gold_win_rate_vs_base: float


def run(*, project: Project, selection: Selection, recipe: Recipe, say: Say) -> list[RoundNumbers]:
    """Sample, then judge, train and sample again, twice. Raises CommandError when a step fails, Refused."""
    LoopSettings.objects.create(
        project=project,
        prompts_per_round=recipe.prompts_per_round,
        sampling=recipe.sampling,
        reward_config=recipe.reward,
        ppo_config=recipe.ppo,
    )
    base = versions.active_policy(project)
    say(f"Round 0: {project.responses_per_task} responses of {base} to each of {recipe.prompts_per_round} prompts.")
    first = sampling.start(project=project, by=None, prompt_count=recipe.prompts_per_round, config=recipe.sampling)
    waiting.for_run(first, write=say)
    base_texts = held_out_responses(base, selection, recipe)
    numbers = [_numbers(round=0, judgments=0, reward_accuracy=None, kl=0.0, texts=base_texts, base_texts=base_texts)]
    texts = base_texts
    for number in range(1, ROUNDS + 1):
        done = simulation.simulate(project=project, judge=JUDGE, labelers=LABELERS, seed=number)
        say(f"Round {number}: {_judged(done)}")
        began = loop.start(project=project, rounds=1, by=None)
        (iteration,) = waiting.for_rounds(began, rounds=1, write=say)
        iteration.refresh_from_db()
        assert iteration.policy_version is not None
        texts = held_out_responses(iteration.policy_version, selection, recipe)
        numbers.append(
            _numbers(
                round=number,
                judgments=iteration.numbers["judgments"],
                reward_accuracy=iteration.numbers["reward_accuracy"],
                kl=iteration.numbers["kl"],
                texts=texts,
                base_texts=base_texts,
            )
        )
    for line in _examples(selection, base_texts, texts):
        say(line)
    return numbers


def held_out_responses(version: ModelVersion, selection: Selection, recipe: Recipe) -> list[str]:
    """One response of a model to every held-out prompt, in their order, stored in the data folder. Raises Refused."""
    folder = Path(settings.HONE_DATA) / "held_out"
    folder.mkdir(exist_ok=True)
    prompts_file, responses_file = folder / "prompts.jsonl", folder / f"{version.kind}-{version.number}.jsonl"
    prompts.write(selection.held_out, prompts_file)
    command = [sys.executable, "-m", "models_core", "sample", "--model", run_command.model_argument(version)]
    command += ["--data", str(prompts_file), "--out", str(responses_file), "--samples", "1", "--seed", str(SEED)]
    for name, value in recipe.sampling.items():
        command += ["--set", f"{name}={value}"]
    environment = os.environ | {"HONE_DATA": str(settings.HONE_DATA), "HONE_PARENT_PID": str(os.getpid())}
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = list(filter(None, done.stderr.strip().split("\n"))) or ["no message"]
        raise Refused(f"{version} could not respond to the held-out prompts: {lines[-1]}")
    with responses_file.open(encoding="utf-8") as file:
        return [json.loads(line)["responses"][0]["text"] for line in file]


def _numbers(*, texts: list[str], base_texts: list[str], **known: Any) -> RoundNumbers:
    judge = simulation.JUDGES[JUDGE]()
    gold, base = [judge(text) for text in texts], [judge(text) for text in base_texts]
    return RoundNumbers(gold_mean=round(fmean(gold), 4), gold_win_rate_vs_base=round(win_rate(gold, base), 4), **known)


def win_rate(scores: list[float], others: list[float]) -> float:
    """Part of the places at which a score is higher than the other's, ties counted half."""
    return fmean(
        1.0 if score > other else 0.5 if score == other else 0.0 for score, other in zip(scores, others, strict=True)
    )


def _judged(done: simulation.Simulation) -> str:
    agreement = done.measured.rate or 0.0
    return (
        f"{done.labelers} simulated labelers gave {done.judgments} judgments; where two judged the same responses they "
        f"agree on {agreement:.0%} of the pairs."
    )


def table(rounds: Sequence[RoundNumbers]) -> Iterator[str]:
    """The rounds for people."""
    yield f"{'round':<7}{'judgments':>10}{'reward accuracy':>17}{'KL':>8}{'gold mean':>11}{'win rate against base':>23}"
    for each in rounds:
        accuracy = "" if each.reward_accuracy is None else f"{each.reward_accuracy:.1%}"
        name = f"{each.round} base" if each.round == 0 else str(each.round)
        yield (
            f"{name:<7}{each.judgments:>10}{accuracy:>17}{each.kl:>8.2f}{each.gold_mean:>11.3f}"
            f"{each.gold_win_rate_vs_base:>23.1%}"
        )


def _examples(selection: Selection, before: list[str], after: list[str]) -> Iterator[str]:
    """The first held-out prompts with a response of the base model and of the last policy, not selected by result."""
    for row, *texts in list(zip(selection.held_out, before, after, strict=True))[:EXAMPLES]:
        yield f"Held-out prompt: {_one_line(row['prompt'][-1]['content'])}"
        for name, text in zip(("base", "last policy"), texts, strict=True):
            yield f"    {name}: {_one_line(text)}"


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 160 else words[:159] + "…"
