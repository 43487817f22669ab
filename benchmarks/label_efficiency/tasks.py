"""Tasks of a labeling queue: rankings of at most four responses, and what a reward model's head reads of each."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.gold_reward.golds import Positivity
from benchmarks.gold_reward.labelers import calibrated
from benchmarks.reward_accuracy.judgments import plain
from models_core.contract.rows import row_parser
from models_core.contract.rows.prompt_identity import hold_out
from models_core.contract.rows.records import Ranking
from models_core.modeling import forward, loading
from models_core.modeling.packing import Group
from models_core.preferences.encoding import EncodedComparison, Example
from models_core.preferences.head_init import LinearProbe
from models_core.preferences.ranking_loss import ranked_pairs

RESPONSES = 4
HELD_OUT = 0.2
BUDGET = 4096
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Tasks:
    """states: [responses, width] of each task, scaled as head_init does; examples: its judgment, as pairs."""

    states: list[Tensor]
    examples: list[Example]

    def subset(self, places: Sequence[int]) -> "Tasks":
        return Tasks([self.states[place] for place in places], [self.examples[place] for place in places])

    @property
    def probe(self) -> LinearProbe:
        return LinearProbe(self.states, self.examples)

    def __len__(self) -> int:
        return len(self.states)


@dataclass(frozen=True)
class Split:
    pool: Tasks
    held_out: Tasks


def split(path: Path, *, labels: str, model: str, layers: int, max_length: int, folder: Path) -> Split:
    """The file's rankings as a pool to label and held-out ones of other prompts; the same ones every time.

    labels: "own", the file's ranks, or "positivity", those of a simulated labeler of that taste; held-out tasks are
    then in the order of the taste itself.
    """
    rows = [_of_four(ranking) for ranking in row_parser.read(path, "rankings")]
    sides = [_labelled(side, labels, noisy=noisy) for side, noisy in zip(_sides(rows), (True, False), strict=True)]
    kept = [[ranking for ranking in side if ranked_pairs(_ranks(ranking))] for side in sides]
    encoded = [_examples(side, model=model, max_length=max_length) for side in kept]
    examples = [example for side in encoded for example in side]
    raw = _states(examples, model=model, layers=layers, folder=folder)
    stds = torch.cat(raw[: len(encoded[0])]).std(0) + 1e-6
    scaled = [states / (stds * len(stds) ** 0.5) for states in raw]
    everything = Tasks(scaled, examples)
    pool = range(len(encoded[0]))
    return Split(everything.subset(pool), everything.subset(range(len(pool), len(examples))))


def _sides(rows: Sequence[Ranking]) -> tuple[list[Ranking], list[Ranking]]:
    training, held_out = hold_out(list(rows), fraction=HELD_OUT)
    if not held_out:
        raise SystemExit("The file has too few prompts to hold some out.")
    return training, held_out


def _ranks(ranking: Ranking) -> list[int | None]:
    return [response.rank for response in ranking.responses]


def _of_four(ranking: Ranking) -> Ranking:
    """Four of its ranked responses, drawn by its own text: a page shows no more at once."""
    ranked = [response for response in ranking.responses if response.rank is not None]
    drawn = random.Random(json.dumps(plain(ranking))).sample(ranked, min(RESPONSES, len(ranked)))
    return replace(ranking, responses=tuple(drawn))


def _labelled(rankings: Sequence[Ranking], labels: str, *, noisy: bool) -> list[Ranking]:
    if labels == "own":
        return list(rankings)
    scores = Positivity().scores([plain(ranking) for ranking in rankings])
    ranked = _perceived(scores) if noisy else [_ranks_of(own) for own in scores]
    found = []
    for ranking, ranks in zip(rankings, ranked, strict=True):
        responses = [replace(item, rank=rank) for item, rank in zip(ranking.responses, ranks, strict=True)]
        found.append(replace(ranking, responses=tuple(responses)))
    return found


def _perceived(scores: Sequence[Sequence[float]]) -> list[list[int]]:
    """The ranks of a simulated labeler, who agrees with another one on AGREEMENT of the pairs."""
    from annotate.labeling.simulation import perceived_ordering

    noise = calibrated(scores)
    found = []
    for place, own in enumerate(scores):
        generator = np.random.default_rng([0, place])
        ranks = perceived_ordering(dict(enumerate(own)), noise=noise, generator=generator).ranks()
        found.append([ranks[number] for number in range(len(own))])
    return found


def _ranks_of(scores: Sequence[float]) -> list[int]:
    """By the scores themselves; equal ones are tied."""
    return [1 + sum(other > score for other in scores) for score in scores]


def _examples(rankings: Sequence[Ranking], *, model: str, max_length: int) -> list[Example]:
    tokenizer = loading.load_tokenizer(model)
    found = []
    for ranking in rankings:
        texts = [response.text for response in ranking.responses]
        encoded = forward.encode_group(tokenizer, list(ranking.messages), texts, max_length=max_length)
        ranks = [rank for rank, fits in zip(_ranks(ranking), encoded.fits, strict=True) if fits]
        if pairs := ranked_pairs(ranks):
            judged = EncodedComparison(pairs=tuple(pairs), weight=1.0, rows=(), indices=())
            found.append(Example(Group(encoded.group.prompt, encoded.group.responses), [judged]))
    return found


def _states(examples: Sequence[Example], *, model: str, layers: int, folder: Path) -> list[Tensor]:
    """fp64; computed once and kept in `folder`."""
    groups = [example.group for example in examples]
    written = json.dumps([[list(group.prompt), [list(each) for each in group.responses]] for group in groups])
    key = hashlib.sha256(f"{model}/{layers}/{written}".encode()).hexdigest()[:16]
    kept = folder / f"states-{key}.pt"
    if not kept.exists():
        network = loading.new_reward_model(model, device=CPU, dtype=torch.float32, seed=0, trunk_layers=layers)
        network.eval()
        states = forward.group_end_states(network, groups, budget=BUDGET, device=CPU)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save([each.float() for each in states], kept)
    return [each.double() for each in torch.load(kept)]
