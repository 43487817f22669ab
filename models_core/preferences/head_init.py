"""Initialisation of a new reward head by a linear probe on the hidden states of the untrained trunk.

A random head first sends random gradients into the trunk, which damages its features and costs steps that a few hundred
rankings do not have. Fitting the head alone and then training everything (linear probing, then fine-tuning: Kumar et
al. 2022, 2202.10054) starts from the best linear readout of the trunk.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from models_core.modeling import forward
from models_core.preferences.bootstrap import bootstrap_weights, poisson_counts
from models_core.preferences.encoding import Example
from models_core.preferences.ranking_loss import PairBatch, ranking_loss

MAX_PROMPTS = 512
"""Prompts that the head is fitted to, at most: a few hundred parameters need no more, and each is a forward pass."""
RIDGES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
"""Ridge penalties for cross-validation, strongest first: each fit starts from the one before."""
FOLDS = 5
ITERATIONS = 50


@dataclass(frozen=True)
class LinearProbe:
    """Examples and the scaled hidden states of their responses: (responses, width) an example."""

    states: list[Tensor]
    examples: list[Example]

    def subset(self, rows: Sequence[int]) -> "LinearProbe":
        return LinearProbe([self.states[row] for row in rows], [self.examples[row] for row in rows])

    def loss(self, weight: Tensor, pairs: PairBatch) -> Tensor:
        """Mean loss of a ranking under a linear model: (width,) -> scalar."""
        scores = self._all_states @ weight
        return ranking_loss(scores, pairs) / pairs.weight.sum()

    @cached_property
    def _all_states(self) -> Tensor:
        """(responses, width)"""
        return torch.cat(self.states)

    def pairs(self, counts: Sequence[int] | None = None) -> PairBatch:
        """All pairs; `counts` weigh each example as the bootstrap of one head does."""
        rankings = [example.rankings for example in self.examples]
        pairs = PairBatch.from_groups(rankings, device="cpu")
        if counts is None:
            return pairs
        weighted = bootstrap_weights(pairs, rankings, [[count] for count in counts])
        return replace(weighted, weight=weighted.weight[0])


def fit(
    network: Any, examples: Sequence[Example], *, budget: int, device: torch.device, seed: int, bootstrap: bool
) -> dict[str, Any]:
    """Fit the heads of an untrained network in place; returns the ridge penalty and its cross-validated loss.

    The penalty minimises the loss on held-out prompts. With `bootstrap` each head of an ensemble is fitted to its own
    resample of the prompts; without, all are alike but for their random differences.
    """
    chosen = list(examples)
    random.Random(seed).shuffle(chosen)
    chosen = chosen[:MAX_PROMPTS]
    groups = [example.group for example in chosen]
    raw = [states.double().cpu() for states in forward.group_end_states(network, groups, budget=budget, device=device)]
    stds = torch.cat(raw).std(0) + 1e-6
    # Features of one size, whatever the width: a penalty then means the same for every model.
    scale = stds * math.sqrt(len(stds))
    probe = LinearProbe([states / scale for states in raw], chosen)
    ridge, loss = select_ridge(probe)
    num_heads = network.score.weight.shape[0]
    counts = [poisson_counts(group.prompt, num_heads=num_heads, seed=seed) for group in groups]
    with torch.no_grad():
        for head in range(num_heads):
            own_counts = [row[head] for row in counts] if num_heads > 1 and bootstrap else []
            start = torch.zeros(len(scale), dtype=torch.float64)
            pairs = probe.pairs(own_counts if any(own_counts) else None)
            weight = fit_weights(probe, pairs, ridge=ridge, start=start) / scale
            noise = network.score.weight[head] if num_heads > 1 and not bootstrap else 0.0
            network.score.weight[head] = weight.to(network.score.weight) + noise
    return {"head_ridge": ridge, "head_start_loss": loss, "head_prompts": len(chosen)}


def select_ridge(probe: LinearProbe) -> tuple[float, float]:
    """The penalty with the least cross-validated loss, and that loss; the strongest for too few examples."""
    rows = range(len(probe.examples))
    if len(rows) < 2 * FOLDS:
        return RIDGES[0], math.log(2)
    losses = [0.0] * len(RIDGES)
    for fold in range(FOLDS):
        training = probe.subset([row for row in rows if row % FOLDS != fold])
        held_out = probe.subset([row for row in rows if row % FOLDS == fold])
        training_pairs, held_out_pairs = training.pairs(), held_out.pairs()
        weight = torch.zeros(training.states[0].shape[1], dtype=torch.float64)
        for index, ridge in enumerate(RIDGES):
            weight = fit_weights(training, training_pairs, ridge=ridge, start=weight)
            losses[index] += float(held_out.loss(weight, held_out_pairs)) / FOLDS
    best = min(range(len(RIDGES)), key=losses.__getitem__)
    return RIDGES[best], losses[best]


def fit_weights(probe: LinearProbe, pairs: PairBatch, *, ridge: float, start: Tensor) -> Tensor:
    """Minimise loss + ridge / 2 |weights|^2 by L-BFGS: (width,) -> (width,)."""
    weight = start.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([weight], max_iter=ITERATIONS, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = probe.loss(weight, pairs) + ridge / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return weight.detach()
