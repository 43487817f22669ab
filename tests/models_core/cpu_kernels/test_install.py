"""What `install` registers: a kernel for an operator, with the operator's own signature; a model with and without."""

import contextlib
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from models_core import cpu_kernels
from models_core.generation.decoder import decoder
from models_core.modeling import operators
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.loading import load_policy
from models_core.modeling.manual_autograd import segment_attention
from models_core.modeling.manual_autograd.lm_head import linear_log_probs
from models_core.modeling.packing import Group, hidden_states, pack
from tests.models_core.tiny import make_tiny_model

OPERATORS = {
    "segment_attention": segment_attention.segment_attention,
    "decoder": decoder,
}


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(("name", "place", "missing"), [(row[0], row[1], row[3]) for row in cpu_kernels.KERNELS])
def test_a_kernel_takes_what_its_operator_takes(name: str, place: str, missing: object) -> None:
    module, _, function = place.partition(":")
    kernel = getattr(import_module(f"models_core.cpu_kernels.{module}"), function)
    wanted, found = inspect.signature(OPERATORS[name].plain), inspect.signature(kernel)
    assert {key: value.kind for key, value in found.parameters.items()} == {
        key: value.kind for key, value in wanted.parameters.items()
    }
    assert operators.has_kernel(name) is (callable(missing) and missing() is None)


@pytest.mark.usefixtures("bf16_products")
def test_a_model_without_kernels_computes_the_same(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    groups = [Group([5, 6, 7, 8], [[9, 10], [11], [12, 13, 14]]), Group([20], [[21, 22, 23]])]
    found = []
    for switched_off in (contextlib.nullcontext(), operators.without_kernels()):
        model: Any = load_policy(folder, device="cpu", dtype=torch.bfloat16)
        with switched_off:
            states = hidden_states(trunk(model), packed := pack(groups))[packed.predictors]
            log_probs = linear_log_probs(states, model.lm_head.weight, None, packed.response_ids)
            log_probs.sum().backward()
        found.append((log_probs.detach(), {name: weight.grad for name, weight in model.named_parameters()}))
    assert not torch.equal(found[0][0], found[1][0])  # another rounding: two ways were compared
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=0.05)
    for name, gradient in found[0][1].items():
        largest = gradient.abs().max().item()
        torch.testing.assert_close(gradient, found[1][1][name], rtol=0.05, atol=0.05 * largest, msg=name)
