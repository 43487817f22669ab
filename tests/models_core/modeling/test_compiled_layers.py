"""Layers by torch.compile against the same ones as they are, and what is refused in a sentence."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models_core.contract.errors import BadInput
from models_core.modeling import compiled_layers, families, loading, packing
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.forward_check import FOUND
from models_core.modeling.packing import Group, hidden_states, pack
from models_core.training.loop import Training
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import run
from tests.models_core.tiny import make_tiny_model

ROWS = [
    [Group(range(3, 40), [range(5, 9), range(30)])],
    [Group(range(3, 20), [range(5, 9)]), Group(range(70), [[3]])],
    [Group(range(3, 90), [range(5, 9), range(30), [4]])],
]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model")


@pytest.fixture(autouse=True)
def compiled_anew() -> Iterator[None]:
    usual = compiled_layers._compiled
    usual.cache_clear()
    yield
    usual.cache_clear()


def load(base: Path) -> Any:
    return loading.load_policy(base, device="cpu", dtype=torch.float32)


def states_and_gradients(model: Any, rows: list[Group]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    packed = pack(rows, sharing="always")
    states = hidden_states(trunk(model), packed, rows=packed.predictors)
    states.pow(2).mean().backward()
    found = [weight.grad for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    return states.detach(), found


def test_compiled_layers_compute_the_same(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of three lengths and layouts, forward and gradients: traced as for a GPU, where kernels are made of it."""
    counters = torch._dynamo.utils.counters
    usual, compiled = load(base), load(base)
    expected = [states_and_gradients(usual, rows) for rows in ROWS]
    states_and_gradients(compiled, ROWS[0])  # our own gradients are in its layers, and are taken out again
    monkeypatch.setattr(compiled_layers, "BACKEND", "aot_eager")
    with monkeypatch.context() as patch:
        patch.setattr(packing, "check", lambda _: None)  # it compiles without gradients, too
        compiled_layers.compile_layers(compiled)
    inside = [part for layer in trunk(compiled).layers for part in layer.modules() if part is not layer]
    assert not [part for part in inside if "forward" in vars(part)]
    setattr(trunk(compiled), FOUND, {"packed rows": {}})
    graphs = []
    for rows, (states, gradients) in zip(ROWS, expected, strict=True):
        found, own = states_and_gradients(compiled, rows)
        torch.testing.assert_close(found, states, rtol=0, atol=1e-5)
        torch.testing.assert_close(own, gradients, rtol=0, atol=1e-5)
        graphs.append(counters["stats"]["unique_graphs"])
    # Compiled once for both layers and for rows of all lengths.
    assert graphs[0] == graphs[1] == graphs[2] > 0
    ids = torch.tensor([list(range(3, 20))])
    torch.testing.assert_close(compiled(input_ids=ids).logits, usual(input_ids=ids).logits, rtol=0, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == graphs[2]  # what brings no layout is computed as ever


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile makes C++ of it, and there is no compiler (g++)")
def test_compiled_kernels_compute_the_same(base: Path) -> None:
    """Forward: to compile the gradients' too takes twice as long."""
    usual, compiled = load(base), load(base)
    with torch.no_grad():
        compiled_layers.compile_layers(compiled)
        for rows in ROWS:
            packed = pack(rows, sharing="always")
            found, expected = (hidden_states(trunk(model), packed) for model in (compiled, usual))
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_run_compiles_the_model_that_learns(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting reaches it before anything is computed by layers that learn. By a compiler that does nothing."""
    called: list[Any] = []

    def compiled(forward: Any) -> Any:
        called.append(forward)
        return forward

    monkeypatch.setattr(compiled_layers, "_compiled", compiled)
    given = {"model": str(base), "data": recipe_runs.demonstrations(tmp_path)}
    values = {"epochs": 1, "batch_size": 4, "held_out": 0}
    run("sft", tmp_path / "usual", values, **given)
    assert not called
    run("sft", tmp_path / "compiled", values | {"compile_trunk": True, "gradient_checkpointing": True}, **given)
    assert called
    for name, weight in recipe_runs.weights(tmp_path / "usual").items():
        torch.testing.assert_close(recipe_runs.weights(tmp_path / "compiled")[name], weight, rtol=0, atol=1e-5)


def test_what_cannot_be_compiled_is_refused(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a run's folder is made: no compiler, a model of the plain way, layers that fail, layers that are split."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BadInput, match=r"compile_trunk needs a C\+\+ compiler \(no-such-compiler\)"):
        run("reward", tmp_path / "run", {"compile_trunk": True}, model=str(base), data=recipe_runs.rankings(tmp_path))
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(compiled_layers, "check_compiler", lambda _: None)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(compiled_layers, "_compiled", lambda _: broken)
    with pytest.raises(BadInput, match="the compiled layers of a LlamaForCausalLM fail, or compute something else"):
        compiled_layers.compile_layers(load(base))
    model = load(base)
    setattr(trunk(model), families.DIFFERS, "something")
    with pytest.raises(BadInput, match="a LlamaForCausalLM is computed by transformers' own forward on padded rows"):
        compiled_layers.compile_layers(model)
    monkeypatch.setattr(Training, "is_sharded", True)
    with pytest.raises(BadInput, match="which parallel=fsdp splits"):
        Training._compile(object.__new__(Training), model)
