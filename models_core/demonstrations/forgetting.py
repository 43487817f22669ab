"""Elastic weight consolidation: weights that an old task needs are held where it left them.

Kirkpatrick et al. 2017 (1612.00796), equation 3: L(w) = L_new(w) + lambda/2 sum_i F_i (w_i - w*_i)^2, where w* are the
weights before the new task and F is the diagonal of the Fisher information of the old one. F is counted per token, as
the training loss is: lambda = 1 then weighs a rise of the old task's mean loss, to second order and as far as the
diagonal sees it, like the new task's loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from models_core.contract import atomic_write
from models_core.contract.runs.stopping import StopSignal
from models_core.demonstrations.examples import Example
from models_core.demonstrations.token_losses import loss_positions, predicting_states
from models_core.modeling.adapters import trainable
from models_core.modeling.ops import head_log_probs

CHUNK = 256
"""Tokens whose distributions over the vocabulary are held at once."""


@dataclass(kw_only=True)
class ElasticWeights:
    """Fisher information and anchor of every weight that learns, by name, in fp32. `penalty` is the last one added."""

    fisher: Mapping[str, torch.Tensor]
    anchor: Mapping[str, torch.Tensor]
    coef: float
    penalty: float = 0.0

    def penalise(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Add the penalty's gradient, lambda F (w - w*), to the weights' gradients, and note the penalty itself.

        `weights` are the optimizer's fp32 masters, whose gradients are complete but not yet clipped.
        """
        total: Any = 0.0
        with torch.no_grad():
            for name, weight in weights.items():
                drift = weight - self.anchor[name]
                pull = self.fisher[name] * drift
                total += 0.5 * self.coef * torch.sum(pull * drift).double()
                if weight.grad is None:
                    weight.grad = torch.zeros_like(weight)
                weight.grad.add_(pull, alpha=self.coef)
        self.penalty = float(total)

    def save(self, path: Path) -> None:
        """Write both, whole or not at all: a resumed run must not measure them again on weights that moved."""
        tensors = {f"fisher.{name}": value for name, value in self.fisher.items()}
        tensors |= {f"anchor.{name}": value for name, value in self.anchor.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write.replacing(path) as file:
            file.write(save({name: value.contiguous().cpu() for name, value in tensors.items()}))

    @classmethod
    def load(cls, path: Path, *, coef: float, device: torch.device) -> "ElasticWeights":
        """What `save` wrote."""
        tensors = load_file(path, device=str(device))
        parts: dict[str, dict[str, torch.Tensor]] = {"fisher": {}, "anchor": {}}
        for key, value in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = value
        return cls(fisher=parts["fisher"], anchor=parts["anchor"], coef=coef)

    @classmethod
    def of(
        cls,
        network: Any,
        examples: Sequence[Example],
        *,
        weights: Mapping[str, torch.Tensor],
        coef: float,
        seed: int,
        device: torch.device,
        stop: StopSignal,
    ) -> "ElasticWeights":
        """Anchored at the weights (fp32 masters) as they are now, with the Fisher information of the old task."""
        fisher = fisher_diagonal(network, examples, weights=weights, seed=seed, device=device, stop=stop)
        return cls(fisher=fisher, anchor={name: weight.detach().clone() for name, weight in weights.items()}, coef=coef)


def fisher_diagonal(
    network: Any,
    examples: Sequence[Example],
    *,
    seed: int,
    device: torch.device,
    stop: StopSignal,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """E[(d log p(y) / d w)^2] per learned token, over the old task's prompts and over y drawn from the model itself.

    Responses are sampled token by token behind the demonstration's own tokens. Taking the demonstration's token for y
    would give the "empirical" Fisher information, which is no curvature where the model is not yet fitted (Kunstner
    et al. 2019, 1905.12558). One backward pass a row: the squares of draws from the model add up without cross terms.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = trainable(network) if weights is None else weights  # an optimizer's masters take the gradients over
    fisher = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
    tokens = 0
    for example in examples:
        stop.check()
        at = loss_positions([example], whole_rows=False, device=device)
        states, _ = predicting_states(network, [example], at, device=device)
        head = network.get_output_embeddings()
        drawn = _drawn(states.detach(), head, generator)
        head_log_probs(states, head, drawn).sum().backward()
        for name, weight in weights.items():
            if weight.grad is not None:
                fisher[name] += weight.grad.float() ** 2
                weight.grad = None
        tokens += example.loss_tokens
    return {name: total / tokens for name, total in fisher.items()}


@torch.no_grad()
def _drawn(states: torch.Tensor, head: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
    """A token for each hidden state, drawn from what the model predicts there: [M, D] -> [M]."""
    drawn = []
    for part in states.split(CHUNK):
        cumulative = head(part).float().softmax(dim=-1).cumsum(dim=-1)
        points = torch.rand(len(part), 1, generator=generator).to(part.device) * cumulative[:, -1:]
        drawn.append(torch.searchsorted(cumulative, points).clamp(max=cumulative.shape[-1] - 1).squeeze(-1))
    return torch.cat(drawn)
