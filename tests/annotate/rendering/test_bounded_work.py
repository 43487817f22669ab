"""No text keeps a process busy: each shape of 60,000 characters is done within 50 ms of processor time."""

import importlib
import json
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from pygments.lexer import Lexer, RegexLexer
from pygments.lexers import find_lexer_class_by_name
from pygments.token import Error

import annotate
import config
import rlhf
from annotate import rendering
from annotate.data import text
from annotate.formats.files import json_objects
from annotate.labeling import model_self_identification
from annotate.people import guidelines
from annotate.rendering import highlighting, markup
from tests.texts import adversarial

LONGEST = 0.1
"""Seconds of processor time: 50 ms, and what they become where both threads of a core are busy."""
# As many brackets as make a reader of files count them.
DEEP = "[" * (json_objects.MOST_DEPTH + 1)
# What happens once in a process: compiling the lexers, importing an encoding.
for name in highlighting.LANGUAGES.values():
    highlighting.lexer_of(name)
markup.markdown("a *b* [c](https://d.e)")


def seconds(work: Callable[[], Any], most: float = LONGEST) -> float:
    """Processor time of the work; the least of three where a busy machine spoils the first."""
    taken = []
    for _ in range(3):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
        if taken[-1] <= most:
            break
    return min(taken)


def too_slow(
    work: Callable[[str], Any], texts: dict[str, str] = adversarial.TEXTS, *, most: float = LONGEST
) -> dict[str, float]:
    """The shapes that take longer, with their seconds."""
    found = {shape: seconds(partial(work, written), most) for shape, written in texts.items()}
    return {shape: taken for shape, taken in found.items() if taken >= most}


def formatted(written: str) -> str:
    """The longest beginning that is still formatted rather than shown plain: the dearest of its shape."""
    low, high = 0, len(written) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if markup._cost(written[:middle]) <= markup.HIGHEST_COST else (low, middle)
    return written[:low]


@pytest.mark.parametrize(
    "work",
    [
        lambda written: markup._rendered(written, breaks=True),
        rendering.plain,
        model_self_identification._find,
        model_self_identification._SELF.findall,
        lambda written: text.checked_object({"a": written}, name="A", longest=200_000),
        lambda written: json_objects.parsed_json(DEEP + written),
        lambda written: json_objects.parsed_json(f'{DEEP}"{written}'),
    ],
    ids=("markdown", "plain", "names", "self", "draft", "row of a file", "open string of a file"),
)
def test_every_shape_is_done_soon(work: Callable[[str], Any]) -> None:
    assert too_slow(work) == {}


def test_the_longest_text_that_is_still_formatted_is_done_soon() -> None:
    texts = {shape: formatted(written) for shape, written in adversarial.TEXTS.items()}
    assert too_slow(lambda written: markup._rendered(written, breaks=True), texts) == {}


@pytest.mark.parametrize("changed", [lambda written: written[1:], lambda written: written[::-1]], ids=("cut", "turned"))
def test_a_comparison_of_texts_takes_no_more_than_its_lines(changed: Callable[[str], str]) -> None:
    # Some ten microseconds a line that is shown: 60,000 of them at most.
    work = lambda written: guidelines.compared(written, changed(written))  # noqa: E731
    assert too_slow(work, dict(list(adversarial.TEXTS.items())[::12]), most=2.0) == {}


def modules(*packages: ModuleType) -> Iterator[ModuleType]:
    for package in packages:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # The last is imported where a provider of sign-ins is configured alone, and keeps no pattern.
            if not re.search(r"\.(migrations|management|settings|gunicorn|__main__|single_sign_on)\b", found.name):
                yield importlib.import_module(found.name)


def patterns() -> dict[str, re.Pattern[str]]:
    """Every compiled pattern that a module keeps, alone or in a collection."""
    found = {}
    for module in modules(annotate, rlhf, config):
        for name, value in vars(module).items():
            for number, part in enumerate(value.values() if isinstance(value, dict) else (value,)):
                for place, pattern in enumerate(part if isinstance(part, tuple | list) else (part,)):
                    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
                        found[f"{module.__name__}.{name} {number} {place}"] = pattern
    return found


# These see a stretch of a text, or so many of its places, at most: unblinding._find and Markdown are measured above.
OF_STRETCHES = (
    "annotate.labeling.model_self_identification._SAYS",
    "annotate.labeling.model_self_identification._MADE_BY",
    "annotate.rendering.rules._TARGET",
)


@pytest.mark.parametrize("name", sorted(name for name in patterns() if not name.startswith(OF_STRETCHES)))
def test_every_pattern_is_done_soon(name: str) -> None:
    pattern = patterns()[name]
    texts = dict(list(adversarial.TEXTS.items())[::4])
    assert too_slow(lambda written: sum(1 for _ in pattern.finditer(written)), texts) == {}


CODE = {shape: written[: highlighting.LONGEST] for shape, written in list(adversarial.TEXTS.items())[::12]}


@pytest.mark.parametrize("name", sorted(set(highlighting.LANGUAGES.values())))
def test_every_lexer_ends_in_time(name: str) -> None:
    assert too_slow(lambda code: highlighting.highlighted(code, name, highlighting.Budget()), CODE) == {}


