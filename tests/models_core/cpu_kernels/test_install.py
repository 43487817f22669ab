"""What `install` registers: a kernel for an operator, with the operator's own signature."""

import inspect
from importlib import import_module

import pytest

from models_core import cpu_kernels
from models_core.generation.decoder import decoder
from models_core.modeling import operators
from models_core.modeling.manual_autograd import lm_head, rms_norm, rope, segment_attention, swiglu
from models_core.training import optimizer

OPERATORS = {
    "rms_norm": rms_norm.rms_norm,
    "add_rms_norm": rms_norm.add_rms_norm,
    "apply_rope": rope.apply_rope,
    "swiglu": swiglu.swiglu,
    "segment_attention": segment_attention.segment_attention,
    "softmax_errors": lm_head.softmax_errors,
    "gradient_norm": optimizer.gradient_norm,
    "adamw_step": optimizer.adamw_step,
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
