"""Nothing of a text disappears on the page: its letters and digits, in order, are those of its source."""

import json
import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.rendering import markdown, markup
from tests.texts import hostile

PIECES = [
    *("*", "**", "_", "__", "~~", "`", "``", "```\n", "~~~\n", "```python x=1\n", "[", "]", "(", ")", "![", "[^1]"),
    *("](http://a.b", '](http://a.b "t")', "[1]: https://c.d 'T'\n", "[^1]: note\n", "<https://x.y/%41>", "<a@b.c>"),
    *("<b>", "</b>", "<!-- c -->", "<script>", "&amp;", "&#65;", "&nbsp;", "\\", "\\*", "\\(", "\\)", "\\[", "\\]"),
    *("$", "$$", "\\begin{align}", "\\end{align}", "#", "## ", "> ", "- ", "+ ", "* ", "1. ", "2) ", "07. ", "1986. "),
    *(
        "|",
        "|-|-|\n",
        "| a | b |\n",
        "|--|--|\n",
        "---\n",
        "===\n",
        "***\n",
        "[x] ",
        "[ ] ",
        "\n",
        "\n\n",
        "  \n",
        "    ",
    ),
    *("\t", "  ", " ", "a", "B7", "5", "x_1", "word", "五", "漢字", "كلمة", "é", "e\u0301", "ß", "İ", "ﬁ", "½", "Ⅷ"),
    *("\r\n", "\u3000", "\x0b", "\x0c", "\u2028", "\x85", "\u00a0", "\x1c", ":", ".", "!", "/", "'", '"'),
]


class Text(HTMLParser):
    """What a browser shows of a fragment."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.shown = ""
        self.feed(html)
        self.close()

    def handle_data(self, data: str) -> None:
        self.shown += data


def shown(text: str, *, breaks: bool = True) -> str:
    return Text(markdown(text, breaks=breaks)).shown


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("[Response]: 42", "[Response]: 42"),
        ("Sources:\n\n[1]: https://a.b/c 'Title'", "Sources:\n[1]: https://a.b/c 'Title'"),
        ("a [text][label] b", "a [text][label] b"),
        ('[text](https://a.b "Title")', 'text (https://a.b "Title")'),
        ("[](https://a.b)", " (https://a.b)"),
        ("![alt](https://a.b/c.png)", "!alt (https://a.b/c.png)"),
        ("call arr[i](x)", "call arr[i](x)"),
        ("Map<key:value> and <https://a.b/%41>", "Map<key:value> and https://a.b/%41"),
        ("<b>x</b> <!-- y --> &amp; &copy; &#65;", "<b>x</b> <!-- y --> &amp; &copy; &#65;"),
        ("a[^1]\n\n[^1]: note", "a[^1]\n[^1]: note"),
        ("```python title=x\npass\n```", "python title=xpass\n"),
        ("5! = 5*4*3*2*1 = 120", "5! = 5*4*3*2*1 = 120"),
        ("(a+b)*(c+d)*(e)", "(a+b)*(c+d)*(e)"),
        ("(a)*b*(c) and x**2**3", "(a)*b*(c) and x**2**3"),
        ("SELECT *, COUNT(*) FROM t", "SELECT *, COUNT(*) FROM t"),
        ("src/**/*.py, tests/**/*.py, *.txt, x*.md", "src/**/*.py, tests/**/*.py, *.txt, x*.md"),
        ("Call __init__ on _private_name_.", "Call __init__ on _private_name_."),
        ("10~~20 and 30~~40", "10~~20 and 30~~40"),
        ("C:\\_a \\\\host\\b \\{x\\} \\% \\*", "C:_a \\\\host\\b \\{x\\} \\% *"),
        ("1986. A great year", "1986. A great year"),
        ("07) seven\n08) eight", "07) seven\n08) eight"),
        ("1. a\n1. b", "1. a\n1. b"),
        ("+ 3\n+ 4", "+ 3\n+ 4"),
        ("- [ ] open\n- [x] done", "[ ] open\n[x] done"),
        ("| a | b |\n|---|---|\n| 1 | 2 | 3 | 4 |", "a\nb\n1\n2 | 3 | 4"),
        ("## Learn C #\n## Title ##", "Learn C #\nTitle"),
        ("> " * 40 + "deep", "> " * 24 + "deep"),
        ("\u3000\u3000段落", "\u3000\u3000段落"),
        ("Roses\n   are    red", "Roses   are    red"),
        ("    two\n      four", "two\n  four"),
        ("```\n\n  x  \n\n```", "\n  x  \n\n"),
        ("e\u0301 é ﬁ", "e\u0301 é ﬁ"),
    ],
)
def test_what_markdown_would_swallow_is_seen(text: str, seen: str) -> None:
    lines = [line for line in shown(text).split("\n") if line]
    assert lines == [line for line in seen.split("\n") if line]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*a* and **b c**", "<em>a</em> and <strong>b c</strong>"),
        ("你好**世界**吧", "你好<strong>世界</strong>吧"),
        ("**1. Title** _word_ __two words__", "<strong>1. Title</strong> <em>word</em> <strong>two words</strong>"),
        ("**Note:** see *this*, (*that*)", "<strong>Note:</strong> see <em>this</em>, (<em>that</em>)"),
        ("~~gone~~", "<s>gone</s>"),
    ],
)
def test_emphasis_of_words_is_still_emphasis(text: str, html: str) -> None:
    assert markdown(text) == f'<p dir="auto">{html}</p>\n'


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join), st.booleans())
def test_letters_and_digits_are_those_of_the_source(text: str, breaks: bool) -> None:
    assert letters(shown(text, breaks=breaks)) == letters(text)


@pytest.mark.parametrize("text", hostile.TEXTS, ids=lambda text: repr(text[:24]))
def test_hostile_texts_are_shown_whole(text: str) -> None:
    assert letters(shown(text)) == letters(text)


def data_folder() -> Path | None:
    """shared/data of the folder that this checkout, or one above it, lies in."""
    given_folder = os.environ.get("TEST_DATA")
    places = [Path(given_folder)] if given_folder else [up / "shared/data" for up in Path(__file__).resolve().parents]
    return next((place for place in places if place.is_dir()), None)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def test_real_prompts_and_responses_are_shown_whole() -> None:
    folder = data_folder()
    if folder is None:
        pytest.skip("there is no folder shared/data beside this checkout")
    seen = set()
    for path in sorted(folder.glob("*.jsonl")):
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                for text in strings(json.loads(line)):
                    if text not in seen:
                        seen.add(text)
                        assert letters(Text(markup._rendered(text, breaks=True)).shown) == letters(text), (
                            f"{path.name}:{number}"
                        )
    assert seen