@pytest.mark.parametrize("name", sorted(set(highlighting.LANGUAGES.values())))
def test_no_lexer_calls_one_without_a_time_limit(name: str) -> None:
    lexer = highlighting.lexer_of(name)
    if not issubclass(lexer, RegexLexer):
        assert name == "json"  # written by hand, one pass
        return
    lexer()  # type: ignore[operator]
    called = {
        value
        for rules in vars(lexer)["_all_tokens"].values()
        for state in rules.values()
        for _, action, _ in state
        for value in closed_over(action)
        if isinstance(value, type) and issubclass(value, Lexer)
    }
    assert called == set()


SOURCE = """# A *comment*, 1.5e3 and 0x1F; `quoted`, 'single' and "double"
def boil(eggs: list[int], *, minutes=10.5): return [egg for egg in eggs if egg >= 2] # done
match eggs:
    case [1, 2]: print(f"{eggs!r:>10}", '''three
lines''')
import os.path as path
<p class="a">it's &amp; that</p> { color: #fff; margin: 0 auto }
public static void main(String[] args) { int x = 3; /* why */ return x ? "yes" : 'n'; }
SELECT count(*) FROM eggs WHERE size > 2 AND name LIKE 'a%';
key: [value, 12]
[section]
- removed
+ added
if [ -f "$HOME/.profile" ]; then echo ${x:-1}; fi
\\begin{equation} x^2 \\end{equation}
"""


@pytest.mark.parametrize("name", sorted(set(highlighting.LANGUAGES.values())))
def test_every_lexer_gives_the_tokens_of_its_original(name: str) -> None:
    highlighting._clock.deadline = highlighting._clock.look_at = time.perf_counter() + 60
    original, bounded = (
        lexer(stripnl=False) for lexer in (find_lexer_class_by_name(name), highlighting.lexer_of(name))
    )
    assert list(bounded.get_tokens(SOURCE)) == list(original.get_tokens(SOURCE))


def test_a_match_with_a_limit_is_tried_only_where_the_pattern_may_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    begins = highlighting._prefix(r"^(\s*)(def|class)(\s+)(\w+)", re.MULTILINE).match
    places = {"x\n def": 2, "x\n  class": 2, "x = 1\n": 2, "x\n  of": 2, " xdef": 2}
    assert [written for written, place in places.items() if begins(written, place)] == ["x\n def", "x\n  class"]
    asked: list[None] = []
    monkeypatch.setattr(highlighting, "_time_left", lambda: asked.append(None) or 9.0)
    tokens = list(highlighting._tokens(highlighting.lexer_of("python"), "x = [egg, egg]\n" * 20))
    # Once for each token; and of all rules only for docstrings where a line begins, and for the numbers.
    assert len(tokens) <= len(asked) <= 2 * len(tokens)


def closed_over(action: Any) -> Iterator[Any]:
    for cell in getattr(action, "__closure__", None) or ():
        value = cell.cell_contents
        for part in value if isinstance(value, tuple | list) else (value,):
            yield part
            if callable(part) and hasattr(part, "__closure__"):
                yield from closed_over(part)


def test_a_match_that_would_take_minutes_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(RegexLexer):
        """Tries every division of a line of one letter."""

        tokens = {"root": [(r"(?:a+)+b", Error)]}

    monkeypatch.setitem(highlighting.LANGUAGES, "slow", "slow")
    monkeypatch.setattr(highlighting, "find_lexer_class_by_name", lambda name: Slow)
    code = "a" * 2_000
    assert seconds(lambda: highlighting.highlighted(code, "slow", highlighting.Budget())) < 0.2
    assert highlighting.highlighted(code, "slow", highlighting.Budget()) == code
    highlighting.lexer_of.cache_clear()


def test_the_processor_time_of_a_thread_is_asked_for_once_time_went_by(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    now = time.thread_time
    monkeypatch.setattr(highlighting.time, "thread_time", lambda: asked.append(now()) or asked[-1])
    monkeypatch.setattr(highlighting, "SECONDS", 60.0)
    assert "hl-" in highlighting.highlighted("x = [1, 2]\n" * 200, "python", highlighting.Budget())
    assert len(asked) == 2
    # A thread that others kept from the processor has its time left.
    highlighting._clock.look_at, highlighting._clock.deadline = time.perf_counter(), now() + 50
    assert 40 < highlighting._time_left() <= 50
    assert len(asked) == 3
    assert 40 < highlighting._time_left() <= 50
    assert len(asked) == 3
    highlighting._clock.look_at = highlighting._clock.deadline = 0
    with pytest.raises(TimeoutError):
        highlighting._time_left()


def test_code_of_an_unknown_language_and_long_code_are_shown_without_colours() -> None:
    for code, language in ((" " * 59_900, "autoit"), ("x = 1\n" * 2_000, "python")):
        assert highlighting.highlighted(code, language, highlighting.Budget()) == code
    assert "hl-" in highlighting.highlighted("x = 1\n", "python", highlighting.Budget())


def test_fences_of_one_text_share_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highlighting, "SECONDS", 10.0)
    html = markup._rendered("```python\nx = 1\n```\n" * 5 + "```python\n" + "y = 2\n" * 600 + "```\n", breaks=True)
    assert html.count("hl-mi") == 605
    html = markup._rendered(("```python\n" + f"y = 2{' ' * 40}\n" * 60 + "```\n") * 2, breaks=True)
    assert html.count("hl-mi") == 60
    assert html.count("y = 2") == 60


def test_nested_json_of_a_draft_is_refused_rather_than_followed() -> None:
    nested: Any = json.loads("[" * 900 + "]" * 900)
    assert text.checked_object({"a": nested}, name="A", longest=100_000)
