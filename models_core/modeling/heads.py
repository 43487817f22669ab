"""Several heads on one trunk, or several reward models: what each thinks of a response, and what to make of that.

m heads cost one trunk: they differ by their random beginning, and by their data. Two heads of the same hidden states
that learn from the same pairs come to agree almost everywhere, also where both are wrong, so each learns from every
prompt as often as its own Poisson(1) draw says: the bootstrap, one row at a time (Oza and Russell 2001). Prompts are
drawn and not pairs, since the pairs of a prompt are not independent.

On disk an ensemble is an ordinary reward model whose head is the mean of the m heads, which is the mean of their
logits because a head is linear; the heads themselves lie beside it in heads.safetensors.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models_core.contract.errors import BadInput
from models_core.modeling.adapters.merging import EXACT
from models_core.rl.losses import Comparisons, RankedGroup

FILE = "heads.safetensors"
COUNT = "reward_heads"
"""In config.json: how many heads there are, where there are several."""


@dataclass(frozen=True)
class Heads:
    """The heads of a reward model that is not being trained."""

    weight: Tensor  # [m, width], fp32
    shifts: Tensor  # [m], fp32: each head's own logit where its score is 0

    @property
    def count(self) -> int:
        return len(self.weight)


def held(model: Any) -> Heads:
    """The heads of a reward model: its several ones, or the only one it has."""
    ensemble = getattr(model, "ensemble", None)
    if isinstance(ensemble, Heads):
        return ensemble
    weight = model.score.weight
    shift = float(getattr(model.config, "reward_shift", 0.0))
    return Heads(weight, torch.full((len(weight),), shift, device=weight.device))


def scores(model: Any, logits: Tensor) -> Tensor:
    """Heads' logits on the scale of scores, [..., m] -> [..., m]; their mean is the score of the mean head.

    Each head has its own shift: the loss leaves a head's level free, and a difference of levels is no disagreement.
    """
    return (logits - held(model).shifts.to(logits.device)) / float(getattr(model.config, "reward_scale", 1.0))


# ---- learning ----------------------------------------------------------------------------------------------------


def widen(model: Any, *, count: int, seed: int, scale: float) -> None:
    """Give a reward model `count` heads to train, where it has fewer or more.

    As many as it has go on as they are. Else all begin around the head it has, with random differences that sum to 0.
    """
    now: Tensor = held(model).weight.detach()
    if len(now) != count:
        mean = model.score.weight.detach()
        now = mean.expand(count, -1)
        if count > 1:
            noise = fresh(count, mean.shape[1], seed=seed, scale=scale).to(mean.device)
            now = now + noise - noise.mean(0)
    model.ensemble = None
    model.score = linear(now)


def fresh(count: int, width: int, *, seed: int, scale: float) -> Tensor:
    """Random heads [count, width], normal with deviation scale/sqrt(width + 1) (Stiennon et al. 2020, 2009.01325)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, width), generator=generator) * scale / (width + 1) ** 0.5


def draws(prompt: Sequence[int], *, count: int, seed: int) -> list[int]:
    """How often each of `count` heads learns from a prompt: Poisson(1), of the seed and the prompt's tokens alone.

    Whatever the order of the rows, their minibatches or the processes: every epoch, and a resumed run, draws the same.
    """
    generator = random.Random(f"{seed}/{','.join(map(str, prompt))}")
    return [_poisson(generator) for _ in range(count)]


def _poisson(generator: random.Random) -> int:
    """Knuth's method: how many uniform numbers can be multiplied before the product falls below exp(-1)."""
    drawn, product = 0, generator.random()
    while product > 0.36787944117144233:
        drawn += 1
        product *= generator.random()
    return drawn


def drawn(
    comparisons: Comparisons, groups: Sequence[Sequence[RankedGroup]], times: Sequence[Sequence[int]]
) -> Comparisons:
    """The comparisons of groups with a row of weights for each head: [pairs] -> [m, pairs].

    `times` says of every group how often each head learns from it. The loss of an ensemble is the mean of its heads'.
    """
    pairs = torch.tensor([sum(len(ranking.pairs) for ranking in rankings) for rankings in groups])
    learned = torch.tensor(times, dtype=comparisons.weight.dtype).repeat_interleave(pairs, dim=0)
    return replace(comparisons, weight=comparisons.weight * learned.T.to(comparisons.weight.device))


