"""Code in colours: a fence's text as spans of class names, within a time limit that holds for each single match.

The regular expressions of Pygments' lexers were not written for hostile input: on some, a line of spaces takes minutes,
and a match of `re` cannot be stopped. So the lexers are compiled with the package `regex`, whose matches end when their
time is over. What isn't done by then is shown without colours.
"""

import html
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from threading import local
from typing import Any

import regex
from django.utils.html import escape
from pygments.lexer import Lexer, RegexLexer
from pygments.lexers import find_lexer_class_by_name
from pygments.token import STANDARD_TYPES

CLASS_PREFIX = "hl-"
LONGEST = 4_000
"""Characters of code that are highlighted, of all fences of a text together; what is longer is read without."""
SECONDS = 0.03
"""Of processor time, for all fences of a text."""
# Lexers that call none of another language, which would be compiled with `re` again (a test looks into each).
_LEXERS = (
    *("bash", "c", "cpp", "csharp", "css", "diff", "go", "ini", "java", "javascript", "json", "latex", "lua", "perl"),
    *("python", "r", "ruby", "rust", "sql", "swift", "toml", "typescript", "xml", "yaml"),
)
_OTHER_NAMES = {
    **dict.fromkeys(("py", "python3"), "python"),
    **dict.fromkeys(("js", "jsx"), "javascript"),
    **dict.fromkeys(("sh", "shell", "zsh"), "bash"),
    **dict.fromkeys(("c++", "cc"), "cpp"),
    **dict.fromkeys(("c#", "cs"), "csharp"),
    **dict.fromkeys(("html", "svg"), "xml"),
    **dict.fromkeys(("postgresql", "mysql", "sqlite"), "sql"),
    "ts": "typescript",
    "h": "c",
    "golang": "go",
    "rs": "rust",
    "rb": "ruby",
    "yml": "yaml",
    "tex": "latex",
}
LANGUAGES = {name: name for name in _LEXERS} | _OTHER_NAMES
"""From the word after a fence's opening to a lexer's name. HTML is coloured by its tags alone."""

_clock = local()


class Budget:
    """What may be spent on the fences of one text."""

    def __init__(self) -> None:
        self.characters = LONGEST
        self.seconds = SECONDS


def highlighted(code: str, language: str, budget: Budget) -> str:
    """The code as HTML: in colours where its language is known, and size and time allow; else as text."""
    name = LANGUAGES.get(language.lower())
    if name is None or len(code) > budget.characters:
        return escape(code)
    budget.characters -= len(code)
    lexer = lexer_of(name)
    begun = time.thread_time()
    _clock.deadline = begun + budget.seconds
    _clock.look_at = time.perf_counter() + budget.seconds
    tokens: list[tuple[Any, str]] = []
    with suppress(TimeoutError, RecursionError):
        tokens = list(_tokens(lexer, code))
    budget.seconds -= time.thread_time() - begun
    # A lexer may leave out or change what it doesn't expect; then the code is shown as it is.
    if "".join(text for _, text in tokens) != code:
        return escape(code)
    return "".join(map(_span, tokens))


@lru_cache(maxsize=len(LANGUAGES))
def lexer_of(name: str) -> type[Lexer]:
    """The lexer of that name, a subclass of Pygments' whose matches end with the time (JSON's has no patterns)."""
    found = find_lexer_class_by_name(name)
    if not issubclass(found, RegexLexer):
        return found
    metaclass: Any = type(found)
    bounded: type[Lexer] = metaclass(found.__name__, (found,), {"_process_regex": classmethod(_compiled)})
    bounded()  # The first one compiles the patterns, which is no text's fault.
    return bounded


def _compiled(cls: type[Lexer], pattern: Any, flags: int, state: str) -> Callable[..., Any]:
    """Pygments asks this for the function that matches a rule at a place."""
    written = pattern if isinstance(pattern, str) else pattern.get()
    if _unbounded_repeats(re._parser.parse(written, flags)) <= 1:  # type: ignore[attr-defined]
        # One pass over the rest at most; a limit would cost ten times as much as such a match.
        return re.compile(written, flags).match
    # The two packages number the flag differently.
    ascii_only = regex.ASCII if flags & re.ASCII else 0
    match: Any = regex.compile(written, (flags & ~re.ASCII) | ascii_only | regex.VERSION0).match
    begins = _prefix(written, flags).match
    # Most rules fail at their first few characters, and a match with a limit costs ten times as much as one without.
    return lambda text, *span: match(text, *span, timeout=_time_left()) if begins(text, *span) else None


def _prefix(written: str, flags: int) -> re.Pattern[str]:
    """What the pattern begins with, as far as one pass over the text can tell."""
    parsed = re._parser.parse(written, flags)  # type: ignore[attr-defined]
    while _unbounded_repeats(parsed) > 1:
        del parsed[-1]
    found: re.Pattern[str] = re._compiler.compile(parsed, flags)  # type: ignore[attr-defined]
    return found


def _unbounded_repeats(parsed: Any) -> int:
    """How many repetitions without an upper end a pattern has: two may try every division of a text between them."""
    count = 0
    pending = [parsed]
    while pending:
        part = pending.pop()
        if isinstance(part, re._parser.SubPattern):  # type: ignore[attr-defined]
            pending.extend(part.data)
        elif isinstance(part, (tuple, list)):
            if part and str(part[0]).endswith("_REPEAT"):
                count += part[1][1] == re._parser.MAXREPEAT  # type: ignore[attr-defined]
            pending.extend(part)
    return count


def _tokens(lexer: type[Lexer], code: str) -> Iterator[tuple[Any, str]]:
    for token in lexer(stripnl=False, ensurenl=False).get_tokens(code):
        _time_left()
        yield token


def _time_left() -> float:
    """Seconds until the deadline of this thread's text. Raises TimeoutError after it."""
    # No thread uses more of the processor than time goes by, and to ask what it has used takes twenty times as long.
    left = _clock.look_at - (now := time.perf_counter())
    if left <= 0:
        left = _clock.deadline - time.thread_time()
        if left <= 0:
            raise TimeoutError
        _clock.look_at = now + left
    return float(left)


def _span(token: tuple[Any, str]) -> str:
    kind, text = token
    while kind not in STANDARD_TYPES:
        kind = kind.parent
    name = STANDARD_TYPES[kind]
    # Without the wrapper by which Django escapes lazily: a text has some hundred spans.
    text = html.escape(text)
    return f'<span class="{CLASS_PREFIX}{name}">{text}</span>' if name else text
