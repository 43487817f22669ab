"""`python -m benchmarks aggregation --data annotations.jsonl`: which consensus predicts a vote that it has not seen.

Rows are pairs with the votes of several people: {"votes": [{"annotator", "choice": "a" | "b" | "tie"}], "source"}. Each
vote on a pair with three or more is held out once and predicted from the others:

- majority: a tie is a vote for a tie
- net votes: the side with more votes, ties aside
- mean reliability: Crowd-BT, the reliability of every labeler the mean of all
- own reliability: Crowd-BT, each labeler's own; both are estimated in ten folds from the other pairs

What is measured:

- strict: held-out votes that prefer a response; 1 where the consensus prefers it too, 1/2 where the consensus is a tie
- outcome: all held-out votes; 1 where the consensus is the same of the three outcomes
- log loss of the outcome: by Laplace's rule of succession for counts, by the fitted model for Crowd-BT
- confidence: the probability that was given to the outcome of the consensus, to hold against `outcome`

Intervals are 95% bootstraps over pairs, of differences paired. `--spammers N` replaces that many of each source's
labelers, those with most votes first, by ones who vote at random; their votes are not held out.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from annotate.labeling.ordering import Ordering
from annotate.quality.aggregation import crowd_bt
from annotate.quality.aggregation.crowd_bt import CrowdBT
from annotate.quality.aggregation.votes import pair_votes
from models_core.contract.rows import json_lines

FOLDS, RESAMPLES = 10, 10_000
A, B = 0, 1
CHOICES = {"a": Ordering(((A,), (B,))), "b": Ordering(((B,), (A,))), "tie": Ordering(((A, B),))}
OUTCOMES = {CHOICES["a"]: 1, CHOICES["b"]: -1, CHOICES["tie"]: 0}
METRICS = ("strict", "outcome", "log loss", "confidence")
METHODS = ("majority", "net votes", "mean reliability", "own reliability")
Pair = dict[int, Ordering]
Scores = tuple[float, float, float, float]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks aggregation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--spammers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    random = np.random.default_rng(options.seed)
    results = {}
    for source, (names, pairs) in sorted(read(options.data).items()):
        spammers = most_active(pairs, number=options.spammers)
        pairs = with_random_votes(pairs, of=spammers, random=random)
        results[source] = compared(pairs, left_out=spammers, random=random)
        report(source, names, results[source])
    print(json.dumps(results))
    return 0


def read(path: Path) -> dict[str, tuple[list[str], list[Pair]]]:
    """{source: (names of labelers, pairs)}; a labeler's number is the place of the name."""
    sources: dict[str, tuple[list[str], list[Pair]]] = {}
    for row in json_lines.whole(path):
        names, pairs = sources.setdefault(row["source"], ([], []))
        pair: Pair = {}
        for vote in row["votes"]:
            if vote["choice"] in CHOICES:
                if vote["annotator"] not in names:
                    names.append(vote["annotator"])
                pair[names.index(vote["annotator"])] = CHOICES[vote["choice"]]
        pairs.append(pair)
    return sources


def most_active(pairs: Sequence[Pair], *, number: int) -> set[int]:
    votes = Counter(labeler for pair in pairs for labeler in pair)
    return {labeler for labeler, _ in votes.most_common(number)}


def with_random_votes(pairs: Sequence[Pair], *, of: set[int], random: np.random.Generator) -> list[Pair]:
    """The pairs with votes of some labelers drawn from the shares of all votes, whatever the pair."""
    shares = Counter(ordering for pair in pairs for ordering in pair.values())
    orderings = list(shares)
    chances = np.array([shares[ordering] for ordering in orderings]) / shares.total()
    return [
        {
            labeler: orderings[random.choice(len(orderings), p=chances)] if labeler in of else ordering
            for labeler, ordering in pair.items()
        }
        for pair in pairs
    ]


