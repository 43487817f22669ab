"""Settings whose text has several parts, such as "anna=2,ben=0.5": the web form and the run read them alike.

A ValueError ends the sentence "The setting NAME ...".
"""

import math
import re
from fractions import Fraction
from typing import Any

from models_core.contract import third_party

MAX_PASSES = 1000
"""Over one data set in an epoch."""
MAX_PATTERN_LENGTH = 1_000
MAX_REPETITIONS = 100_000


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
    """The compiled pattern; an invalid or too costly one is refused.

    Counted repetitions are unrolled and nested ones multiply: their product bounds the time and memory of compiling.
    """
    if len(text) > MAX_PATTERN_LENGTH:
        raise ValueError(f"is longer than {MAX_PATTERN_LENGTH:,} characters.")
    counts = [int(bound) for pair in re.findall(r"\{(\d{0,9})(?:,(\d{0,9}))?\}", text) for bound in pair[-1:] if bound]
    counts += [int(least) for least, most in re.findall(r"\{(\d{1,9})(,\d{0,9})?\}", text) if not most.strip(",")]
    if re.search(r"\{\d{10}|,\d{10}", text) or math.prod(max(1, count) for count in counts) > MAX_REPETITIONS:
        raise ValueError(f"repeats more than {MAX_REPETITIONS:,} times by the counts in braces together.")
    try:
        return third_party.compile_pattern(text)
    except ValueError as error:
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
    if any(not 0 < number <= MAX_PASSES for number in numbers):
        raise ValueError(f"must hold numbers above 0 and up to {MAX_PASSES}.")
    return [Fraction(str(number)) for number in numbers]
