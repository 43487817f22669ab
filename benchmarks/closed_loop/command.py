"""Is every round better than the one before: `python -m benchmarks rounds --prompts FILE --folder FOLDER`.

Each round samples the policy, two simulated labelers judge every response (they agree with each other on 73% of the
pairs, as InstructGPT's did), a reward model learns from all judgments so far, and PPO continues from the policy against
it, with the SFT model as the reference. The gold reward that the labelers perceive through noise, how positive a
response sounds, says how often each round's policy is better than the SFT model on held-out prompts.

With `--feedback ai` no people judge: the product's AI labeler asks a chat model on loopback about every pair in both
orders, and a contradiction is a tie. The model perceives the same gold reward through noise, by which it names the same
response in both orders of 73% of the pairs, although it prefers what is shown first. Those rounds are made in FOLDER/ai
and take what both begin from out of FOLDER; let one end before the other begins.

Everything is made by the commands of models_core, in FOLDER, and what is there is not made again: a benchmark that was
interrupted goes on, and one can grow by seeds. Every round appends a line to results.jsonl; `--chart FILE` draws
them as SVG.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.closed_loop import ai_judge, chart
from benchmarks.gold_reward import labelers, prompts, proxies, stages
from benchmarks.gold_reward.golds import Positivity, Scores
from benchmarks.gold_reward.stages import Row, Settings
from benchmarks.win_rate import USUAL as POLICY_RECIPE
from benchmarks.win_rate import divergence, win_rate

USUAL: Settings = {
    "sample": POLICY_RECIPE["sample"],
    "reward": POLICY_RECIPE["reward"],
    # Half of the usual KL price: at 0.06 the policy had its full KL after two rounds, and the third changed nothing.
    "ppo": {**POLICY_RECIPE["ppo"], "episodes": 512, "kl_coef": 0.03},
}
RESPONSES, LABELERS = 4, 2
SAMPLE_SEED = 5000
PEOPLE, AI = "people", "ai"


@dataclass(frozen=True)
class Start:
    """What every seed begins from. prompts: of the labelers, a part for each round."""

    lots: prompts.Lots
    prompts: Sequence[Sequence[Row]]
    before: Scores


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    is_ai = options.feedback == AI
    settings = stages.settings(options, parser, usual={**USUAL, "judge": ai_judge.USUAL} if is_ai else USUAL)
    labelers.set_up()
    path = _own_folder(options) / "results.jsonl"
    key = {"settings": _as_text(settings), "labelled": options.labelled}
    key |= {"position_bias": options.position_bias} if is_ai else {}
    start = _prepared(options, settings)
    for seed in options.seeds:
        for number in range(1, options.rounds + 1):
            asked = {"seed": seed, "round": number, **key}
            if not results.has(path, asked):
                results.append(path, asked | _round(number, seed, start=start, options=options, settings=settings))
    rows = [row for row in results.read(path) if key.items() <= row.items() and row["seed"] in options.seeds]
    rows = sorted((row for row in rows if row["round"] <= options.rounds), key=lambda row: (row["seed"], row["round"]))
    print(table(rows))
    if options.chart is not None:
        chart.draw(rows, options.chart)
    print(json.dumps(verdict(rows)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks rounds", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=Path, required=True, metavar="FILE", help="prompts; the English single turns")
    parser.add_argument("--folder", type=Path, required=True, help="for all that is made; 1 GB a seed, for its time")
    parser.add_argument("--model", default="smollm2-135m-instruct", metavar="M", help="the SFT model")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--labelled", type=int, default=200, metavar="N", help="prompts that are judged in a round")
    parser.add_argument("--held-out", type=int, default=100, metavar="N", help="prompts to measure on")
    parser.add_argument("--policy-prompts", type=int, default=400, metavar="N")
    parser.add_argument("--longest", type=int, default=200, metavar="N", help="characters of a prompt")
    parser.add_argument("--feedback", choices=(PEOPLE, AI), default=PEOPLE, help="who judges")
    parser.add_argument(
        "--position-bias", type=float, default=0.5, metavar="B", help="of the AI, in logits for what is shown first"
    )
    parser.add_argument("--chart", type=Path, metavar="FILE", help="an .svg of the rounds")
    stages.settings_option(parser, stages=(*USUAL, "judge"))
    return parser


def _own_folder(options: argparse.Namespace) -> Path:
    folder: Path = options.folder
    return folder / AI if options.feedback == AI else folder


def _prepared(options: argparse.Namespace, settings: Settings) -> Start:
    sizes = {"held_out": options.held_out, "policy": options.policy_prompts, "longest": options.longest}
    lots = prompts.lots(options.prompts, options.folder, **sizes)
    rows = stages.read(lots.rewards)
    wanted = options.rounds * options.labelled
    if len(rows) < wanted:
        raise SystemExit(f"There are {len(rows)} prompts to judge, and {options.rounds} rounds need {wanted}.")
    parts = [rows[place : place + options.labelled] for place in range(0, wanted, options.labelled)]
    before = _held_out_responses(options.model, lots, options.folder / "sft.responses.jsonl", settings, seed=0)
    return Start(lots, parts, Positivity().scores(before))


def _round(number: int, seed: int, *, start: Start, options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Sample, judge, train and measure; the round before must be there."""
    folder = _own_folder(options) / f"seed-{seed}"
    # Whoever judges, the first round is about the same responses of the SFT model.
    drawn = options.folder / f"seed-{seed}" if number == 1 else folder
    policy = options.model if number == 1 else str(folder / f"policy-{number - 1}")
    sampled = proxies.responses(
        stages.write_rows(drawn / f"prompts-{number}.jsonl", start.prompts[number - 1]),
        out=drawn / f"sampled-{number}.jsonl",
        model=policy,
        samples=RESPONSES,
        settings={**settings["sample"], "seed": SAMPLE_SEED + 100 * seed + number},
    )
    noise = _noise(options, sampled)
    if options.feedback == AI:
        judged, facts = ai_judge.judgments(
            drawn / f"sampled-{number}.jsonl",
            out=folder / f"verdicts-{number}.jsonl",
            served_from=_own_folder(options),
            noise=noise,
            bias=options.position_bias,
            settings={**settings["judge"], "seed": 100 * seed + number},
        )
    else:
        judged, agreement = judgments(sampled, noise=noise, seed=100 * seed + number)
        facts = {"agreement": agreement}
    stages.write_rows(folder / f"judgments-{number}.jsonl", judged)
    learned = [row for each in range(1, number + 1) for row in stages.read(folder / f"judgments-{each}.jsonl")]
    known = proxies.ranked(stages.read(options.folder / "sft.responses.jsonl"), Positivity())
    reward = folder / f"reward-{number}"
    trained = proxies.trained(
        learned,
        rows=len(learned),
        folder=reward,
        model=options.model,
        settings={**settings["reward"], "seed": seed},
        measured=stages.write_rows(options.folder / "held-out.rankings.jsonl", known),
    )
    run = folder / f"policy-{number}"
    summary = stages.run(
        "ppo",
        out=run,
        settings={**settings["ppo"], "seed": 100 * seed + number, "eval_prompts": options.held_out},
        model=policy,
        reference=options.model,
        reward=str(reward / "model"),
        data=start.lots.policy,
        eval=start.lots.held_out,
    )
    responses = _held_out_responses(
        str(run), start.lots, folder / f"responses-{number}.jsonl", settings, seed=100 * seed + number
    )
    scores = Positivity().scores(responses)
    # What the next round needs is the policy alone.
    for used in (reward / "model", run / "checkpoints", *([folder / f"policy-{number - 1}" / "model"])):
        shutil.rmtree(used, ignore_errors=True)
    return {
        "judgments": len(learned),
        **facts,
        "reward_accuracy": trained["accuracy"],
        "kl": divergence(run),
        "gold": fmean(score for own in scores for score in own),
        "gold_before": fmean(score for own in start.before for score in own),
        "seconds": summary["seconds"],
        **win_rate(scores, start.before),
    }


