"""Markdown without raw HTML, then an allow-list; code highlighted by class names, LaTeX left for the page to draw."""

import hashlib
import re

import nh3
from django.core.cache import cache
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from .mathematics import add_mathematics

# A text beyond either limit is shown as plain text: nobody formats a text of this size, and each open bracket makes the
# parser look through the rest again ("[" 20,000 times takes two seconds); a dollar through some hundred characters.
MAX_MARKDOWN_CHARACTERS = 60_000
MAX_OPENINGS = 2_000

CLASS_PREFIX = "hl-"
_FORMATTER = HtmlFormatter(nowrap=True, classprefix=CLASS_PREFIX)
_CLASS = re.compile(rf"{CLASS_PREFIX}[a-z0-9]+|math (?:inline|display)")
_CACHE_VERSION = 3
"""Raised when the same text comes out differently: a shared cache outlives the process that filled it."""

_TAGS = {
    *("p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "span", "a"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES = {"a": {"href"}, "ol": {"start"}, "span": {"class"}}
# Each block takes its direction from its own first letter: an Arabic paragraph between two English ones.
_DIRECTED = ("p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "table", "th", "td")
_SET = {"a": {"target": "_blank"}, "pre": {"dir": "ltr"}} | {tag: {"dir": "auto"} for tag in _DIRECTED}


def _highlighted(code: str, language: str, _: str) -> str:
    try:
        lexer = get_lexer_by_name(language) if language else None
    except ClassNotFound:
        lexer = None
    return highlight(code, lexer, _FORMATTER) if lexer else escape(code)


def _allowed(tag: str, attribute: str, value: str) -> str | None:
    """Only whole addresses: `//host` and paths would pass the scheme check, and a path leads into Hone itself."""
    if attribute == "href":
        return value if value.startswith(("https://", "http://", "mailto:")) else None
    if attribute == "class":
        return value if _CLASS.fullmatch(value) else None
    # nh3 lets title and lang pass on any tag.
    return None if attribute in ("title", "lang") else value


def _parser() -> MarkdownIt:
    parser = MarkdownIt("js-default", {"html": False, "linkify": False, "breaks": True, "highlight": _highlighted})
    # Images would be fetched from elsewhere: that tracks the reader and can tell who wrote the answer. A link stays.
    parser.disable("image")
    add_mathematics(parser)
    # The page's own headings are levels 1 and 2.
    parser.core.ruler.push("lower_headings", _lower_headings)
    return parser


def _lower_headings(state) -> None:  # type: ignore[no-untyped-def]
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + 2)}"


_PARSER = _parser()


def markdown(text: str) -> SafeString:
    """HTML for a model's or a person's Markdown. Safe for any input; parsed once and cached by the text's hash."""
    text = storable(text)
    if len(text) > MAX_MARKDOWN_CHARACTERS or text.count("[") + text.count("$") > MAX_OPENINGS:
        return plain(text)
    key = f"markdown:{_CACHE_VERSION}:" + hashlib.sha256(text.encode()).hexdigest()
    html = cache.get(key)
    if html is None:
        html = nh3.clean(
            _PARSER.render(text),
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            attribute_filter=_allowed,
            url_schemes={"http", "https", "mailto"},
            link_rel="noopener noreferrer nofollow",
            set_tag_attribute_values=_SET,
        )
        cache.set(key, html, timeout=24 * 3600)
    return mark_safe(html)  # nh3 has been over it


def plain(text: str) -> SafeString:
    """The text as it is, line breaks kept."""
    return mark_safe(f'<p class="plain" dir="auto">{escape(storable(text))}</p>')  # escaped


def storable(text: str) -> str:
    """The text without what no page can carry: half of a surrogate pair, or NUL, becomes a replacement character."""
    if "\0" in text or not text.isascii():
        return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