def compared(pairs: Sequence[Pair], *, left_out: set[int], random: np.random.Generator) -> dict[str, Any]:
    """Each metric of each method, and the differences of the last method to the others, as [mean, low, high]."""
    fold = random.permutation(len(pairs)) % FOLDS
    scored: dict[str, list[list[Scores]]] = {name: [] for name in METHODS}
    for number in range(FOLDS):
        model = crowd_bt.estimate(pair for pair, part in zip(pairs, fold, strict=True) if part != number)
        mean = replace(model, reliability=dict.fromkeys(model.reliability, model.mean_reliability))
        for pair, part in zip(pairs, fold, strict=True):
            held_out = [(vote, {key: pair[key] for key in pair if key != who}) for who, vote in pair.items()
                        if who not in left_out]  # fmt: skip
            if part != number or len(pair) < 3 or not held_out:
                continue
            scored["majority"].append([_by_count(rest, vote, ties=True) for vote, rest in held_out])
            scored["net votes"].append([_by_count(rest, vote, ties=False) for vote, rest in held_out])
            scored["mean reliability"].append([_by_crowd_bt(rest, vote, mean) for vote, rest in held_out])
            scored["own reliability"].append([_by_crowd_bt(rest, vote, model) for vote, rest in held_out])
    whole = crowd_bt.estimate(pairs)
    sums = {name: np.array([_sums(votes) for votes in given]) for name, given in scored.items()}
    drawn = random.integers(len(sums["majority"]), size=(RESAMPLES, len(sums["majority"])))
    resampled = {name: _means(table[drawn].sum(axis=1)) for name, table in sums.items()}
    means = {name: _means(table.sum(axis=0)) for name, table in sums.items()}
    last = METHODS[-1]
    return {
        "pairs": len(pairs),
        "pairs_held_out": len(sums[last]),
        "votes_held_out": int(sums[last][:, 3].sum()),
        "reliability": {str(key): round(value, 3) for key, value in whole.reliability.items()},
        "comparisons": {str(key): value for key, value in whole.comparisons.items()},
        "figures": {
            name: {metric: _interval(means[name][k], resampled[name][:, k]) for k, metric in enumerate(METRICS)}
            for name in METHODS
        },
        "differences": {
            f"{last} - {name}": {
                metric: _interval(means[last][k] - means[name][k], resampled[last][:, k] - resampled[name][:, k])
                for k, metric in enumerate(METRICS[:-1])
            }
            for name in METHODS[:-1]
        },
    }


def _by_count(rest: Pair, vote: Ordering, *, ties: bool) -> Scores:
    votes = pair_votes(rest.values())[A, B]
    said = votes.majority if ties else int(np.sign(votes.first - votes.second))
    return _scores(said, OUTCOMES[vote], {outcome: votes.expected_share(outcome) for outcome in (1, 0, -1)})


def _by_crowd_bt(rest: Pair, vote: Ordering, model: CrowdBT) -> Scores:
    (strength,), (consensus,) = crowd_bt.strengths([rest], model), crowd_bt.consensus([rest], model)
    said = 0 if len(consensus.tiers) == 1 else 1 if consensus.tiers[0] == (A,) else -1
    distance = strength[A] - strength[B]
    chances = {outcome: crowd_bt.agreement_probability(distance, outcome, model) for outcome in (1, 0, -1)}
    return _scores(said, OUTCOMES[vote], chances)


def _scores(said: int, outcome: int, chances: dict[int, float]) -> Scores:
    strict = float("nan") if outcome == 0 else 0.5 if said == 0 else float(said == outcome)
    return strict, float(said == outcome), float(-np.log(chances[outcome])), chances[said]


def _sums(votes: Sequence[Scores]) -> list[float]:
    """(sum, count) of each metric over the votes on one pair; a strict hit of a tie is none."""
    table = np.array(votes)
    there = ~np.isnan(table)
    return np.stack([np.where(there, table, 0).sum(axis=0), there.sum(axis=0)], axis=1).reshape(-1).tolist()


def _means(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0::2] / np.maximum(sums[..., 1::2], 1)


def _interval(mean: float, resampled: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in (mean, *np.quantile(resampled, [0.025, 0.975]))]


def report(source: str, names: Sequence[str], result: dict[str, Any]) -> None:
    print(f"\n{source}: {result['pairs']} pairs, {result['votes_held_out']} votes held out")
    for key, value in sorted(result["reliability"].items(), key=lambda item: -item[1]):
        print(f"  {names[int(key)]:<36} reliability {value:.3f}, {result['comparisons'][key]} comparisons")
    for name, metrics in {**result["figures"], **result["differences"]}.items():
        for metric, (mean, low, high) in metrics.items():
            print(f"  {name:<36} {metric:<12} {mean:>8.4f}  ({low:.4f} to {high:.4f})")
