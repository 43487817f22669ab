"""How charts of the benchmarks look."""

from contextlib import AbstractContextManager

from matplotlib import rc_context

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito 2008: colour-blind readers distinguish them too."""


def style() -> AbstractContextManager[None]:
    """Within this the same rows give the same bytes of SVG."""
    return rc_context({"svg.hashsalt": "hone", "font.size": 9})
