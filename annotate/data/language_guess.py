"""Which language a text is in, guessed where nobody says it.

By its script where that settles it, otherwise by py3langid (Barbaresi; after langid.py, Lui and Baldwin 2012). A guess
that isn't sure is none.
"""

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

UNDETERMINED = "und"
"""BCP 47's tag for a language that isn't known."""
LONGEST_SAMPLE = 600
FEWEST_LETTERS = 3
SURE = 0.95
# Of those that py3langid tells apart, the ones with many speakers: rare ones are mostly wrong about a short text.
COMMON = (
    *("ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi", "hr", "hu", "id"),
    *("it", "ja", "ko", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "ta", "te", "th", "tr"),
    *("uk", "ur", "vi", "zh"),
)
SCRIPTS = {"HANGUL": "ko", "THAI": "th", "GREEK": "el", "HEBREW": "he", "BENGALI": "bn", "TAMIL": "ta", "TELUGU": "te"}
LATIN_LESS = {"ar", "bg", "bn", "el", "fa", "he", "hi", "ja", "ko", "ru", "sr", "ta", "te", "th", "uk", "ur", "zh"}


def guess(text: str, *, usual: str = "") -> str:
    """The language's tag. `usual`: that of the project, taken where the text is too short to say and doesn't speak
    against it; where it does, UNDETERMINED."""
    scripts = _scripts(text[:LONGEST_SAMPLE])
    letters = sum(scripts.values())
    if letters:
        # A Han character is a word: a few of them among Latin letters are still Chinese.
        han, kana = scripts.get("CJK", 0), scripts.get("HIRAGANA", 0) + scripts.get("KATAKANA", 0)
        if kana * 5 >= han and kana * 3 >= letters - han - kana:
            return "ja"
        if han * 3 >= letters - han:
            return "zh"
        script = max(scripts, key=lambda name: scripts[name])
        if script in SCRIPTS:
            return SCRIPTS[script]
        if letters >= FEWEST_LETTERS:
            language, chance = _identifier().classify(text[:LONGEST_SAMPLE])
            if chance >= SURE and (script == "LATIN") == (language not in LATIN_LESS):
                return str(language)
        if (script == "LATIN") != (_primary(usual) not in LATIN_LESS):
            return UNDETERMINED
    return usual or UNDETERMINED


def _primary(language: str) -> str:
    return language.lower().replace("_", "-").partition("-")[0]


def _scripts(text: str) -> dict[str, int]:
    """How many letters of each script, by the first word of their names in Unicode."""
    counts: dict[str, int] = {}
    for letter in text:
        if letter.isalpha():
            script = "LATIN" if letter.isascii() else unicodedata.name(letter, "").partition(" ")[0]
            counts[script] = counts.get(script, 0) + 1
    return counts


def load() -> None:
    """Load what the first guess would load, which takes about half a second: before a transaction, not within it."""
    _identifier()


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid import langid

    identifier = langid.LanguageIdentifier.from_modelpath(
        Path(langid.__file__).parent / langid.MODEL_FILE, norm_probs=True
    )
    identifier.set_languages([language for language in COMMON if language in identifier.labels])
    return identifier