def judgments(rows: Sequence[Row], *, noise: float, seed: int) -> tuple[list[dict[str, Any]], float]:
    """A ranking of every simulated labeler for each row, and the part of the pairs on which they agree.

    The same rows, noise and seed give the same rankings.
    """
    from annotate.labeling.simulation import perceived_ordering

    found, same, pairs = [], 0, 0
    for place, (row, scores) in enumerate(zip(rows, Positivity().scores(rows), strict=True)):
        orders = []
        for labeler in range(LABELERS):
            generator = np.random.default_rng([seed, place, labeler])
            ordering = perceived_ordering(dict(enumerate(scores)), noise=noise, generator=generator)
            ranks = ordering.ranks()
            orders.append(ranks)
            texts = [response["text"] for response in row["responses"]]
            found.append(
                {
                    "id": f"{row['id']}-{labeler}",
                    "prompt": row["prompt"],
                    "responses": [{"text": text, "rank": ranks[number]} for number, text in enumerate(texts)],
                    "labeler": f"labeler-{labeler}",
                }
            )
        for one, other in combinations(range(len(scores)), 2):
            first, second = (order[one] < order[other] for order in orders)
            same += first == second
            pairs += 1
    return found, same / pairs


def _noise(options: argparse.Namespace, rows: Sequence[Row]) -> float:
    """Calibrated once, on the first responses that are judged, and kept: people don't change as the policy does."""
    kept = _own_folder(options) / "noise.json"
    if not kept.exists():
        scores = Positivity().scores(rows)
        is_ai = options.feedback == AI
        noise = ai_judge.calibrated(scores, bias=options.position_bias) if is_ai else labelers.calibrated(scores)
        stages.write(kept, json.dumps(noise))
    return float(json.loads(kept.read_text(encoding="utf-8")))


