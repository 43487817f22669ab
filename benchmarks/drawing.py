"""How charts of the benchmarks look."""

from contextlib import AbstractContextManager
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito 2008: colour-blind readers distinguish them too."""


def style() -> AbstractContextManager[None]:
    """Within this the same rows give the same bytes of SVG."""
    return rc_context({"svg.hashsalt": "hone", "font.size": 9})


def save(figure: Figure, path: Path) -> None:
    """Write an SVG, without the time at which it was drawn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
