"""A Python function as reward, for experiments: `--reward package.module:function`.

    def reward(rows, texts):
        return [len(text) for text in texts]

`rows` are the prompts as dicts, {"id", "prompt": [{"role", "content"}, ...]} with every other key that their line of
the file has, so that an answer can be checked against what a row knows. It gives one finite number for each text. The
function is code of whoever starts the command, with all that this person may do: no page or API takes such a name.
"""

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.reward_names import FUNCTION
from models_core.rl.rewards.base import Answered, RewardFailed


class RewardFunction:
    """A function found by its dotted name. Raises BadInput where it cannot be found."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.function = _found(name)

    def opinions(self, answers: Sequence[Answered]) -> torch.Tensor:
        """[B, 1]. Raises RewardFailed for a function that raises or gives anything but B finite numbers."""
        rows = [{**item.prompt.extra, "id": item.prompt.id, "prompt": list(item.prompt.messages)} for item in answers]
        try:
            given = self.function(rows, [item.text for item in answers])
        except Exception as error:
            raise RewardFailed(f"The reward function {self.name} failed: {_words(error)}.") from error
        return torch.tensor(self._numbers(given, wanted=len(answers)), dtype=torch.float32).unsqueeze(-1)

    def _numbers(self, given: Any, *, wanted: int) -> list[float]:
        try:
            values = list(given)
        except TypeError:
            raise RewardFailed(
                f"The reward function {self.name} gave {_short(given)} where {wanted} numbers are needed."
            ) from None
        if len(values) != wanted:
            raise RewardFailed(f"The reward function {self.name} gave {len(values)} values for {wanted} answers.")
        for number, value in enumerate(values):
            if not _is_number(value):
                raise RewardFailed(
                    f"The reward function {self.name} gave {_short(value)} for answer {number + 1} of {wanted}, "
                    "which is no finite number."
                )
        return [float(value) for value in values]


def _found(name: str) -> Callable[..., Any]:
    match = FUNCTION.fullmatch(name)
    if match is None:
        raise BadInput(f"{name} is no function's name; one looks like package.module:function.")
    if "" not in sys.path:  # a console script has its own folder there in place of the current one
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(match["module"])
    except Exception as error:
        raise BadInput(f"The module of the reward function {name} cannot be imported: {_words(error)}.") from error
    function = getattr(module, match["function"], None)
    if not callable(function):
        what = "is no function" if hasattr(module, match["function"]) else "is not in that module"
        raise BadInput(f"The reward function {name} cannot be used: {match['function']} {what}.")
    return function


def _is_number(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False


def _words(error: BaseException) -> str:
    """An error in one line, with its kind: `KeyError: 'id'` says more than `'id'`."""
    return f"{type(error).__name__}: {_short(error, quoted=False)}".removesuffix(": ").rstrip(".")


def _short(value: Any, *, quoted: bool = True) -> str:
    try:
        words = " ".join((repr(value) if quoted else str(value)).split())
    except Exception:  # a value that cannot even be shown
        words = f"a {type(value).__name__}"
    return words if len(words) <= 120 else f"{words[:117]}..."