def _held_out_responses(model: str, lots: prompts.Lots, out: Path, settings: Settings, *, seed: int) -> list[Row]:
    own = {**settings["sample"], "seed": SAMPLE_SEED - 1 - seed}
    return proxies.responses(lots.held_out, out=out, model=model, samples=RESPONSES, settings=own)


def _as_text(settings: Settings) -> dict[str, dict[str, str]]:
    return {stage: {name: str(value) for name, value in values.items()} for stage, values in settings.items()}


def table(rows: Sequence[Row]) -> str:
    agree = "same in both orders" if rows and "right" in rows[0] else "labelers agree"
    lines = [
        f"| seed | round | judgments | {agree} | reward accuracy | KL, nats | gold win rate | 95% interval |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['seed']} | {row['round']} | {row['judgments']} | {row['agreement']:.1%} |"
            f" {row['reward_accuracy']:.1%} | {row['kl']:.2f} | {row['win_rate']:.1%} |"
            f" {row['win_rate_low']:.1%} to {row['win_rate_high']:.1%} |"
        )
    return "\n".join(lines)


def verdict(rows: Sequence[Row]) -> dict[str, Any]:
    """The mean win rate of each round over seeds, and in how many seeds every round is above the one before."""
    rates: dict[int, dict[int, float]] = {}
    for row in rows:
        rates.setdefault(row["round"], {})[row["seed"]] = row["win_rate"]
    seeds = sorted(set.intersection(*(set(own) for own in rates.values()))) if rates else []
    means = {str(number): fmean(rates[number][seed] for seed in seeds) for number in sorted(rates) if seeds}
    rising = [seed for seed in seeds if _rises([0.5, *(rates[number][seed] for number in sorted(rates))])]
    return {
        "seeds": len(seeds),
        "mean_win_rates": means,
        "rises_in_mean": bool(means) and _rises([0.5, *means.values()]),
        "rises_in_seeds": len(rising),
    }


def _rises(values: Sequence[float]) -> bool:
    return all(later > earlier for earlier, later in pairwise(values))