def settle(model: Any) -> None:
    """Put the mean in the place of several trained heads, and keep them beside it: the shape that is saved and used."""
    weight = model.score.weight.detach()
    if len(weight) == 1:
        return
    model.ensemble = Heads(weight.clone(), torch.zeros(len(weight), device=weight.device))
    model.score = linear(weight.mean(0, keepdim=True))
    exact = getattr(model, EXACT, {})
    if "score.weight" in exact:
        exact["score.weight"] = model.score.weight.data


def level(model: Any, *, shifts: Sequence[float], scale: float) -> None:
    """Put the scores of a settled model on their scale: a shift for each head, and one scale."""
    model.config.reward_shift, model.config.reward_scale = sum(shifts) / len(shifts), scale
    if (heads := held(model)).count > 1:
        model.ensemble = replace(heads, shifts=torch.tensor(shifts, dtype=torch.float32, device=heads.weight.device))


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], len(weight), bias=False, device=weight.device, dtype=weight.dtype)
    layer.weight.data.copy_(weight)
    return layer


# ---- on disk -----------------------------------------------------------------------------------------------------


def save(model: Any, folder: Path) -> None:
    """Write the heads of an ensemble into the model's folder; of a single head nothing."""
    heads = held(model)
    if heads.count > 1:
        tensors = {"score.heads": heads.weight, "score.shifts": heads.shifts}
        save_file({name: value.float().contiguous().cpu() for name, value in tensors.items()}, folder / FILE)


def note(model: Any) -> None:
    """Say in the model's configuration how many heads there are, so that their file is missed where it is missing."""
    if (count := held(model).count) > 1:
        setattr(model.config, COUNT, count)
    elif hasattr(model.config, COUNT):
        delattr(model.config, COUNT)


def attach(model: Any, folder: Path) -> None:
    """Read the heads of an ensemble just loaded. Raises BadInput where they are missing or are another model's."""
    count = getattr(model.config, COUNT, 1)
    if count == 1:
        return
    path = folder / FILE
    if not path.is_file():
        raise BadInput(f"{folder} is an ensemble of {count} heads, and {FILE} is missing: copy it there too.")
    try:
        tensors = load_file(path)
        weight, shifts = tensors["score.heads"].float(), tensors["score.shifts"].float()
    except (OSError, KeyError, SafetensorError) as error:
        raise BadInput(f"{path} cannot be read: {str(error).strip()}.") from None
    mean = model.score.weight
    fits = weight.shape == (count, mean.shape[1]) and shifts.shape == (count,)
    if not fits or not torch.allclose(weight.mean(0, keepdim=True), mean.cpu().float(), atol=1e-5, rtol=1e-4):
        raise BadInput(f"{path} does not hold the heads of this model: their mean is not its head.")
    model.ensemble = Heads(weight.to(mean.device), shifts.to(mean.device))


# ---- what to make of it ------------------------------------------------------------------------------------------


def conservative(opinions: Tensor, *, objective: str, coef: float) -> Tensor:
    """One score from those of m heads or models, [..., m] -> [...]: high only where they agree that it is.

    "std": mean - coef x standard deviation. "variance": mean - coef x variance, the uncertainty-weighted objective of
    Coste et al. 2023 (2310.02743); "worst": the least of them, their worst-case objective. Variances and deviations
    are those of the m themselves (divided by m).
    """
    if objective == "worst":
        return opinions.amin(-1)
    spread_ = opinions.std(-1, correction=0)
    return opinions.mean(-1) - coef * (spread_ if objective == "std" else spread_**2)


def disagreement(opinions: Tensor) -> float:
    """How little m heads agree on the order of K responses: [K, m] -> the deviation of r_i - r_j, averaged over pairs.

    Differences and not scores: that all heads find both answers hard to place says nothing about which is better.
    """
    first, second = torch.triu_indices(len(opinions), len(opinions), offset=1)
    differences = opinions[first] - opinions[second]
    return float(differences.std(-1, correction=0).mean()) if len(first) else 0.0
