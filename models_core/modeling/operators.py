"""Operators that a compiled kernel may replace, and the one place where kernels come in.

An operator is a plain torch function that carries its name:

    @operator
    def segment_attention(query: Tensor, key: Tensor, value: Tensor, ...) -> Tensor: ...

`models_core.cpu_kernels.install()` registers kernels for some of them; a kernel computes where it accepts the
arguments. That package can be deleted, and it needs numba: without either every operator is its plain function.
MODELS_CORE_DISABLE_KERNELS=segment_attention,decoder (or =all) switches kernels off, to find a fault or to measure.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, update_wrapper
from importlib import import_module
from typing import Any, Generic, ParamSpec, TypeVar

from models_core.contract.errors import BadInput

P = ParamSpec("P")
R = TypeVar("R")

NAMES = (
    "segment_attention",  # modeling/manual_autograd/segment_attention.py
    "decoder",  # generation/decoder.py
)
"""Every operator, with the module of its plain function."""
KERNEL_PACKAGE = "models_core.cpu_kernels"
SWITCH = "MODELS_CORE_DISABLE_KERNELS"


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A replacement of an operator.

    accepts: called with the operator's arguments; whether the kernel computes them. Must be cheap.
    load: returns the function that replaces the operator; imports what it needs.
    prepare: compiles it, or reads it from disk, before time is measured.
    """

    accepts: Callable[..., bool]
    load: Callable[[], Callable[..., Any]]
    prepare: Callable[[], None] = lambda: None


class Operator(Generic[P, R]):
    """A function that a kernel may stand in for; `plain` is the function itself."""

    def __init__(self, plain: Callable[P, R]) -> None:
        self.plain = plain
        self.name = plain.__name__
        if self.name not in NAMES:
            raise ValueError(f"{self.name} is not in operators.NAMES")
        update_wrapper(self, plain)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        kernel = _kernel(self.name)
        if kernel is not None and kernel.accepts(*args, **kwargs):
            return kernel.load()(*args, **kwargs)
        return self.plain(*args, **kwargs)

    def uses_kernel(self, *args: Any, **kwargs: Any) -> bool:
        """Whether a call with these arguments goes to a kernel."""
        kernel = _kernel(self.name)
        return kernel is not None and kernel.accepts(*args, **kwargs)

    def prepare(self) -> None:
        """Have its kernel, if any, compiled or read from disk: the very first time takes seconds."""
        prepare(self.name)


def operator(plain: Callable[P, R]) -> Operator[P, R]:
    """Decorates the plain function of an operator; its name must be one of NAMES."""
    return Operator(plain)


_kernels: dict[str, Kernel] = {}
_overrides: dict[str, Kernel | None] = {}


def register(name: str, kernel: Kernel) -> None:
    """Have a kernel stand in for an operator. For `models_core.cpu_kernels.install` alone."""
    if name not in NAMES:
        raise ValueError(f"{name} is not in operators.NAMES")
    _kernels[name] = kernel


def prepare(*names: str) -> None:
    """Have the kernels of these operators compiled or read from disk."""
    for name in names:
        if (kernel := _kernel(name)) is not None:
            kernel.prepare()


@contextmanager
def replaced(**kernels: Kernel | None) -> Iterator[None]:
    """Within it these operators have other kernels, or none: for tests and benchmarks, not for several threads."""
    usual = dict(_overrides)
    _overrides.update(kernels)
    try:
        yield
    finally:
        _overrides.clear()
        _overrides.update(usual)


def has_kernel(name: str) -> bool:
    """Whether a kernel may stand in for an operator on this machine."""
    return _kernel(name) is not None


def without_kernels(*names: str) -> Any:
    """Within it these operators, by default all, are their plain functions."""
    return replaced(**dict.fromkeys(names or NAMES))


def _kernel(name: str) -> Kernel | None:
    if name in _overrides:
        return _overrides[name]
    return None if name in _disabled() else _installed().get(name)


@cache
def _installed() -> dict[str, Kernel]:
    """The registered kernels, after the package that brings them was asked for them: once, at the first call."""
    try:
        # By name: nothing else may break when the package is deleted, type checks included.
        package = import_module(KERNEL_PACKAGE)
    except ModuleNotFoundError as error:
        if error.name != KERNEL_PACKAGE:
            raise
    else:
        package.install()
    return _kernels


@cache
def _disabled() -> frozenset[str]:
    """What the environment switches off. Raises BadInput for a name that no operator has."""
    names = {name.strip() for name in os.environ.get(SWITCH, "").split(",") if name.strip()}
    if "all" in names:
        return frozenset(NAMES)
    if unknown := sorted(names - set(NAMES)):
        raise BadInput(f"{SWITCH}: there is no operator {unknown[0]}; take all, or some of {', '.join(NAMES)}.")
    return frozenset(names)
