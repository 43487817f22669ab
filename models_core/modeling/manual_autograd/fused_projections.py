"""Linear layers that read the same input, LoRA's matrices beside them included, as one step of the gradient's way.

y = x W^T + b + s (x A^T) B^T for each of them (Hu et al. 2021, 2106.09685). Written one after the other, as peft does,
every layer makes three arrays as large as its output and adds its part of the input's gradient to that of the others.
Here products are added where they are computed, the matrices A of all layers are one product, and s is multiplied where
there are only `rank` numbers a token.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class LowRank(NamedTuple):
    """LoRA's part of a layer: A [r, in], B [out, r], and s."""

    down: Tensor
    up: Tensor
    scale: float


class Projection(NamedTuple):
    """A linear layer as its tensors: W [out, in], b [out]."""

    weight: Tensor
    bias: Tensor | None
    low_rank: LowRank | None = None

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """W, b, A and B."""
        return self.weight, self.bias, *((None, None) if self.low_rank is None else self.low_rank[:2])


def projected(states: Tensor, layers: Sequence[nn.Module]) -> list[Tensor]:
    """What each of the layers makes of the same states: [..., in] -> [..., out] each.

    Layers that are something else than linear layers, plain or with one LoRA beside them, are called as they are.
    """
    projections = [read(layer) for layer in layers]
    if not _are_alike(states, projections):
        return [layer(states) for layer in layers]
    return project(states, [projection for projection in projections if projection is not None])


def project(states: Tensor, projections: Sequence[Projection]) -> list[Tensor]:
    """The same of layers that were read; all tensors are of one dtype."""
    scales = tuple(0.0 if one.low_rank is None else one.low_rank.scale for one in projections)
    by_kind = zip(*(one.tensors for one in projections), strict=True)
    outputs: tuple[Tensor, ...] = _Projections.apply(states, scales, *itertools.chain.from_iterable(by_kind))
    return list(outputs)


def read(layer: Any) -> Projection | None:
    """The layer as it computes now, with its adapter on, off or merged; None where that cannot be said in this form."""
    if _is_plain(layer):
        return Projection(layer.weight, layer.bias)
    if not is_low_rank(layer) or _is_watched(layer) or not _is_plain(layer.base_layer):
        return None
    base = Projection(layer.base_layer.weight, layer.base_layer.bias)
    if layer.disable_adapters or layer.merged:
        return None if layer.disable_adapters and layer.merged else base
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if not active:
        return base
    name = active[0]
    dropout, down, up = layer.lora_dropout[name], layer.lora_A[name], layer.lora_B[name]
    drops = not isinstance(dropout, nn.Identity) and dropout.training
    is_simple = len(active) == 1 and name not in layer.lora_variant and _is_plain(down) and _is_plain(up)
    if drops or not is_simple or down.bias is not None or up.bias is not None:
        return None
    return base._replace(low_rank=LowRank(down.weight, up.weight, layer.scaling[name]))


def low_rank_forward(self: Any, x: Tensor, *given: Any, **named: Any) -> Tensor:
    """In the place of the forward of peft's layer."""
    projection = None if given or named else read(self)
    if not _are_alike(x, [projection]):
        usual: Tensor = type(self).forward(self, x, *given, **named)
        return usual
    return project(x, [one for one in (projection,) if one is not None])[0]


def is_low_rank(layer: Any) -> bool:
    """Whether it is peft's linear layer with LoRA. By its name: peft takes seconds to load, and few runs need it."""
    kind = type(layer)
    return kind.__name__ == "Linear" and kind.__module__ == "peft.tuners.lora.layer"


def _is_plain(layer: Any) -> bool:
    return type(layer) is nn.Linear and not _is_watched(layer)


