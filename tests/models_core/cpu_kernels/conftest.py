"""Kernels are tested where they can run; elsewhere a test is skipped and says what the machine lacks."""

import pytest

from models_core.cpu_kernels.compiler import availability


@pytest.fixture(scope="session")
def compiler() -> None:
    if (missing := availability.missing_for_any()) is not None:
        pytest.skip(f"nothing can be compiled here: {missing}")


@pytest.fixture(scope="session")
def bf16_products(compiler: None) -> None:
    if (missing := availability.missing_for_bf16_products()) is not None:
        pytest.skip(f"no products of bf16 vectors here: {missing}")
