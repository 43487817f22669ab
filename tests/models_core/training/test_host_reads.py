"""What a step of training reads back from its device, on the path that GPUs take: so many numbers a step, however many
micro-batches it has. Counted on a processor, where reading costs nothing and is seen all the same.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from models_core.modeling import devices, torch_attention
from models_core.recipes import ppo
from models_core.rl.update import ppo_update
from models_core.training import distributed
from models_core.training.loop import Training
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import run
from tests.models_core.tiny import make_tiny_model

aten = torch.ops.aten
ALWAYS = {aten._local_scalar_dense, aten.is_nonzero, aten.nonzero, aten.masked_select, aten.equal, aten.unique_dim}
BY_INDEX = {aten.index, aten.index_put, aten.index_put_, aten._unsafe_index}
READS = {Tensor.cpu, Tensor.tolist, Tensor.numpy}
UPLOADS = {torch.tensor, torch.as_tensor, Tensor.to, Tensor.cuda, Tensor.new_tensor}


class Operators(TorchDispatchMode):
    """Counts operators that need a number of the device before the host can go on."""

    def __init__(self, found: "Counter[str]") -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet, kwargs = func.overloadpacket, kwargs or {}
        by_mask = packet in BY_INDEX and any(part is not None and part.dtype == torch.bool for part in args[1])
        repeats = packet is aten.repeat_interleave and isinstance(args[0], Tensor) and "output_size" not in kwargs
        if packet in ALWAYS or by_mask or repeats:
            self.found[packet.__name__] += 1
        return func(*args, **kwargs)


class Calls(TorchFunctionMode):
    """Counts copies to the host, and Hone's copies to the device that don't go by `devices.to_device`."""

    def __init__(self, found: "Counter[str]") -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in READS:
            self.found[func.__name__] += 1
        if func in UPLOADS and "models_core" in (file := sys._getframe(1).f_code.co_filename):
            to_device = any(isinstance(part, torch.device | str) for part in [*args, kwargs.get("device")])
            if to_device and not file.endswith("devices.py"):
                self.found[f"{func.__name__} in {Path(file).name}"] += 1
        return func(*args, **kwargs)


@contextmanager
def counted(found: "Counter[str]") -> Iterator[None]:
    with Operators(found), Calls(found):
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def of_whole_mask(query: Tensor, key: Tensor, value: Tensor, *, block_mask: Any, scale: float, enable_gqa: bool) -> Any:
    """In the place of FlexAttention's kernel, which no mode may watch."""
    queries, keys = (torch.arange(part.shape[2]) for part in (query, key))
    mask = block_mask.mask_mod(None, None, queries[:, None], keys)
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale, enable_gqa=enable_gqa
    )


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_attention, "_kernel", lambda **_: of_whole_mask)


