"""The heads of a reward model: one, or an ensemble of m heads on one trunk, and scores from several heads.

m heads cost one trunk: they differ by their random initialisation and by their data (preferences.bootstrap).

On disk an ensemble is an ordinary reward model whose head is the mean of the m heads, which is the mean of their logits
because a head is linear; the heads themselves are in heads.safetensors beside it.
"""

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

FILE = "heads.safetensors"
COUNT = "reward_heads"
"""Key of config.json: the number of heads, where there are several."""


@dataclass(frozen=True)
class Heads:
    """The heads of a reward model that is not being trained."""

    weight: Tensor  # (heads, width), fp32
    shifts: Tensor  # (heads,), fp32: the logit of each head at score 0

    @property
    def count(self) -> int:
        return len(self.weight)


def heads_of(model: Any) -> Heads:
    """The heads of a reward model: those of an ensemble, or the single one."""
    ensemble = getattr(model, "ensemble", None)
    if isinstance(ensemble, Heads):
        return ensemble
    weight = model.score.weight
    shift = float(getattr(model.config, "reward_shift", 0.0))
    return Heads(weight, torch.full((len(weight),), shift, device=weight.device))


def scores(model: Any, logits: Tensor) -> Tensor:
    """(logit - shift) / scale for each head: (..., heads) -> (..., heads); the mean is the score of the mean head.

    Each head has its own shift: the loss does not determine a head's level, and a difference of levels is no
    disagreement.
    """
    return (logits - heads_of(model).shifts.to(logits.device)) / float(getattr(model.config, "reward_scale", 1.0))


# ---- training ----------------------------------------------------------------------------------------------------


def resize(model: Any, *, count: int, seed: int, scale: float) -> None:
    """Give a reward model `count` heads to train.

    An ensemble of that size keeps its heads. Otherwise all start from the mean head, with random differences that sum
    to 0.
    """
    weight: Tensor = heads_of(model).weight.detach()
    if len(weight) != count:
        mean = model.score.weight.detach()
        weight = mean.expand(count, -1)
        if count > 1:
            noise = init(count, mean.shape[1], seed=seed, scale=scale).to(mean.device)
            weight = weight + noise - noise.mean(0)
    model.ensemble = None
    model.score = linear(weight)


def init(count: int, width: int, *, seed: int, scale: float) -> Tensor:
    """Random heads (count, width), normal with deviation scale / sqrt(width + 1) (Stiennon et al. 2020, 2009.01325)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, width), generator=generator) * scale / (width + 1) ** 0.5


def average(model: Any) -> None:
    """Replace trained heads by their mean and keep them beside it, the form in which a model is saved and used."""
    weight = model.score.weight.detach()
    if len(weight) == 1:
        return
    model.ensemble = Heads(weight.clone(), torch.zeros(len(weight), device=weight.device))
    model.score = linear(weight.mean(0, keepdim=True))
    exact = getattr(model, EXACT, {})
    if "score.weight" in exact:
        exact["score.weight"] = model.score.weight.data


def calibrate(model: Any, *, shifts: Sequence[float], scale: float) -> None:
    """Set the shift of each head and the common scale of scores of a model after `average`."""
    model.config.reward_shift, model.config.reward_scale = sum(shifts) / len(shifts), scale
    if (heads := heads_of(model)).count > 1:
        model.ensemble = replace(heads, shifts=torch.tensor(shifts, dtype=torch.float32, device=heads.weight.device))


def linear(weight: Tensor) -> nn.Linear:
    """A linear layer without bias, with a copy of `weight`: (heads, width)."""
    layer = nn.Linear(weight.shape[1], len(weight), bias=False, device=weight.device, dtype=weight.dtype)
    layer.weight.data.copy_(weight)
    return layer


# ---- files -------------------------------------------------------------------------------------------------------


def save(model: Any, folder: Path) -> None:
    """Write the heads of an ensemble into the model's folder; a single head needs no file."""
    heads = heads_of(model)
    if heads.count > 1:
        tensors = {"score.heads": heads.weight, "score.shifts": heads.shifts}
        save_file({name: value.float().contiguous().cpu() for name, value in tensors.items()}, folder / FILE)


def record_count(model: Any) -> None:
    """Write the number of heads into the model's configuration, so that a missing file of heads is noticed."""
    if (count := heads_of(model).count) > 1:
        setattr(model.config, COUNT, count)
    elif hasattr(model.config, COUNT):
        delattr(model.config, COUNT)


def attach(model: Any, folder: Path) -> None:
    """Load the heads of an ensemble. Raises BadInput where their file is missing or belongs to another model."""
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


# ---- scores of several heads -------------------------------------------------------------------------------------


def ensemble_score(head_scores: Tensor, *, objective: str, coef: float) -> Tensor:
    """One conservative score from those of several heads or models: (..., heads) -> (...,).

    "std": mean - coef x standard deviation. "variance": mean - coef x variance, the uncertainty-weighted objective of
    Coste et al. 2023 (2310.02743). "worst": the minimum, their worst-case objective. Deviation and variance are those
    of the population (divided by the number of heads).
    """
    if objective == "worst":
        return head_scores.amin(-1)
    std = head_scores.std(-1, correction=0)
    return head_scores.mean(-1) - coef * (std if objective == "std" else std**2)


def disagreement(head_scores: Tensor) -> float:
    """Disagreement of heads on the order of responses: (responses, heads) -> mean over pairs of std(r_i - r_j).

    Of differences and not of scores: that all heads find both responses hard to score says nothing about which is
    better.
    """
    first, second = torch.triu_indices(len(head_scores), len(head_scores), offset=1)
    differences = head_scores[first] - head_scores[second]
    return float(differences.std(-1, correction=0).mean()) if len(first) else 0.0
