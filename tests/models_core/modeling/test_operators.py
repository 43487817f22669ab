"""Operators that kernels may replace: one door, a plain function behind every one, and a product without kernels."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models_core.modeling import operators
from models_core.modeling.operators import Kernel, Operator

ROOT = Path(__file__).resolve().parents[3]
NUMBERS = torch.tensor([1.0, 2.0])


@pytest.fixture
def halved(monkeypatch: pytest.MonkeyPatch) -> Operator[[Tensor], Tensor]:
    """An operator of the test's own."""

    def halved(numbers: Tensor) -> Tensor:
        return numbers / 2

    monkeypatch.setattr(operators, "NAMES", (*operators.NAMES, "halved"))
    return operators.operator(halved)


def negating(*, accepts: bool) -> Kernel:
    return Kernel(accepts=lambda numbers: accepts, load=lambda: torch.neg)


def test_a_kernel_computes_what_it_accepts_and_the_plain_function_everything_else(
    halved: Operator[[Tensor], Tensor],
) -> None:
    with operators.replaced(halved=negating(accepts=True)):
        assert halved(NUMBERS).tolist() == [-1.0, -2.0]
        assert halved.uses_kernel(NUMBERS)
        with operators.without_kernels("halved"):
            assert halved(NUMBERS).tolist() == [0.5, 1.0]
        with operators.without_kernels("decoder"):
            assert halved(NUMBERS).tolist() == [-1.0, -2.0]
    with operators.replaced(halved=negating(accepts=False)):
        assert halved(NUMBERS).tolist() == [0.5, 1.0]
        assert not halved.uses_kernel(NUMBERS)


def test_an_operator_or_kernel_of_no_known_name_is_refused() -> None:
    def twirl() -> None: ...

    with pytest.raises(ValueError, match="twirl"):
        Operator(twirl)
    with pytest.raises(ValueError, match="twirl"):
        operators.register("twirl", negating(accepts=True))


def test_every_name_belongs_to_an_operator() -> None:
    import models_core.generation.decoder as generation
    from models_core.modeling.manual_autograd import segment_attention

    modules = [generation, segment_attention]
    found = {value.name for module in modules for value in vars(module).values() if isinstance(value, Operator)}
    assert found == set(operators.NAMES)


def test_no_module_outside_imports_the_kernels() -> None:
    """operators.py finds the package by its name, at run time."""
    importing = [
        str(path.relative_to(ROOT))
        for folder in ("models_core", "rlhf", "config", "annotate", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "cpu_kernels" not in path.parts and "cpu_kernels" in "".join(_imported(path))
    ]
    assert importing == []


def _imported(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


COUNT = "from models_core.modeling import operators as o; print([n for n in o.NAMES if o.has_kernel(n)])"


def test_the_environment_switches_kernels_off() -> None:
    every = python(COUNT).stdout.strip()
    assert python(COUNT, MODELS_CORE_DISABLE_KERNELS="all").stdout.strip() == "[]"
    some = python(COUNT, MODELS_CORE_DISABLE_KERNELS="segment_attention, decoder").stdout.strip()
    wanted = [name for name in ast.literal_eval(every) if name not in ("segment_attention", "decoder")]
    assert ast.literal_eval(some) == wanted


def test_a_name_that_no_operator_has_is_bad_input() -> None:
    done = python(COUNT, MODELS_CORE_DISABLE_KERNELS="decodre")
    assert (
        "BadInput: MODELS_CORE_DISABLE_KERNELS: there is no operator decodre; take all, or some of segment_attention,"
        in done.stderr
    )


WITHOUT_NUMBA = """
import importlib.util, sys

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "numba" else find(name, package)
sys.modules["numba"] = sys.modules["llvmlite"] = None

import models_core.generation.generate, models_core.recipes.sft, models_core.recipes.ppo
import torch
from models_core.modeling import operators
from models_core.modeling.manual_autograd.lm_head import softmax_errors

assert not any(map(operators.has_kernel, operators.NAMES))
logits, tokens = torch.zeros(1, 1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.long)
print(softmax_errors(logits, tokens, temperature=1.0, wants_error=False)[0].item())
"""


def test_numba_is_optional() -> None:
    done = python(WITHOUT_NUMBA)
    assert (done.stdout.strip(), done.returncode) == ("0.0", 0), done.stderr


QUICK = (
    "tests/models_core/modeling/test_manual_autograd.py",
    "tests/models_core/modeling/test_operators.py",
    "tests/models_core/training/test_precision.py",
    "tests/models_core/generation/test_generate.py",
    "tests/models_core/recipes/test_recipes.py::test_a_stopped_and_resumed_run_ends_with_the_same_bits",
)


@pytest.mark.long
@pytest.mark.skipif("KERNELS_DELETED" in os.environ, reason="this is the copy")
@pytest.mark.timeout(900)
def test_the_product_passes_its_tests_after_the_kernels_were_deleted(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns(
        ".*", "cpu_kernels", "__pycache__", "node_modules", "var", "docs", "*.egg-info", "benchmarks"
    )
    copy = shutil.copytree(ROOT, tmp_path / "copy", ignore=ignored)
    assert not list(copy.rglob("cpu_kernels"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *QUICK],
        cwd=copy,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        | {"KERNELS_DELETED": "1", "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