@pytest.fixture
def micro_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many each minibatch had."""
    found: list[int] = []
    usual = distributed.micro_batches_for_rank

    def noted(*given: Any, **named: Any) -> Any:
        shares = usual(*given, **named)
        found.append(len(shares))
        return shares

    monkeypatch.setattr(distributed, "micro_batches_for_rank", noted)
    return found


def steps_of(monkeypatch: pytest.MonkeyPatch) -> list["Counter[str]"]:
    """What each step of a run reads."""
    found: list[Counter[str]] = []
    usual = Training.step

    @contextmanager
    def step(self: Training, *given: Any, **named: Any) -> Iterator[None]:
        with usual(self, *given, **named):
            found.append(Counter())
            with counted(found[-1]):
                yield

    monkeypatch.setattr(Training, "step", step)
    return found


SIZES = (20, 9, 18, 7, 21, 8, 20, 10)
"""Of documents, in four tokens each."""
MORE: dict[str, dict[str, Any]] = {
    "sft": {"lm_coef": 0.1},
    "distil": {"objective": "logits", "sft_coef": 0.5, "response_source": "data"},
    "pretrain": {"max_length": 64, "batch_size": 3, "sample_tokens": 0, "optimizer": "adamw", "overlap": 0.0},
    "reward": {"ensemble": 2},
}
STAGES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "sft": lambda folder: {"data": recipe_runs.demonstrations(folder)},
    "reward": lambda folder: {"data": recipe_runs.rankings(folder)},
    "dpo": lambda folder: {"data": recipe_runs.rankings(folder)},
    "distil": lambda folder: {"data": recipe_runs.demonstrations(folder)},
    "pretrain": lambda folder: {
        "data": recipe_runs.write(folder / "corpus.jsonl", [{"text": "ab c" * n} for n in SIZES])
    },
}


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_step_is_read_twice_however_many_micro_batches_it_has(
    stage: str, method: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_batches: list[int]
) -> None:
    """The sums of its metrics, and the norm of its gradient."""
    found = steps_of(monkeypatch)
    values = {"epochs": 1, "batch_size": 4, "max_tokens_per_forward": 64, "held_out": 0, "method": method}
    given = STAGES[stage](tmp_path) | ({"teacher": str(base)} if stage == "distil" else {})
    with devices.accelerator_path():
        run(stage, tmp_path / "run", values | MORE.get(stage, {}), model=str(base), **given)
    assert len(found) == 2
    assert min(micro_batches) >= 2, micro_batches
    # The first step of distillation holds the teacher's fast ways against its plain ones.
    expected = {"_local_scalar_dense": 2} if stage == "pretrain" else {"tolist": 1, "_local_scalar_dense": 1}
    assert [dict(step) for step in found[stage == "distil" :]] == [expected] * (1 if stage == "distil" else 2)


PLANS: dict[str, dict[str, Any]] = {
    "head": {"method": "lora"},
    "two models": {"method": "full", "value_init": "reward"},
    "grpo": {"algorithm": "grpo", "samples_per_prompt": 2},
}


@pytest.mark.parametrize("plan", PLANS)
def test_an_iteration_of_ppo_is_read_once_an_update(
    plan: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_batches: list[int]
) -> None:
    """The norm of each optimizer's gradient in each update. All metrics are read at once at the end, those of the text
    too, and how the rollouts' log-probabilities, and values of a head, agree with the first update's.
    """
    found: list[Counter[str]] = []

    def update(*given: Any, **named: Any) -> dict[str, float]:
        micro_batches.clear()
        found.append(Counter())
        with counted(found[-1]):
            return ppo_update(*given, **named)

    monkeypatch.setattr(ppo, "ppo_update", update)
    reward = recipe_runs.make_reward_model(base, tmp_path / "reward")
    text = tmp_path / "text.txt"
    text.write_text("some text to keep in mind " * 20)
    values = {
        "batch_size": 8, "episodes": 16, "minibatches": 2, "ppo_epochs": 1, "max_new_tokens": 6, "held_out": 0,
        "max_tokens_per_forward": 64, "ptx_coef": 1.0, "eval_every": 0, **PLANS[plan],
    }  # fmt: skip
    given = {"model": str(base), "reward": str(reward), "data": recipe_runs.prompts(tmp_path), "ptx": text}
    with devices.accelerator_path():
        run("ppo", tmp_path / "run", values, **given)
    assert len(micro_batches) == 4, micro_batches  # of two updates and their texts
    assert min(micro_batches) >= 2, micro_batches
    optimizers, compared = (1, 1) if plan == "grpo" else (2, 2 if plan == "head" else 1)
    expected = {"_local_scalar_dense": 2 * optimizers, "tolist": 2 + compared}
    assert [dict(iteration) for iteration in found] == [expected] * 2


def test_the_path_of_gpus_ends_with_the_same_weights(base: Path, tmp_path: Path) -> None:
    """Attention by a mask of blocks, the vocabulary in larger chunks, a clipping factor that nobody reads."""
    values = {
        "epochs": 2, "batch_size": 4, "max_tokens_per_forward": 128, "held_out": 0, "max_grad_norm": 0.5,
        "learning_rate": 0.01,
    }  # fmt: skip
    given = {"model": str(base), "data": recipe_runs.rankings(tmp_path)}
    with devices.accelerator_path():
        run("reward", tmp_path / "gpu", values, **given)
    run("reward", tmp_path / "cpu", values, **given)
    for name, weight in recipe_runs.weights(tmp_path / "cpu").items():
        torch.testing.assert_close(recipe_runs.weights(tmp_path / "gpu")[name], weight, rtol=0, atol=2e-5)