def _is_watched(layer: nn.Module) -> bool:
    """Whether hooks want to be called: they would be if the layer itself was."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


def _are_alike(states: Tensor, projections: Iterable[Projection | None]) -> bool:
    return all(
        one is not None and all(tensor is None or tensor.dtype == states.dtype for tensor in one.tensors)
        for one in projections
    )


class _Projections(torch.autograd.Function):
    """With u = s x A^T and v = s g B: dB = g^T u, dA = v^T x, dx = g W + v A; over all layers dx is one sum.

    Its tensors are all W, then all b, all A and all B. Kept for the backward pass are u, and x where a matrix needs it.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, scales: tuple[float, ...], *tensors: Tensor | None) -> tuple[Tensor, ...]:
        weights, biases, downs, ups = _by_kind(tensors)
        weights_learn, _, downs_learn, _ = _by_kind(ctx.needs_input_grad[2:])
        rows = states.reshape(-1, states.shape[-1])
        ranks = [0 if down is None else len(down) for down in downs]
        stacked, inner = _stacked([down for down in downs if down is not None]), None
        if stacked is not None:
            inner = _scaled(rows @ stacked.t(), scales, ranks)
        outputs = []
        for weight, bias, up, part in zip(weights, biases, ups, _split(inner, ranks), strict=True):
            output = functional.linear(rows, weight, bias)
            if up is not None:
                output.addmm_(part, up.t())
            outputs.append(output.view(*states.shape[:-1], -1))
        ctx.scales, ctx.ranks = scales, ranks
        needs_states = any(weights_learn) or any(downs_learn)
        ctx.save_for_backward(rows if needs_states else None, stacked, inner, *weights, *ups)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, stacked, inner, *layers = ctx.saved_tensors
        weights, ups = layers[: len(gradients)], layers[len(gradients) :]
        weights_learn, biases_learn, downs_learn, ups_learn = _by_kind(ctx.needs_input_grad[2:])
        flat = [gradient.reshape(-1, gradient.shape[-1]) for gradient in gradients]
        to_states = None
        if ctx.needs_input_grad[0]:
            to_states = flat[0] @ weights[0]
            for gradient, weight in zip(flat[1:], weights[1:], strict=True):
                to_states.addmm_(gradient, weight)
        to_downs: Sequence[Tensor | None] = [None] * len(flat)
        if stacked is not None:
            backs = [gradient @ up for gradient, up in zip(flat, ups, strict=True) if up is not None]
            back = _scaled(backs[0] if len(backs) == 1 else torch.cat(backs, dim=1), ctx.scales, ctx.ranks)
            if to_states is not None:
                to_states.addmm_(back, stacked)
            if any(downs_learn):
                to_downs = (back.t() @ rows).split(ctx.ranks)
        to_ups = [
            gradient.t() @ part if learns else None
            for gradient, part, learns in zip(flat, _split(inner, ctx.ranks), ups_learn, strict=True)
        ]
        return (
            None if to_states is None else to_states.view(*gradients[0].shape[:-1], -1),
            None,
            *(gradient.t() @ rows if learns else None for gradient, learns in zip(flat, weights_learn, strict=True)),
            *(gradient.sum(0) if learns else None for gradient, learns in zip(flat, biases_learn, strict=True)),
            *(to_down if learns else None for to_down, learns in zip(to_downs, downs_learn, strict=True)),
            *to_ups,
        )


def _by_kind(values: Sequence[Any]) -> list[Sequence[Any]]:
    """What belongs to all W, to all b, to all A and to all B."""
    count = len(values) // 4
    return [values[start : start + count] for start in range(0, len(values), count)]


def _stacked(downs: Sequence[Tensor]) -> Tensor | None:
    """All A below each other: [all ranks, in]."""
    return torch.cat(list(downs)) if len(downs) > 1 else next(iter(downs), None)


def _split(inner: Tensor | None, ranks: Sequence[int]) -> Sequence[Any]:
    """Each layer's part of [N, all ranks]."""
    return [None] * len(ranks) if inner is None else inner.split(list(ranks), dim=1)


def _scaled(inner: Tensor, scales: Sequence[float], ranks: Sequence[int]) -> Tensor:
    """Each layer's part of [N, all ranks] times its scale, in place."""
    if len(set(scales)) == 1:
        return inner.mul_(scales[0])
    for part, scale in zip(inner.split(list(ranks), dim=1), scales, strict=True):
        part.mul_(scale)
    return inner
