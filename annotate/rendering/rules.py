"""Markdown rules under which no letter of a text disappears, and none of which looks at a text again and again.

CommonMark drops what its author may have meant as text: definitions of references, the address of a link, the style of
list numbers, cells beyond a table's columns, stars between factors. Labelers compare responses here, so all is shown.
"""

import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml, mdTrim, unescapeAll
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.heading import heading as commonmark_heading
from markdown_it.rules_block.paragraph import paragraph as commonmark_paragraph
from markdown_it.rules_block.table import escapedSplit, getLine
from markdown_it.rules_block.table import table as commonmark_table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Delimiter
from markdown_it.rules_inline.strikethrough import tokenize as commonmark_strikethrough
from markdown_it.token import Token

# Levels of lists and quotes in each other, counted by element; what is deeper is shown as written.
DEEPEST = 16
# Shown as written in place of dropped or decoded: raw HTML, entities, definitions of references.
_SWITCHED_OFF = ("image", "reference", "entity", "html_block", "html_inline")
# A backslash before any other sign is a part of TeX or of a path.
_ESCAPABLE = frozenset("*_`#~$|<>!-+.")
_BRACKET = re.compile(r"\\.|[\[\]]", re.DOTALL)
# Where a rule of this parser may begin; at other signs it would ask all rules in vain.
_SPECIAL = re.compile(r"[\n\\`*_\[\]<$~]")
MOST_CELLS = 4_000
# From the opening bracket on. Possessive, so that a failure costs one pass; bounded, so that many failures cost little.
_TARGET = re.compile(
    r"\([ \t\n]{0,8}"
    r"(?:<(?P<enclosed>[^<>\n]{1,2000}+)>|(?P<bare>(?:[^\s()<>\\]|\\\S|\([^\s()<>]{0,200}+\)){1,2000}+))"
    r"(?:[ \t\n]{1,8}(?:\"[^\"]{0,500}+\"|'[^']{0,500}+'|\([^()]{0,500}+\)))?"
    r"[ \t\n]{0,8}\)"
)
_WHOLE_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)
# __init__, _private_name_ and the like; a single word between single underscores is emphasis.
_IDENTIFIER = re.compile(r"_{2,3}[A-Za-z0-9]{1,40}(?:_{1,2}[A-Za-z0-9]{1,40}){0,8}_{1,3}(?![A-Za-z0-9_])")
_IDENTIFIER_OF_PARTS = re.compile(r"_[A-Za-z0-9]{1,40}(?:_{1,2}[A-Za-z0-9]{1,40}){1,8}_{1,3}(?![A-Za-z0-9_])")
_FIRST_UNCASED_SCRIPT = 0x0590
_NOT_AFTER_OPENING_STAR = frozenset(",.;:)]}/+=?!%|>")
_NOT_BEFORE_CLOSING_STAR = frozenset("([{,/+=<|-")


def show_everything(parser: MarkdownIt) -> None:
    """Put the rules of this module in place of CommonMark's."""
    parser.disable(list(_SWITCHED_OFF))
    parser.validateLink = is_whole_address  # type: ignore[method-assign]
    parser.normalizeLinkText = lambda link: link  # type: ignore[method-assign]
    parser.inline.ruler.at("link", _link)
    parser.inline.ruler.at("escape", _escape)
    parser.inline.ruler.at("newline", _newline)
    parser.inline.ruler.at("emphasis", _emphasis)
    parser.inline.ruler.at("strikethrough", _strikethrough)
    parser.block.ruler.before("table", "too_deep", _too_deep)
    parser.block.ruler.at("table", _table, {"alt": ["paragraph"]})
    parser.block.ruler.at("heading", _heading, {"alt": ["paragraph", "blockquote"]})
    parser.block.ruler.at("paragraph", _paragraph)
    parser.core.ruler.push("list_markers", _list_markers)
    parser.core.ruler.push("tight_paragraphs", _tight_paragraphs)
    parser.inline.terminator_re = _SPECIAL
    for name, render in (
        ("address", _render_address),
        ("marker", _render_marker),
        ("softbreak", _render_break),
        ("hardbreak", _render_hard_break),
    ):
        parser.add_render_rule(name, render)


def is_whole_address(url: str) -> bool:
    """`//host` and paths would lead into Hone itself; anything else in brackets is rather code than a link."""
    return _WHOLE_ADDRESS.match(url) is not None


# ---- links -----------------------------------------------------------------------------------------------------------


