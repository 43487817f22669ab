"""Stop sequences of a request for the live worker: the text ends before one of them.

The worker knows none of them and writes on; what comes after is dropped here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from rlhf.gateway.openai_errors import OpenAIError

MOST, LONGEST = 4, 200


def parsed(body: Mapping[str, Any]) -> tuple[str, ...]:
    """`stop`, a text or a list of them. Raises OpenAIError (400)."""
    given = body.get("stop", [])
    found = [given] if isinstance(given, str) else given
    is_list = isinstance(found, list) and len(found) <= MOST
    if not is_list or not all(isinstance(each, str) and 0 < len(each) <= LONGEST for each in found):
        raise OpenAIError(
            _("“stop” must be a text, or a list of up to %(most)d texts, of 1 to %(longest)d characters each.")
            % {"most": MOST, "longest": LONGEST},
            param="stop",
        )
    return tuple(found)


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """(the text before the stop sequence that is complete first, whether there is one).

    Not the one that begins first: a text that is cut as it grows must end where the whole one does.
    """
    found = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(found)[1]], True) if found else (text, False)


def certain(text: str, stops: Sequence[str]) -> str:
    """The part of a growing text that stays whatever follows: not the beginning of a stop sequence at its end."""
    text, has_ended = cut(text, stops)
    if has_ended:
        return text
    held = [size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])]
    return text[: len(text) - max(held, default=0)]
