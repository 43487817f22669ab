"""What every recipe does between its steps: resume, clock, checkpoint, stop, and end the run folder in order."""

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from models_core.contract.errors import BadInput, Diverged, Halted, Stopped
from models_core.contract.runs import processes
from models_core.contract.runs.run_folder import RunFolder
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import TrainingSettings
from models_core.modeling import compiled_layers, forward_check, operators, packing
from models_core.modeling.adapters import keeps_base, parameter_summary, trainable
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.adapters.merging import LEARNED, merging_layers, on_disk
from models_core.training import checkpoint, ddp, distributed, fsdp, memory, precision
from models_core.training.best import Best
from models_core.training.optimizer import MasterAdamW

Minibatch = TypeVar("Minibatch")
Penalty = Callable[[Mapping[str, Tensor]], None]
"""Adds to the gradients of the fp32 masters, by name, once a step: a pull that no micro-batch knows of."""
Tensors = Callable[[], Mapping[str, Mapping[str, Tensor]]]
"""Named tensors by group, whole: called by all processes when a checkpoint is made."""


class Training:
    """One run of a recipe. Optimizers made here are part of its checkpoints.

    The optimizers' fp32 masters are the weights that learn, so a checkpoint needs no second copy of the model.
    """

    def __init__(
        self,
        *,
        out: str | Path,
        stage: str,
        settings: TrainingSettings,
        models: Mapping[str, str],
        data: Mapping[str, Path],
        device: torch.device,
        stop: StopSignal,
        resume: bool,
    ) -> None:
        """Check the run folder. Numbers' precision and the thread count of a resumed run are those it began with."""
        self.settings = settings
        self.device = device
        self.stop = stop
        self.stop.waits_for_step = processes.count() > 1
        self.seconds = 0.0
        self.optimizers: dict[str, MasterAdamW] = {}
        self.best = Best()
        self._models: dict[str, Any] = {}
        self._summaries: list[str] = []
        self._computed: dict[str, Any] = {}
        self._step = 0
        self._total = 0
        self.run = RunFolder(out)
        self.run.check(
            stage=stage, settings=settings, models=models, data=data, threads=torch.get_num_threads(), resume=resume
        )
        self._saved = checkpoint.latest(self.run.checkpoints) if self.run.resumed else None
        memory.keep_freed_memory()
        distributed.join(device)
        distributed.wait()  # until all have looked, none may write
        if self.run.resumed:
            torch.set_num_threads(json.loads((self.run.path / "run.json").read_text(encoding="utf-8"))["threads"])
        self.precision = self._saved.state["precision"] if self._saved else self._resolved_precision()
        torch.manual_seed(settings.seed)

    def _resolved_precision(self) -> str:
        """The setting, or what the first process measures: all must compute alike."""
        is_bf16 = processes.is_main() and precision.resolve(self.settings.precision, device=self.device) == "bf16"
        return "bf16" if distributed.any_of(is_bf16, device=self.device) else "fp32"

    @property
    def dtype(self) -> torch.dtype:
        return precision.dtype_of(self.precision)

    def optimizer(
        self,
        name: str,
        model: Any,
        *,
        learning_rate: float,
        eps: float = 1e-8,
        muon: Collection[str] = (),
        weights: Mapping[str, nn.Parameter] | None = None,
    ) -> MasterAdamW:
        """AdamW over the weights of a model that learn, or over those given; Muon over those of these names.

        Before that the model takes the shape it is trained in: its layers split over processes, or computed twice.
        """
        # Only where the model's own weights learn do they start from the file's; else it need not be read again.
        # Two optimizers may share a model: the second has a head of its own, which is in no file.
        is_first = model not in self._models.values()
        start = on_disk(model) if is_first and not keeps_base(self.settings.method) else {}
        is_new_network = is_first and isinstance(model, PreTrainedModel)
        if is_new_network and self.settings.compile_trunk:
            self._compile(model)
        if self.settings.gradient_checkpointing:
            memory.checkpoint_activations(model)
        if self.is_sharded:
            if muon:
                raise BadInput("parallel=fsdp splits the matrices that muon needs whole: take optimizer=adamw, or ddp.")
            self.shard(model)
            if weights is not None:
                split = dict(model.named_parameters())
                weights = {weight: split[weight] for weight in weights}
        if is_new_network:
            packing.check(trunk(model))
        if self.dtype == torch.bfloat16 and self.device.type == "cpu":
            operators.prepare(*(name for name in operators.NAMES if name != "decoder"))
        self.optimizers[name] = MasterAdamW(
            trainable(model) if weights is None else weights,
            lr=learning_rate,
            weight_decay=self.settings.weight_decay,
            eps=eps,
            muon=muon,
            start=start,
        )
        if is_first:
            self._summaries.append(parameter_summary(model))
        if is_new_network:
            self._computed[name] = forward_check.report(model)
        self._models[name] = model
        return self.optimizers[name]

    def shard(self, model: Any) -> None:
        """Split the layers of a model over the processes where the run asks for it: also of one that does not learn.

        `optimizer` does so for those that learn; before it for one that is to compute until then.
        """
        if self.is_sharded:
            fsdp.shard(model, device=self.device)

    def _compile(self, model: PreTrainedModel) -> None:
        if self.is_sharded:
            raise BadInput("compile_trunk compiles whole layers, which parallel=fsdp splits: take parallel=ddp.")
        compiled_layers.compile_layers(model)

    @property
    def is_sharded(self) -> bool:
        """Whether the model's weights are split over the processes."""
        return processes.count() > 1 and self.settings.parallel == "fsdp"

    @property
    def loading_device(self) -> torch.device:
        """Where models are loaded: those that are split go from the host to the device layer by layer (`shard`)."""
        return torch.device("cpu") if self.is_sharded else self.device

    def restore(self) -> tuple[int, dict[str, Any]]:
        """Steps done and the recipe's own state, (0, {}) at a fresh start. Call it once all optimizers are made.

        Only now is a fresh run's folder created, and said how many weights learn: until here bad input leaves nothing
        behind, and is all that is said.
        """
        self.run.note("forward", self._computed)
        self.run.create()
        if processes.is_main():
            print(*self._summaries, sep="\n", file=sys.stderr, flush=True)
        if self._saved is None:
            self.run.rewind(0)
            return 0, {}
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(self._saved.tensors(name))
        self._saved.restore_rng()
        self.run.rewind(self._saved.step)
        self.seconds = self._saved.state["seconds"]
        self.best = Best.from_state_dict(self._saved.state["best"])
        self._step = self._saved.step
        return self._saved.step, self._saved.state["recipe"]

    @property
    def restored_step(self) -> int:
        """The step of the checkpoint that the run goes on from, 0 at a fresh start."""
        return self._saved.step if self._saved else 0

    def saved_tensors(self, group: str) -> dict[str, torch.Tensor]:
        """A group of tensors that the recipe gave to `between_steps`, of the checkpoint resumed from, if any."""
        holds_it = self._saved is not None and (self._saved.folder / f"{group}.safetensors").exists()
        return self._saved.tensors(group) if self._saved and holds_it else {}

    def steps(self, plan: Sequence[Minibatch]) -> Iterator[tuple[int, Minibatch]]:
        """The steps of a plan that are left, numbered from 1. Ends early once held-out rows say so (`patience`)."""
        self._total = len(plan)
        self.run.progress(self._step, self._total)
        for step, minibatch in enumerate(plan[self._step :], start=self._step + 1):
            if self.settings.patience and self.best.stale >= self.settings.patience:
                return
            yield step, minibatch
            self._step = step

    @contextmanager
    def step(
        self,
        number: int,
        *,
        total: int,
        state: Mapping[str, Any] | None = None,
        tensors: Tensors | None = None,
    ) -> Iterator[None]:
        """Step `number` (from 1) of `total`: its time counts towards the run's rates; loading and saving do not.

        Where the body raises Stopped or Halted it must not have changed a weight yet: the step before it is saved, with
        the `state` and `tensors` of that time, and a resumed run does this one again.
        """
        self.stop.step_began()
        start = time.perf_counter()
        with self.after(number - 1, total=total, state=state, tensors=tensors):
            yield
        self.seconds += time.perf_counter() - start
        self.stop.step_ended()

    @contextmanager
    def after(
        self,
        step: int,
        *,
        total: int,
        state: Mapping[str, Any] | None = None,
        tensors: Tensors | None = None,
    ) -> Iterator[None]:
        """What comes after `step` of `total` and changes no weight.

        Where it raises Stopped or Halted the step is saved, with this `state` and these `tensors`.
        """
        try:
            yield
        except Halted:
            self.save(step, state=state or {}, tensors=tensors)
            raise
        except Stopped:
            self.save(step, state=state or {}, tensors=tensors)
            raise Stopped(f"Stopped after step {step} of {total}; --resume goes on from there.") from None

    def backward(self, loss: Tensor, *names: str, is_last: bool) -> None:
        """Add the gradient of a part of a minibatch's loss to the weights of these optimizers; see ddp.backward."""
        ddp.backward(loss, is_last=is_last, syncs=[self.optimizers[name].gradient_sync for name in names])

    def update(self, name: str, *, learning_rate: float, penalty: Penalty | None = None) -> float:
        """Clip and apply the collected gradients; returns the norm they had. Raises Diverged if it is not finite."""
        optimizer = self.optimizers[name]
        norm = optimizer.clip(self.settings.max_grad_norm, penalty=penalty)
        if isinstance(norm, Tensor):
            # The step is queued before anybody waits for the norm: where that is not finite it changes nothing.
            optimizer.step(lr=learning_rate)
            return _finite(norm.item())
        _finite(norm)
        optimizer.step(lr=learning_rate)
        return norm

    def measure(
        self, step: int, of: Callable[[], Mapping[str, float]], *, by: str, due: bool = False
    ) -> dict[str, float]:
        """Measure held-out rows where it is time: every `eval_every` steps, at the plan's end, and where `due` says so.

        Less is better in the measure called `by`, and the best weights are kept. Returns {} where it is not time.
        """
        every = self.settings.eval_every
        if not (due or (every and step % every == 0) or step == self._total):
            return {}
        # What the first process measures counts: all must come to the same decision.
        measures = {
            name: distributed.total(value if processes.is_main() else 0.0, device=self.device)
            for name, value in of().items()
        }
        if self.best.update(measures, by=by, step=step) and self.settings.load_best_at_end and step < self._total:
            weights = {name: optimizer.weights() for name, optimizer in self.optimizers.items()}
            if processes.is_main():
                self.best.save(self.run.checkpoints, weights)
        return measures

    def load_best(self) -> dict[str, float]:
        """Put the best weights measured into the model, at the end; what they measured, and their step.

        Without `load_best_at_end` the last ones stay. {} where nothing was measured.
        """
        measures = self._load_best()
        self.store_learned_weights()
        return measures

    def store_learned_weights(self) -> None:
        """Training is over: keep the fp32 weights beside the models.

        Those with adapters to merge are whole again where they were split; others stay split until `gather`.
        """
        for name, model in self._models.items():
            setattr(model, LEARNED, getattr(model, LEARNED, {}) | self.optimizers[name].weights())
            if self.is_sharded and merging_layers(model):
                fsdp.unshard(model)

    def gather(self, model: Any) -> None:
        """Before a model is saved: its whole weights in host memory of the first process, where they were split."""
        fsdp.unshard(model, for_saving=True)

    def _load_best(self) -> dict[str, float]:
        if not self.best.step:
            return {}
        measures = self.best.measures if self.settings.load_best_at_end else self.best.latest
        if self.settings.load_best_at_end and self.best.step != self._step:
            distributed.wait()
            saved = self.best.load(self.run.checkpoints)
            for name, optimizer in self.optimizers.items():
                optimizer.load_weights(saved.tensors(name))
        return measures | {"best_step": self.best.step}

    def between_steps(
        self,
        step: int,
        *,
        total: int,
        state: Mapping[str, Any] | None = None,
        tensors: Tensors | None = None,
    ) -> None:
        """After `step` of `total` steps: tell the progress, save when it is time. Raises Stopped once asked to stop."""
        self.run.progress(step, total)
        every = self.settings.save_every
        due = every > 0 and step % every == 0 and step < total
        must_stop = distributed.any_of(self.stop.requested, device=self.device)
        if due or must_stop:
            self.save(step, state=state or {}, tensors=tensors)
        if must_stop:
            raise Stopped(f"Stopped after step {step} of {total}; --resume goes on from there.")

    def save(self, step: int, *, state: Mapping[str, Any], tensors: Tensors | None) -> None:
        """Write a checkpoint: of whole weights, so that any number of processes can go on from it."""
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        others = tensors() if tensors is not None else {}
        if not processes.is_main():
            return
        checkpoint.save(
            self.run.checkpoints,
            step=step,
            tensors={**optimizers, **others},
            state={
                "precision": self.precision,
                "seconds": self.seconds,
                "best": self.best.state_dict(),
                "recipe": dict(state),
            },
            keep=self.settings.keep_checkpoints,
        )
        self.best.remove_unreferenced(self.run.checkpoints)

    def finish(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Write result.json and return the metrics. Checkpoints go: with fp32 moments they outweigh the model."""
        distributed.wait()  # the others may still read the best weights
        if processes.is_main():
            self.run.finish(status="succeeded", metrics=metrics)
            shutil.rmtree(self.run.checkpoints, ignore_errors=True)
        return metrics


def _finite(norm: float) -> float:
    """The norm of the gradients. Raises Diverged where it is no number."""
    if not math.isfinite(norm):
        raise Diverged("The gradient is not a finite number: training diverged. Try a smaller learning_rate.")
    return norm
