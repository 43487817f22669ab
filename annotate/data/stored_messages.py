"""Sentences that a worker stored in English, in the reader's language: with the names and numbers that stand in them.

A worker knows no reader, so it writes the English of a message of the catalogue with its values filled in. Here the
message is found again by its words, and its translation gets the same values. What the catalogue doesn't know, such as
the words of a library, stays as it is.
"""

import re
from functools import lru_cache

from django.utils.translation import get_language, gettext, trans_real

PLACEHOLDER = re.compile(r"%\((\w+)\)[sd]")
FEWEST_LETTERS = 12
"""A message of hardly more than its values would be found in every sentence."""
MOST_NESTED = 3
"""A value may be such a sentence itself: why a snapshot failed, in why a run did."""


def in_readers_language(sentence: str, *, nested: int = 0) -> str:
    """The sentence in the language that is active, as far as the catalogue knows it."""
    if not sentence:
        return ""
    translated = gettext(sentence)
    if translated != sentence or nested > MOST_NESTED:
        return translated
    for message, parts, names in _patterns(get_language() or "en"):
        values = _values(sentence, parts)
        if values is not None:
            translations = {
                name: in_readers_language(value, nested=nested + 1) for name, value in zip(names, values, strict=True)
            }
            return gettext(message) % translations
    return sentence


@lru_cache(maxsize=8)
def _patterns(language: str) -> list[tuple[str, list[str], list[str]]]:
    """(message, the words between its values, the names of those) of what has values; those with most words first."""
    found = []
    catalogue = trans_real.translation(language)._catalog  # type: ignore[attr-defined]  # Django's own view reads it so
    for message, _ in catalogue.items():
        if not isinstance(message, str) or not PLACEHOLDER.search(message):
            continue
        segments = PLACEHOLDER.split(message)
        parts, names = [part.replace("%%", "%") for part in segments[::2]], segments[1::2]
        if sum(letter.isalpha() for part in parts for letter in part) >= FEWEST_LETTERS:
            found.append((message, parts, names))
    return sorted(found, key=lambda pattern: -sum(map(len, pattern[1])))


def _values(sentence: str, parts: list[str]) -> list[str] | None:
    """What stands between the words, or None for another sentence. Looks once from left to right: texts are hostile."""
    first, *middle, last = parts
    if not sentence.startswith(first) or not sentence.endswith(last) or len(sentence) < len(first) + len(last):
        return None
    at, end = len(first), len(sentence) - len(last)
    values = []
    for part in middle:
        place = sentence.find(part, at, end)
        if place < 0:
            return None
        values.append(sentence[at:place])
        at = place + len(part)
    return [*values, sentence[at:end]]
