"""Settings whose text has several parts, such as "anna=2,ben=0.5": read the same where a run is asked for and in it.

A ValueError ends the sentence "The setting NAME ...". Standard library only, like models_core.contract.settings.
"""

import math
import re
from fractions import Fraction
from typing import Any

MOST_PASSES = 1000
"""Over one data set in an epoch."""
LONGEST_PATTERN = 1_000
MOST_REPETITIONS = 100_000


def labeler_weights(text: str) -> dict[str, float]:
    """{"anna": 2.0, "ben": 0.5} from "anna=2, ben=0.5"; a name given twice is refused."""
    weights: dict[str, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, number = part.rpartition("=")
        name = name.strip()
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or not 0 <= weight < math.inf:
            raise ValueError(f"takes NAME=WEIGHT, parted by commas, with weights from 0 on, not {part!r}.")
        if name in weights:
            raise ValueError(f"names {name!r} twice.")
        weights[name] = weight
    return weights


def regular_expression(text: str) -> Any:
    """The compiled pattern; refuses what is none, and one whose compiling alone may take any time and memory.

    Counted repetitions are unrolled, nested ones multiply: their product bounds the size of what is compiled.
    """
    import regex  # what searches with it; the web process has it too

    if len(text) > LONGEST_PATTERN:
        raise ValueError(f"is longer than {LONGEST_PATTERN:,} characters.")
    counts = [int(bound) for pair in re.findall(r"\{(\d{0,9})(?:,(\d{0,9}))?\}", text) for bound in pair[-1:] if bound]
    counts += [int(least) for least, most in re.findall(r"\{(\d{1,9})(,\d{0,9})?\}", text) if not most.strip(",")]
    if re.search(r"\{\d{10}|,\d{10}", text) or math.prod(max(1, count) for count in counts) > MOST_REPETITIONS:
        raise ValueError(f"repeats more than {MOST_REPETITIONS:,} times by the counts in braces together.")
    try:
        return regex.compile(text)
    except regex.error as error:
        raise ValueError(f"is no regular expression: {error}.") from None


def data_weights(text: str) -> list[Fraction]:
    """Passes over each data file, as the decimals that were written; empty where the text is."""
    if not text.strip():
        return []
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise ValueError(f"must be numbers parted by commas, not {text!r}.") from None
    if any(not 0 < number <= MOST_PASSES for number in numbers):
        raise ValueError(f"must hold numbers above 0 and up to {MOST_PASSES}.")
    return [Fraction(str(number)) for number in numbers]
