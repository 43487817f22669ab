"""Markdown without raw HTML, then an allow-list; code highlighted by class names, LaTeX left for the page to draw."""

import hashlib
import re
from collections.abc import Sequence
from threading import Lock
from typing import Any

import nh3
from cachetools import LRUCache
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from annotate.rendering.highlighting import CLASS_PREFIX, Budget, highlighted
from annotate.rendering.mathematics import add_mathematics
from annotate.rendering.rules import is_whole_address, show_everything

# A text beyond either limit is shown as plain text: nobody formats a text of this size, and every sign costs the parser
# some ten microseconds, a line four times as much. Long responses have some hundred of either.
MAX_MARKDOWN_CHARACTERS = 60_000
HIGHEST_COST = 3_000
_SIGN_COSTS = {"\n": 4, "](": 3} | dict.fromkeys('\\`*_[]<$~|>&"\u00a0', 1)

CACHED_CHARACTERS = 32 * 2**20
"""Of rendered texts that a process keeps: some thousand responses of usual length."""
_cache: LRUCache[tuple[bytes, bool], str] = LRUCache(maxsize=CACHED_CHARACTERS, getsizeof=len)
_cache_lock = Lock()

_CLASS = {
    "span": re.compile(rf"{CLASS_PREFIX}[a-z0-9]+|math (?:inline|display)|address|marker|info"),
    "p": re.compile("tight"),
}
_TAGS = {
    *("p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "span", "a"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES = {"a": {"href"}, "span": {"class", "dir"}, "p": {"class", "dir"}} | {
    tag: {"dir"} for tag in ("h3", "h4", "h5", "h6", "li", "blockquote", "table", "pre")
}
_SET = {"a": {"target": "_blank"}, "pre": {"dir": "ltr"}}
# A block takes its direction from its own first letter: an Arabic paragraph between two English ones. What is in it
# goes along, or an Arabic quote would have its bar, and a list its numbers, on the left.
_DIRECTED = ("paragraph_open", "heading_open", "list_item_open", "blockquote_open", "table_open")


def _parser(*, breaks: bool) -> MarkdownIt:
    parser = MarkdownIt("js-default", {"html": False, "linkify": False, "breaks": breaks})
    show_everything(parser)
    add_mathematics(parser)
    parser.add_render_rule("fence", _render_fence)
    # The page's own headings are levels 1 and 2.
    parser.core.ruler.push("lower_headings", _lower_headings)
    parser.core.ruler.push("directions", _directions)
    return parser


def _lower_headings(state: StateCore) -> None:
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + 2)}"


def _directions(state: StateCore) -> None:
    """Sets dir=auto on each outermost block, and on each list item, which stands beside its marker."""
    open_blocks = 0
    for token in state.tokens:
        if token.type.removesuffix("_close") + "_open" in _DIRECTED and token.nesting < 0:
            open_blocks -= 1
        elif token.type in _DIRECTED:
            if not open_blocks or token.type == "list_item_open":
                token.attrSet("dir", "auto")
            open_blocks += 1


def _render_fence(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """The code under the words that its fence opened with."""
    token = tokens[index]
    info = token.info.strip()
    budget = env.setdefault("highlighting", Budget())
    code = highlighted(token.content, info.split(maxsplit=1)[0] if info else "", budget)
    label = f'<span class="info">{escape(info)}</span>' if info else ""
    return f"<pre>{label}<code>{code}</code></pre>\n"


def _allowed(tag: str, attribute: str, value: str) -> str | None:
    if attribute == "href":
        return value if is_whole_address(value) else None
    if attribute == "class":
        return value if tag in _CLASS and _CLASS[tag].fullmatch(value) else None
    if attribute == "dir":
        return value if value in ("auto", "ltr") else None
    # nh3 lets title and lang pass on any tag.
    return None if attribute in ("title", "lang") else value


_PARSERS = {breaks: _parser(breaks=breaks) for breaks in (False, True)}


def markdown(text: str, *, breaks: bool = True) -> SafeString:
    """HTML for a model's or a person's Markdown. Safe for any input; kept by the text's hash.

    `breaks` keeps each line end: models and chats mean them. Authors of documents, such as guidelines, wrap lines.
    """
    text = storable(text)
    key = (hashlib.sha256(text.encode()).digest(), breaks)
    with _cache_lock:
        html = _cache.get(key)
    if html is None:
        html = _rendered(text, breaks=breaks)
        with _cache_lock:
            if len(html) <= _cache.maxsize:
                _cache[key] = html
    return mark_safe(html)  # nh3 has been over it, or it's escaped


def _rendered(text: str, *, breaks: bool) -> str:
    if len(text) > MAX_MARKDOWN_CHARACTERS or _cost(text) > HIGHEST_COST:
        return plain(text)
    return nh3.clean(
        _PARSERS[breaks].render(text),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_allowed,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values=_SET,
    )


def _cost(text: str) -> int:
    return sum(text.count(sign) * cost for sign, cost in _SIGN_COSTS.items())


def plain(text: str) -> SafeString:
    """The text as it is, line breaks kept."""
    return mark_safe(f'<p class="plain" dir="auto">{escape(storable(text))}</p>')  # escaped


def storable(text: str) -> str:
    """The text without what no page can carry: half of a surrogate pair, or NUL, becomes a replacement character."""
    if "\0" in text or not text.isascii():
        return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
