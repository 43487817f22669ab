"""Once for every model in memory: the fast ways are held against transformers' own forward on a few short rows.

models_core.modeling.families says which configurations the fast ways know. This is what says so of the numbers: another
version of transformers, a hook, a machine on which a kernel errs. Where they differ the model takes the plain way from
then on, and that is said. It costs two passes over about a hundred tokens.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models_core.contract.runs import processes
from models_core.modeling import families

ROWS = (29, 18, 11)
"""Tokens of the rows that are computed both ways."""
FOUND = "forward_check"
"""Attribute of a trunk: what the comparison found."""
LOGGED = "plain_forward_logged"
TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
"""By the numbers of the model: how large the difference may be beside the thing itself. Thirty layers in bf16 come to
0.02 by rounding alone; a window or a scale that is left out, to several tenths."""


def rows(vocabulary: int) -> list[list[int]]:
    """Token ids of ROWS, the same in every run; the first two begin alike."""
    generator = torch.Generator().manual_seed(0)
    made = [torch.randint(0, vocabulary, (size,), generator=generator).tolist() for size in ROWS]
    made[1][:9] = made[0][:9]
    return made


def difference(found: Tensor, expected: Tensor) -> float:
    """How far two tensors are apart, beside the size of the second; infinite where the first alone is no finite number.

    NaN where the second is none: weights that overflow say nothing of the way that they are computed.
    """
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    if not torch.isfinite(expected).all():
        return float("nan")
    apart = float((found - expected).norm() / expected.norm().clamp(min=1e-12))
    return apart if torch.isfinite(found).all() else float("inf")


def hold(trunk: Any, what: str, *, fast: Callable[[], Tensor], plain: Callable[[], Tensor]) -> bool:
    """Whether two ways of a model compute the same. If not, it says so, and `families.fast_ways` closes them."""
    start = time.perf_counter()
    with torch.no_grad():
        expected = plain()
        try:
            apart = difference(fast(), expected)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            apart = float("inf")
    return note(trunk, what, apart=apart, dtype=expected.dtype, seconds=time.perf_counter() - start)


def note(trunk: Any, what: str, *, apart: float, dtype: torch.dtype, seconds: float) -> bool:
    """Keep what a comparison came to; whether the two ways are the same."""
    is_same = math.isnan(apart) or apart <= TOLERANCES.get(dtype, 0.0)
    found = getattr(trunk, FOUND, {}) | {what: {"difference": apart, "seconds": seconds}}
    setattr(trunk, FOUND, found)
    if not is_same and not hasattr(trunk, families.DIFFERS):
        setattr(trunk, families.DIFFERS, f"{what} differs from transformers' own by {apart:.2g}")
    return is_same


def forget(model: Any) -> None:
    """Have a model that moved to another device be held against transformers' forward there, too."""
    trunk = getattr(model, model.base_model_prefix, model)
    for name in (FOUND, families.DIFFERS):
        vars(trunk).pop(name, None)


def log_plain_forward(model: Any) -> None:
    """Log once per model that it takes the plain forward, and why."""
    trunk = getattr(model, model.base_model_prefix, model)
    if getattr(trunk, LOGGED, False):
        return
    setattr(trunk, LOGGED, True)
    reasons = ", ".join(families.fast_ways(model).reasons) or "rows longer than its window"
    processes.log_main(
        f"A {type(model).__name__} is computed by transformers' own forward, which takes longer: the faster way does "
        f"not cover {reasons}."
    )


def report(model: Any) -> dict[str, Any]:
    """A model's entry in run.json: which way it is computed, and how far the fast ways are from transformers'."""
    ways = families.fast_ways(model)
    trunk = getattr(model, model.base_model_prefix, model)
    return {
        "model_type": model.config.model_type,
        "way": "packed" if ways.packed else "transformers",
        **({"window": ways.window} if ways.window is not None else {}),
        **({"reasons": list(ways.reasons)} if ways.reasons else {}),
        "compared": getattr(trunk, FOUND, {}),
    }
