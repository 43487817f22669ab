"""Passwords that are easily guessed though they are long: the user name again, a short unit repeated, a sequence."""

from itertools import groupby, pairwise
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

LEAST_OWN = 10
"""Characters that a password has besides the person's names."""
SHORTEST_NAME = 3
"""Shorter names stand in words by accident."""
LEAST_SURPRISES = 6
"""Characters that aren't the next one of a run such as 3456 or hhhh."""
LEAST_DIFFERENT = 5
SHORTEST_RUN = 3
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop")


class OwnNameValidator:
    """Refuses a password that is long only by the person's own names, forwards or backwards."""

    def validate(self, password: str, user: Any = None) -> None:
        rest = password.casefold()
        for name in _names(user):
            for shape in (name, name[::-1]):
                rest = rest.replace(shape, "")
        if rest != password.casefold() and len(rest) < LEAST_OWN:
            raise ValidationError(
                _("This password is mostly your own name. Besides it, use %(count)d characters or more.")
                % {"count": LEAST_OWN},
                code="password_is_own_name",
            )

    def get_help_text(self) -> str:
        return _("Don't use your own name.")


class PatternValidator:
    """Refuses what repeats a unit (abcabcabcabc), runs along the alphabet or the keyboard, or has few characters."""

    def validate(self, password: str, user: Any = None) -> None:
        folded = password.casefold()
        if folded and _period(folded) <= len(folded) // 2:
            raise ValidationError(
                _("This password says the same thing again and again. Choose one that doesn't."),
                code="password_repeats",
            )
        if len(set(folded)) < LEAST_DIFFERENT:
            raise ValidationError(
                _("This password has fewer than %(count)d different characters.") % {"count": LEAST_DIFFERENT},
                code="password_has_few_characters",
            )
        if _surprises(folded) < LEAST_SURPRISES:
            raise ValidationError(
                _("This password follows the alphabet, the digits or the keyboard. Choose one that doesn't."),
                code="password_is_a_sequence",
            )

    def get_help_text(self) -> str:
        return _("Don't repeat a word, and don't follow the alphabet, the digits or the keyboard.")


def _names(user: Any) -> list[str]:
    """The longest first, so that a shorter one within it takes nothing of it away."""
    fields = ("username", "first_name", "last_name")
    names = {part.casefold() for field in fields for part in str(getattr(user, field, "") or "").split()}
    return sorted((name for name in names if len(name) >= SHORTEST_NAME), key=len, reverse=True)


def _period(text: str) -> int:
    """Length of the shortest unit whose repetition, cut at the end, is the text (the prefix function's last value)."""
    borders = [0] * len(text)
    for end in range(1, len(text)):
        border = borders[end - 1]
        while border and text[end] != text[border]:
            border = borders[border - 1]
        borders[end] = border + (text[end] == text[border])
    return len(text) - borders[-1]


def _surprises(text: str) -> int:
    """Characters, of which one that is repeated counts once, and each run (next, previous, along a keyboard) as two."""
    text = "".join(character for character, _same in groupby(text))
    surprises, start = 0, 0
    while start < len(text):
        end = max(_run_end(text, start, steps) for steps in _STEPS)
        surprises += 2 if end - start >= SHORTEST_RUN else 1
        start = end if end - start >= SHORTEST_RUN else start + 1
    return surprises


def _run_end(text: str, start: int, following: Any) -> int:
    end = start + 1
    while end < len(text) and following(text[end - 1], text[end]):
        end += 1
    return end


def _by_code(step: int) -> Any:
    return lambda one, other: ord(other) - ord(one) == step


def _along(row: str) -> Any:
    pairs = set(pairwise(row))
    return lambda one, other: (one, other) in pairs


_STEPS = [
    *(_by_code(step) for step in (1, -1)),
    *(_along(way) for row in (*ROWS, "1234567890") for way in (row, row[::-1])),
]