def _link(state: StateInline, silent: bool) -> bool:
    """[text](https://host "title"): the text is a link, and the rest stands behind it as it was written."""
    source, start, last = state.src, state.pos, state.posMax
    if source[start] != "[" or state.linkLevel:
        return False
    end = _closing_brackets(state).get(start, last)
    if end >= last or not (target := _TARGET.match(source, end + 1, last)):
        return False
    href = state.md.normalizeLink(unescapeAll(target["enclosed"] or target["bare"]))
    if not is_whole_address(href):
        return False
    if not silent:
        state.push("link_open", "a", 1).attrs = {"href": href}
        state.pos, state.posMax = start + 1, end
        state.linkLevel += 1
        state.md.inline.tokenize(state)
        state.linkLevel -= 1
        state.push("address", "span", 0).content = target[0]
        state.push("link_close", "a", -1)
    state.pos, state.posMax = target.end(), last
    return True


def _closing_brackets(state: StateInline) -> dict[int, int]:
    """Where each [ of the text is closed; found once for all of them."""
    known: dict[str, dict[int, int]] = state.env.setdefault("closing_brackets", {})
    if state.src not in known:
        found: dict[int, int] = {}
        opened: list[int] = []
        for match in _BRACKET.finditer(state.src):
            if match[0] == "[":
                opened.append(match.start())
            elif match[0] == "]" and opened:
                found[opened.pop()] = match.start()
        known[state.src] = found
    return known[state.src]


# ---- signs within a line ---------------------------------------------------------------------------------------------


def _escape(state: StateInline, silent: bool) -> bool:
    source, at = state.src, state.pos
    if source[at] != "\\":
        return False
    follows = source[at + 1] if at + 1 < state.posMax else ""
    if follows in _ESCAPABLE and follows:
        if not silent:
            state.append_pending(follows)
        state.pos += 2
    elif follows == "\\":
        if not silent:
            state.append_pending("\\\\")
        state.pos += 2
    else:
        if not silent:
            state.append_pending("\\")
        state.pos += 1
    return True


def _newline(state: StateInline, silent: bool) -> bool:
    """A line end; the space before and after it is kept, so that verses and columns stay in their places."""
    if state.src[state.pos] != "\n":
        return False
    if not silent:
        state.push("hardbreak" if state.pending.endswith("  ") else "softbreak", "br", 0)
    state.pos += 1
    return True


def _emphasis(state: StateInline, silent: bool) -> bool:
    """As CommonMark has it, but a star between factors is a star, and an underscore of a name an underscore."""
    source, start = state.src, state.pos
    marker = source[start]
    if silent or marker not in "*_":
        return False
    if marker == "_" and (name := _identifier(source, start, state.posMax)):
        state.append_pending(name)
        state.pos += len(name)
        return True
    scanned = state.scanDelims(start, marker == "*")
    can_open, can_close = scanned.can_open, scanned.can_close
    if marker == "*":
        before = source[start - 1] if start else " "
        end = start + scanned.length
        after = source[end] if end < state.posMax else " "
        is_single = scanned.length == 1
        if _is_operator(before, after, is_single=is_single):
            can_open = can_close = False
        can_open = can_open and not (after == "/" or (is_single and after in _NOT_AFTER_OPENING_STAR))
        can_close = can_close and not (before == "/" or (is_single and before in _NOT_BEFORE_CLOSING_STAR))
    for _ in range(scanned.length):
        state.push("text", "", 0).content = marker
        if can_open or can_close:
            state.delimiters.append(
                Delimiter(ord(marker), scanned.length, len(state.tokens) - 1, end=-1, open=can_open, close=can_close)
            )
    state.pos += scanned.length
    return True


def _identifier(source: str, at: int, last: int) -> str:
    if at and (source[at - 1].isalnum() or source[at - 1] == "_"):
        return ""
    match = _IDENTIFIER.match(source, at, last) or _IDENTIFIER_OF_PARTS.match(source, at, last)
    return match[0] if match else ""


def _is_operator(before: str, after: str, *, is_single: bool) -> bool:
    """Whether stars stand between two factors or beside a number rather than around words.

    Chinese, Thai and other scripts write no spaces around words: there stars within a run of letters are emphasis.
    """
    if is_single and (before.isdigit() or after.isdigit()):
        return True
    is_factor_before = before in ")]}" or (before.isalnum() and ord(before) < _FIRST_UNCASED_SCRIPT)
    is_word_after = after.isalnum() and ord(after) < _FIRST_UNCASED_SCRIPT
    if is_factor_before and is_word_after:
        return True
    return after in "([{" and (before in ")]}" or (is_single and is_factor_before))


