"""The words of a text, and a search in each database's language.

Scripts that write no spaces (Chinese, Japanese, Thai, Khmer and others) are cut into overlapping pairs of characters,
so that a word of two characters is found wherever it stands; a single character is found as the beginning of a pair.
Other words are found by their beginning from SHORTEST_PREFIX letters on.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

MOST_CHARACTERS = 20_000
"""Of one text; what comes later isn't found."""
MOST_WORDS = 5_000
"""Of a prompt with its responses."""
LONGEST_WORD = 60
SHORTEST_PREFIX = 3
MOST_TERMS = 12
"""Of a search; further words are left out of it."""

# Thai, Lao, Tibetan, Myanmar, Khmer; kana, Chinese characters, those beyond the basic plane.
_UNSPACED = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED += "\U00020000-\U0003ffff"
# Marks that are no letters to `re` and yet belong to a word: Hebrew, Arabic, the scripts of India.
_MARKS = "\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
_RUNS = re.compile(rf"([{_UNSPACED}]+)|((?:[^\W_{_UNSPACED}]|[{_MARKS}])+)")
_ACCENTS = re.compile("[\u0300-\u036f]")


@dataclass(frozen=True, slots=True)
class Term:
    """A word to be found; `prefix`: as the beginning of one."""

    word: str
    prefix: bool


def words(texts: Iterable[str]) -> list[str]:
    """The different words of some texts, in the order in which they come."""
    found: dict[str, None] = {}
    for text in texts:
        for unspaced, word in _RUNS.findall(_folded(text[:MOST_CHARACTERS])):
            if word:
                found[word[:LONGEST_WORD]] = None
            else:
                # The last character stands alone too, so that it begins something.
                found.update(dict.fromkeys(unspaced[place : place + 2] for place in range(len(unspaced))))
            if len(found) >= MOST_WORDS:
                return list(found)[:MOST_WORDS]
    return list(found)


def terms(search: str) -> list[Term]:
    """What a search asks for: every term has to be there."""
    found: dict[Term, None] = {}
    for unspaced, word in _RUNS.findall(_folded(search[:1_000])):
        if word:
            found[Term(word[:LONGEST_WORD], len(word) >= SHORTEST_PREFIX)] = None
        elif len(unspaced) == 1:
            found[Term(unspaced, True)] = None
        else:
            found.update(dict.fromkeys(Term(unspaced[place : place + 2], False) for place in range(len(unspaced) - 1)))
    return list(found)[:MOST_TERMS]


def for_sqlite(wanted: Iterable[Term]) -> str:
    """An expression of FTS5's MATCH. Words have no quotes in them."""
    return " AND ".join(f'"{term.word}"{"*" if term.prefix else ""}' for term in wanted)


def for_postgresql(wanted: Iterable[Term]) -> str:
    """A tsquery."""
    return " & ".join(f"'{term.word}'{':*' if term.prefix else ''}" for term in wanted)


def _folded(text: str) -> str:
    """Without case, accents, and differences of width."""
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold())))
