"""Where a fresh head starts: at the linear model of the pairs on what the trunk sees before it has learned anything.

A random head first sends random directions down into the trunk, which spoils what the trunk knows and costs steps that
a few hundred rankings do not have. Fitting the head alone and then training everything ("linear probing, then
fine-tuning", Kumar et al. 2022, 2202.10054) starts from the best that the trunk can say as it is.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models_core.modeling import forward, heads
from models_core.preferences.encoding import Example
from models_core.rl.losses import Comparisons, ranking_loss

PROMPTS = 512
"""Prompts that the head is fitted to, at most: a few hundred numbers need no more, and each costs a forward pass."""
RIDGES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
"""Penalties that cross-validation chooses from, strongest first: each fit goes on from the one before."""
FOLDS = 5
ITERATIONS = 50


@dataclass(frozen=True)
class Probe:
    """Examples as a linear model sees them: hidden states of their responses, on one scale, [responses, width] each."""

    states: list[Tensor]
    examples: list[Example]

    def part(self, rows: Sequence[int]) -> "Probe":
        return Probe([self.states[row] for row in rows], [self.examples[row] for row in rows])

    def loss(self, weight: Tensor, comparisons: Comparisons) -> Tensor:
        """Mean loss of a ranking with the linear model [width]."""
        scores = torch.cat(self.states) @ weight
        return ranking_loss(scores, comparisons) / comparisons.weight.sum()

    def comparisons(self, times: Sequence[int] | None = None) -> Comparisons:
        """All pairs; with `times`, as often as one head of an ensemble draws each example."""
        rankings = [example.rankings for example in self.examples]
        comparisons = Comparisons.of(rankings, device="cpu")
        if times is None:
            return comparisons
        drawn = heads.drawn(comparisons, rankings, [[count] for count in times])
        return Comparisons(drawn.better, drawn.worse, drawn.target, drawn.margin, drawn.weight[0])


def fit(
    network: Any, examples: Sequence[Example], *, budget: int, device: torch.device, seed: int, bootstrap: bool
) -> dict[str, Any]:
    """Fit the heads of a network that has not been trained; what cross-validation by prompt said of it.

    The penalty is the one with the least loss on prompts left out. Each of several heads is fitted to its own draw of
    the prompts, with `bootstrap`; else all are alike but for the random numbers they have.
    """
    chosen = list(examples)
    random.Random(seed).shuffle(chosen)
    chosen = chosen[:PROMPTS]
    groups = [example.group for example in chosen]
    raw = [states.double().cpu() for states in forward.group_end_states(network, groups, budget=budget, device=device)]
    deviations = torch.cat(raw).std(0) + 1e-6
    # Numbers of one size for all features, and for any width: the penalties mean the same for every model.
    scale = deviations * math.sqrt(len(deviations))
    probe = Probe([states / scale for states in raw], chosen)
    ridge, loss = chosen_ridge(probe)
    count = network.score.weight.shape[0]
    draws = [heads.draws(group.prompt, count=count, seed=seed) for group in groups]
    with torch.no_grad():
        for head in range(count):
            times = [row[head] for row in draws] if count > 1 and bootstrap else []
            start = torch.zeros(len(scale), dtype=torch.float64)
            fitted = solved(probe, probe.comparisons(times if any(times) else None), ridge=ridge, start=start) / scale
            spread = network.score.weight[head] if count > 1 and not bootstrap else 0.0
            network.score.weight[head] = fitted.to(network.score.weight) + spread
    return {"head_ridge": ridge, "head_start_loss": loss, "head_prompts": len(chosen)}


def chosen_ridge(probe: Probe) -> tuple[float, float]:
    """The penalty with the least cross-validated loss of a ranking, and that loss. Too few examples: the strongest."""
    rows = range(len(probe.examples))
    if len(rows) < 2 * FOLDS:
        return RIDGES[0], math.log(2)
    losses = [0.0] * len(RIDGES)
    for fold in range(FOLDS):
        learned = probe.part([row for row in rows if row % FOLDS != fold])
        left_out = probe.part([row for row in rows if row % FOLDS == fold])
        pairs, measured = learned.comparisons(), left_out.comparisons()
        weight = torch.zeros(learned.states[0].shape[1], dtype=torch.float64)
        for place, ridge in enumerate(RIDGES):
            weight = solved(learned, pairs, ridge=ridge, start=weight)
            losses[place] += float(left_out.loss(weight, measured)) / FOLDS
    best = min(range(len(RIDGES)), key=losses.__getitem__)
    return RIDGES[best], losses[best]


def solved(probe: Probe, comparisons: Comparisons, *, ridge: float, start: Tensor) -> Tensor:
    """The weights [width] of least loss + ridge / 2 |weights|^2, by L-BFGS from `start`."""
    weight = start.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([weight], max_iter=ITERATIONS, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = probe.loss(weight, comparisons) + ridge / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return weight.detach()