def _strikethrough(state: StateInline, silent: bool) -> bool:
    source, start = state.src, state.pos
    if source[start] == "~" and not silent:
        end = start
        while end < state.posMax and source[end] == "~":
            end += 1
        # "10~~20" is a range.
        if start and end < state.posMax and source[start - 1].isalnum() and source[end].isalnum():
            state.append_pending(source[start:end])
            state.pos = end
            return True
    return commonmark_strikethrough(state, silent)


# ---- blocks ----------------------------------------------------------------------------------------------------------


def _too_deep(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """The parser skips what is nested too deep; here it becomes a paragraph of the lines as they are."""
    if silent or state.level < DEEPEST:
        return False
    end = first + 1
    while end < last and (state.isEmpty(end) or state.sCount[end] >= state.blkIndent):
        end += 1
    _push_paragraph(state, first, end)
    return True


def _paragraph(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """As CommonMark has it, but with the space that its first line begins with, such as the one of Chinese texts."""
    commonmark_paragraph(state, first, last, silent)
    state.tokens[-2].content = state.getLines(first, state.line, state.blkIndent, False).rstrip(" \t\n")
    return True


def _push_paragraph(state: StateBlock, first: int, end: int) -> None:
    state.push("paragraph_open", "p", 1).map = [first, end]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(first, end, state.blkIndent, False).rstrip(" \t\n")
    inline.map, inline.children = [first, end], []
    state.push("paragraph_close", "p", -1)
    state.line = end


def _heading(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """Hash signs at the end close a heading only where they are as many as opened it: "## Learn C #" keeps its sign."""
    if not commonmark_heading(state, first, last, silent):
        return False
    if not silent:
        level = int(state.tokens[-1].tag[1:])
        whole = mdTrim(getLine(state, first))[level:]
        closing = len(whole) - len(whole.rstrip("#"))
        if closing != level:
            state.tokens[-2].content = mdTrim(whole)
    return True


def _table(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """A table whose last column takes what a row has beyond the columns; GitHub's tables drop it."""
    if not commonmark_table(state, first, last, True):
        return False
    # Cells that a short row lacks are made up: 200 columns and 2,000 rows of one letter are 400,000 cells.
    if getLine(state, first).count("|") * (last - first) > MOST_CELLS:
        return False
    if silent:
        return True
    begin = len(state.tokens)
    commonmark_table(state, first, last, False)
    cells: list[Token] = []
    for token in state.tokens[begin:]:
        if token.type == "tr_open":
            cells, row = [], token
        elif token.type == "inline":
            cells.append(token)
        elif token.type == "tr_close" and row.map is not None and cells:
            columns = escapedSplit(mdTrim(getLine(state, row.map[0])))
            columns = columns[columns[0] == "" : len(columns) - (len(columns) > 1 and columns[-1] == "")]
            if len(columns) > len(cells):
                cells[-1].content = " | ".join(map(mdTrim, columns[len(cells) - 1 :]))
    return True


def _list_markers(state: StateCore) -> None:
    """The numbers of a list as they were written: 01., 2), 1986. A browser counts on from the first."""
    tokens: list[Token] = []
    for index, token in enumerate(state.tokens):
        tokens.append(token)
        if token.type != "list_item_open" or not (written := _written_marker(token)):
            continue
        marker = Token("marker", "span", 0, content=written)
        follows = state.tokens[index + 1]
        if follows.type in ("paragraph_open", "heading_open"):
            text = state.tokens[index + 2]
            text.children = [marker, *(text.children or [])]
        else:
            tokens.append(marker)
    state.tokens = tokens


def _written_marker(item: Token) -> str:
    if item.info:
        return item.info + item.markup
    # "+ 3" may be a summand.
    return "+" if item.markup == "+" else ""


def _tight_paragraphs(state: StateCore) -> None:
    """A paragraph of a tight list is an element too, so that space counts in it."""
    for token in state.tokens:
        if token.hidden:
            token.hidden = False
            if token.nesting > 0:
                token.attrSet("class", "tight")


# ---- HTML ------------------------------------------------------------------------------------------------------------


def _render_address(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f' <span class="address" dir="ltr">{escapeHtml(tokens[index].content)}</span>'


def _render_marker(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return f'<span class="marker">{escapeHtml(tokens[index].content)}</span> '


def _render_break(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Space counts within a paragraph (see the style sheet): a line end of the source is either a break or a space."""
    return "<br>" if options.breaks else " "


def _render_hard_break(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "<br>"
