"""LaTeX in Markdown: finds it, so that its backslashes and underscores stay as they were written.

Known are $...$, \\(...\\), $$...$$, \\[...\\] and environments such as align. What is found becomes an element of the
class "math" that holds the source; the page's script has KaTeX draw it (static/hone/prose.js), and without a script the
source is what people read. A dollar counts as a delimiter as in pandoc, so that "$5 to $10" stays money.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

LONGEST_INLINE = 600
LONGEST_DISPLAY = 4_000
MOST_LINES = 80
_ENVIRONMENT = re.compile(
    r"\\begin\{((?:align(?:ed|at|edat)?|split|equation|gather(?:ed)?|multline|d?r?cases|d?array|subarray|CD"
    r"|(?:small|[bBpvV])?matrix)\*?)\}"
)


def add_mathematics(parser: MarkdownIt) -> None:
    """Teach a parser the rules below. It then emits tokens math_inline and math_display."""
    parser.inline.ruler.before("escape", "math", _inline)
    parser.block.ruler.before("fence", "math", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.add_render_rule("math_inline", _render)
    parser.add_render_rule("math_display", _render)


def _render(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    kind = token.type.removeprefix("math_")
    source = token.content.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if token.block:
        return f'<p><span class="math {kind}">{source}</span></p>\n'
    return f'<span class="math {kind}">{source}</span>'


def _inline(state: StateInline, silent: bool) -> bool:
    found = _span(state.src, state.pos, state.posMax)
    if found is None:
        return False
    start, end, after, is_display = found
    if not silent:
        token = state.push("math_display" if is_display else "math_inline", "span", 0)
        token.content = state.src[start:end]
    state.pos = after
    return True


def _span(text: str, at: int, last: int) -> tuple[int, int, int, bool] | None:
    """Where the source begins and ends, what comes after, and whether it's displayed; None where none begins."""
    for opening, closing, is_display in (("$$", "$$", True), ("\\[", "\\]", True), ("\\(", "\\)", False)):
        if text.startswith(opening, at):
            end = text.find(closing, at + 2, min(last, at + LONGEST_INLINE))
            return (at + 2, end, end + 2, is_display) if end > at + 2 and text[at + 2 : end].strip() else None
    if environment := _ENVIRONMENT.match(text, at, last):
        closing = f"\\end{{{environment[1]}}}"
        end = text.find(closing, environment.end(), min(last, at + LONGEST_DISPLAY))
        return (at, end + len(closing), end + len(closing), True) if end > 0 else None
    if text[at] != "$" or at + 1 >= last or text[at + 1].isspace() or (at and _joins(text[at - 1])):
        return None
    # The next dollar closes it, or nothing does: "$5 to $10" has no formula, whatever dollars come later.
    end = text.find("$", at + 1, min(last, at + LONGEST_INLINE))
    while end > 0 and text[end - 1] == "\\":
        end = text.find("$", end + 1, min(last, at + LONGEST_INLINE))
    if end < 0 or text[end - 1].isspace() or (end + 1 < last and _joins(text[end + 1])):
        return None
    return at + 1, end, end + 1, False


def _joins(character: str) -> bool:
    """Whether a dollar beside this belongs to a word, a variable of a shell or an amount."""
    return character in "$\\" or (character.isalnum() and character.isascii())


def _block(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Lines from one that begins with an opening delimiter to one that ends with the closing one."""
    if state.is_code_block(first):
        return False
    line = _line(state, first)
    environment = _ENVIRONMENT.match(line)
    if environment:
        opening, closing, kept = "", f"\\end{{{environment[1]}}}", True
    elif line.startswith(("$$", "\\[")):
        opening, closing, kept = line[:2], "$$" if line.startswith("$$") else "\\]", False
    else:
        return False
    end = _end(state, first, closing, after=len(opening))
    if end is None or end >= min(last, first + MOST_LINES):
        return False
    lines = [_line(state, number) for number in range(first, end + 1)]
    if any(state.sCount[number] < state.blkIndent for number in range(first + 1, end + 1)):
        return False
    lines[0] = lines[0].removeprefix(opening)
    content = "\n".join(lines if kept else [*lines[:-1], lines[-1].removesuffix(closing)]).strip()
    if not content:
        return False
    if not silent:
        token = state.push("math_display", "span", 0)
        token.block, token.content, token.map = True, content, [first, end + 1]
        state.line = end + 1
    return True


def _end(state: StateBlock, first: int, closing: str, *, after: int) -> int | None:
    """The line that the first closing delimiter ends; None where there is none near, or something follows it."""
    start = state.bMarks[first] + state.tShift[first] + after
    found = state.src.find(closing, start, start + LONGEST_DISPLAY)
    # Looked at in the source before any line is: a text may open a thousand that one distant delimiter would close.
    if found < 0:
        return None
    line_end = state.src.find("\n", found)
    if state.src[found + len(closing) : line_end if line_end >= 0 else None].strip():
        return None
    return bisect_left(state.eMarks, found + len(closing), first)


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()
