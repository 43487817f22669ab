"""An optimizer that keeps fp32 masters of bf16 weights.

bf16 has eight bits of mantissa: an update of one part in a thousand is rounded away, and weights trained by a plain
bf16 optimizer do not move at all. The masters collect such updates; the model's weights are their rounded copies.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models_core.contract.runs import processes
from models_core.modeling.devices import is_accelerator
from models_core.training import ddp, distributed, fsdp
from models_core.training.adamw_step import CLIP_EPS, AdamWUpdate, Clipping, adamw_step, gradient_norm, scaled
from models_core.training.ddp import GradientSync


def _master(weight: nn.Parameter) -> nn.Parameter:
    """The fp32 weight that learns in a parameter's place; this process's share of a weight that is split."""
    if fsdp.is_sharded(weight):
        return nn.Parameter(fsdp.local_shard(weight).detach())
    return weight if weight.dtype == torch.float32 else nn.Parameter(weight.detach().float())


def _move_gradient(master: nn.Parameter, weight: Tensor) -> None:
    """Add a parameter's gradient to its master's: in bf16 the sum over many micro-batches would lose its tail.

    The first one of a step is kept in bf16, as it is; processes that share a run add theirs up in fp32 at once.
    """
    if weight.grad is None:
        return
    if master.grad is None:
        is_kept = weight.dtype == torch.bfloat16 and processes.count() == 1
        master.grad = weight.grad if is_kept else weight.grad.float()
    else:
        master.grad = master.grad.float().add_(weight.grad)
    weight.grad = None


class MasterAdamW:
    """AdamW over fp32 masters; an fp32 parameter is its own master.

    Every backward pass adds its bf16 gradients to the masters' in fp32, the last one of a step sums them over the
    processes (models_core.training.ddp), `clip` measures them, `step` scales them down, updates the masters, copies
    these into the model and clears the gradients.

    Matrices named in `muon` are updated by Muon instead (Jordan et al. 2024): the update is the momentum with all its
    singular values made equal, scaled so that AdamW's learning rates and weight decay fit it (Liu et al. 2025,
    2502.16982).
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        muon: Collection[str] = (),
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        """`start` holds the parameters in more bits than they have, where such are known, by name."""
        self.parameters = dict(parameters)
        self.masters = {name: _master(weight) for name, weight in self.parameters.items()}
        for name, exact in (start or {}).items():
            if name in self.masters and self.masters[name] is not self.parameters[name]:
                self.masters[name].data.copy_(self._share(name, exact))
        for name, weight in self.parameters.items():
            if not fsdp.is_sharded(weight) and self.masters[name] is not weight:
                # What is mapped from a file would be copied page by page when the first step writes it.
                weight.data = weight.data.clone()
                self.masters[name].grad_dtype = None  # as they come
                weight.register_post_accumulate_grad_hook(partial(_move_gradient, self.masters[name]))
        replicated = {
            weight: self.masters[name] for name, weight in self.parameters.items() if not fsdp.is_sharded(weight)
        }
        self.gradient_sync = GradientSync(replicated) if replicated and processes.count() > 1 else None
        # Norms and biases are vectors; decaying them only shrinks the model's scales.
        matrices = [master for name, master in self.masters.items() if master.dim() >= 2 and name not in muon]
        vectors = [master for master in self.masters.values() if master.dim() < 2]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=lr, betas=betas, eps=eps, fused=True
        )
        for group in self.adam.param_groups:
            for master in group["params"]:
                # Their memory is taken now: should it run out, it does so before the first step.
                moments = {name: torch.zeros_like(master) for name in ("exp_avg", "exp_avg_sq")}
                # Counted on the weight's device: the fused kernel reads the count there.
                self.adam.state[master] = {"step": torch.zeros((), device=master.device), **moments}
        self.muon = (
            torch.optim.Muon(
                [self.masters[name] for name in muon],
                lr=lr,
                weight_decay=weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
            if muon
            else None
        )
        self._names = {master: name for name, master in self.masters.items()}
        self._factor: float | Clipping = 1.0  # what `step` scales gradients by

    def _state(self, master: nn.Parameter) -> dict[str, Any]:
        """What the optimizer in charge of a master remembers of it."""
        is_muons = self.muon is not None and master in self.muon.state
        return self.muon.state[master] if self.muon and is_muons else self.adam.state.get(master, {})

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Add the gradient of a part of a minibatch's loss; see ddp.backward."""
        ddp.backward(loss, is_last=is_last, syncs=[self.gradient_sync])

    def reduce(self) -> None:
        """Bring what FSDP made of the gradients of split weights to the masters. Once a step."""
        if self.gradient_sync is not None:
            assert self.gradient_sync.is_summed, "the minibatch's last backward pass is MasterAdamW.backward"
            self.gradient_sync.forget_unused()
        for name, weight in self.parameters.items():
            if fsdp.is_sharded(weight):
                # FSDP has averaged these while it split them.
                share = None if weight.grad is None else fsdp.local_shard(weight.grad)
                self.masters[name].grad = None if share is None else share.mul_(processes.count())

    def _norm(self) -> Tensor:
        """Norm of all gradients, on their device; shares of a split weight lie on all processes."""
        grads = {name: master.grad for name, master in self.masters.items() if master.grad is not None}
        shared = [grad for name, grad in grads.items() if fsdp.is_sharded(self.parameters[name])]
        replicated = [grad for name, grad in grads.items() if not fsdp.is_sharded(self.parameters[name])]
        if not shared:
            return gradient_norm(replicated) if replicated else torch.zeros((), device=self._device)
        squares = distributed.all_reduce_sum(gradient_norm(shared).double() ** 2)
        return (squares + (gradient_norm(replicated).double() ** 2 if replicated else 0.0)).sqrt()

    @property
    def _device(self) -> torch.device:
        return next(iter(self.masters.values())).device

    def clip(self, max_norm: float, *, penalty: Callable[[Mapping[str, Tensor]], None] | None = None) -> float | Tensor:
        """Have `step` scale the gradients down to the norm; returns the norm they have. 0 leaves them as they are.

        On a GPU it returns a tensor that nobody has waited for, and `step` leaves out what is not finite.

        `penalty` is called with the masters first and may add to their gradients, which are fp32 for it.
        """
        self.reduce()
        if penalty is not None:
            for master in self.masters.values():
                master.grad = None if master.grad is None else master.grad.float()
            penalty(self.masters)
        norm = self._norm()
        if is_accelerator(norm.device):
            self._factor = Clipping.to(max_norm, norm=norm)
            return norm
        found = float(norm)
        self._factor = min(1.0, max_norm / (found + CLIP_EPS)) if max_norm > 0 else 1.0
        return found

    @torch.no_grad()
    def step(self, *, lr: float) -> None:
        """Update masters and model by the gradients, scaled as `clip` asked for, and forget those."""
        for group in self.adam.param_groups:
            self._adamw_step(group, lr=lr)
        if self.muon is not None:
            self._muon_step(self.muon, lr=lr)
        self._factor = 1.0
        self.clear()

    def _adamw_step(self, group: Mapping[str, Any], *, lr: float) -> None:
        updates = []
        for master in group["params"]:
            if master.grad is None:
                continue
            weight, state = self.parameters[self._names[master]], self.adam.state[master]
            updates.append(
                AdamWUpdate(
                    gradient=master.grad.contiguous(),
                    master=master,
                    exp_avg=state["exp_avg"],
                    exp_avg_sq=state["exp_avg_sq"],
                    weight=None if master is weight or fsdp.is_sharded(weight) else weight,
                    step=state["step"],
                )
            )
        constants = {"weight_decay": group["weight_decay"], "betas": group["betas"], "eps": group["eps"]}
        if updates:
            adamw_step(updates, lr=lr, factor=self._factor, **constants)

    def _muon_step(self, muon: torch.optim.Muon, *, lr: float) -> None:
        masters = muon.param_groups[0]["params"]
        for master in masters:
            if master.grad is None:
                continue
            if isinstance(self._factor, Clipping):
                master.grad = self._factor.apply(master.grad.to(master.dtype))
            else:
                master.grad = scaled(master.grad, self._factor, dtype=master.dtype)
        muon.param_groups[0]["lr"] = lr
        muon.step()
        self._publish(self._names[master] for master in masters)

    def clear(self) -> None:
        """Forget the gradients."""
        for name, weight in self.parameters.items():
            weight.grad = None
            self.masters[name].grad = None

    @torch.no_grad()
    def _publish(self, names: Iterable[str]) -> None:
        for name in names:
            weight = self.parameters[name]
            if self.masters[name] is not weight and not fsdp.is_sharded(weight):
                weight.copy_(self.masters[name])

    def weights(self) -> dict[str, Tensor]:
        """The masters by name, as `whole` has them."""
        return self.whole(self.masters)

    def whole(self, shares: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the shape of these weights, to be saved: put together of all processes' shares where these split.

        Such ones are in host memory, and in the first process alone: a device has no room for all of them.
        """
        placed = ((name, share.to(self.masters[name].device)) for name, share in shares.items())
        return {name: tensor for name, share in placed if (tensor := self._whole(name, share)) is not None}

    def shares(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's shares of whole tensors of the shape of these weights, on the weights' device."""
        return {name: self._share(name, tensor).to(self.masters[name].device) for name, tensor in tensors.items()}

    def _whole(self, name: str, share: Tensor) -> Tensor | None:
        weight = self.parameters[name]
        found = fsdp.full_tensor_of(share.detach(), like=weight)
        if not fsdp.is_sharded(weight):
            return found
        return found.cpu() if processes.is_main() else None

    def _share(self, name: str, tensor: Tensor) -> Tensor:
        return fsdp.shard_of(tensor, like=self.parameters[name])

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put other weights into masters and model; the moments stay."""
        self._load(lambda name: self._share(name, weights[name]))

    def load_shares(self, shares: Mapping[str, Tensor]) -> None:
        """As `load_weights`, of what is this process's of them."""
        self._load(shares.__getitem__)

    @torch.no_grad()
    def _load(self, share_of: Callable[[str], Tensor]) -> None:
        for name, master in self.masters.items():
            master.copy_(share_of(name))
        self._publish(self.parameters)

    def state_dict(self) -> dict[str, Tensor]:
        """All as named tensors, as `whole` has them: "NAME.master", "NAME.exp_avg", "NAME.exp_avg_sq", "NAME.step".

        Of a matrix under Muon: "NAME.master", "NAME.momentum_buffer".
        """
        tensors = {}
        for name, master in self.masters.items():
            for key, value in {"master": master, **self._state(master)}.items():
                if (tensor := self._whole(name, value)) is not None:
                    tensors[f"{name}.{key}"] = tensor
        return tensors

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue exactly where `state_dict` was taken."""
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(self._share(name, tensors[f"{name}.master"]))
        moments: Any = {
            name: {key: self._share(name, tensors[f"{name}.{key}"]) for key in ("exp_avg", "exp_avg_sq", "step")}
            for name in self.masters
            if f"{name}.step" in tensors
        }
        for name, master in self.masters.items():
            if self.muon is not None and (buffer := tensors.get(f"{name}.momentum_buffer")) is not None:
                self.muon.state[master] = {"momentum_buffer": buffer.clone().to(master.device)}
        for name, state in moments.items():
            device = self.masters[name].device
            self.adam.state[self.masters[name]] = {key: value.clone().to(device) for key, value in state.items()}
        self._publish(self.parameters)
