"""A Python function as reward source, for experiments: `--reward package.module:function`.

    def reward(rows, texts):
        return [len(text) for text in texts]

`rows` are the prompts as dicts, {"id", "prompt": [{"role", "content"}, ...]} with every other key of their line in the
file, so that a response can be checked against the row. The function returns one finite number for each text. It runs
with all permissions of whoever starts the command: no page or API accepts such a name.
"""

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.reports.reward_names import FUNCTION
from models_core.rl.rewards.base import Completion, RewardFailed


class RewardFunction:
    """A function by its dotted name. Raises BadInput where it cannot be imported."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.function = _import_function(name)

    def head_scores(self, completions: Sequence[Completion]) -> torch.Tensor:
        """(batch, 1). Raises RewardFailed where the function raises, or returns anything but finite numbers."""
        rows = [
            {**item.prompt.extra, "id": item.prompt.id, "prompt": list(item.prompt.messages)} for item in completions
        ]
        try:
            result = self.function(rows, [item.text for item in completions])
        except Exception as error:
            raise RewardFailed(f"The reward function {self.name} failed: {_error_line(error)}.") from error
        return torch.tensor(self._numbers(result, count=len(completions)), dtype=torch.float32).unsqueeze(-1)

    def _numbers(self, result: Any, *, count: int) -> list[float]:
        try:
            values = list(result)
        except TypeError:
            raise RewardFailed(
                f"The reward function {self.name} returned {_short(result)} where {count} numbers are needed."
            ) from None
        if len(values) != count:
            raise RewardFailed(f"The reward function {self.name} returned {len(values)} values for {count} responses.")
        for number, value in enumerate(values):
            if not _is_finite_number(value):
                raise RewardFailed(
                    f"The reward function {self.name} returned {_short(value)} for response {number + 1} of {count}, "
                    "which is not a finite number."
                )
        return [float(value) for value in values]


def _import_function(name: str) -> Callable[..., Any]:
    match = FUNCTION.fullmatch(name)
    if match is None:
        raise BadInput(f"{name} is not the name of a function; one looks like package.module:function.")
    if "" not in sys.path:  # a console script has its own folder there in place of the current one
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(match["module"])
    except Exception as error:
        raise BadInput(f"The module of the reward function {name} cannot be imported: {_error_line(error)}.") from error
    function = getattr(module, match["function"], None)
    if not callable(function):
        reason = "is not a function" if hasattr(module, match["function"]) else "is not in that module"
        raise BadInput(f"The reward function {name} cannot be used: {match['function']} {reason}.")
    return function


def _is_finite_number(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False


def _error_line(error: BaseException) -> str:
    """An error in one line, with its type: `KeyError: 'id'` says more than `'id'`."""
    return f"{type(error).__name__}: {_short(error, quoted=False)}".removesuffix(": ").rstrip(".")


def _short(value: Any, *, quoted: bool = True) -> str:
    try:
        text = " ".join((repr(value) if quoted else str(value)).split())
    except Exception:  # a value whose own repr fails
        text = f"a {type(value).__name__}"
    return text if len(text) <= 120 else f"{text[:117]}..."
