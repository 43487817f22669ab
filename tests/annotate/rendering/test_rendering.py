"""Untrusted text: what is shown of it, and what never is."""

import re
import time
from html.parser import HTMLParser

import pytest
from cachetools import LRUCache
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.rendering import markdown, markup
from tests.texts import hostile

ALLOWED_TAGS = {
    *("p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "span", "a"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** and *leaning*", "<p><strong>bold</strong> and <em>leaning</em></p>"),
        ("one line\nnext line", "<p>one line<br>next line</p>"),
        ("# Title", "<h3>Title</h3>"),
        ("###### Small", "<h6>Small</h6>"),
        (
            "3. third\n07) fourth",
            (
                '<ol>\n<li>\n<p class="tight"><span class="marker">3.</span> third</p>\n</li>\n</ol>\n'
                '<ol>\n<li>\n<p class="tight"><span class="marker">07)</span> fourth</p>\n</li>\n</ol>'
            ),
        ),
        (
            "```python\npass\n```",
            (
                '<pre><span class="info">python</span><code><span class="hl-k">pass</span>'
                '<span class="hl-w">\n</span></code></pre>'
            ),
        ),
        (
            "```no-such-language a=1\na < b\n```",
            '<pre><span class="info">no-such-language a=1</span><code>a &lt; b\n</code></pre>',
        ),
        ("你好，**世界**", "<p>你好，<strong>世界</strong></p>"),
    ],
)
def test_markdown_is_shown_as_its_author_meant_it(text: str, html: str) -> None:
    assert undirected(markdown(text)).strip() == html


def undirected(html: str) -> str:
    return re.sub(r' dir="(?:auto|ltr)"', "", html)


def test_each_block_takes_its_direction_from_its_own_letters_and_code_from_none() -> None:
    html = markdown("Hello\n\nمرحبا\n\n- one\n\n| a |\n|---|\n| b |\n\n```\nx\n```")
    assert html.count('<p dir="auto">') == 2
    for tag in ("li", "table"):
        assert f'<{tag} dir="auto">' in html
    # A table's or an item's own letters decide: an attribute inside would take them out of the count.
    assert html.count('dir="auto"') == 4
    assert '<pre dir="ltr">' in html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("so $x_1 * y_2$ is", '<p>so <span class="math inline">x_1 * y_2</span> is</p>'),
        (r"so \(a*b*c\) is", '<p>so <span class="math inline">a*b*c</span> is</p>'),
        ("$$\na < b\n$$", '<p><span class="math display">a &lt; b</span></p>'),
        (r"\[ x^2 \]", '<p><span class="math display">x^2</span></p>'),
        ("is\n\\[ x^2 \\]\nso", '<p>is</p>\n<p><span class="math display">x^2</span></p>\n<p>so</p>'),
        ("a $$x$$ b", '<p>a <span class="math display">x</span> b</p>'),
        ("若$x$则", '<p>若<span class="math inline">x</span>则</p>'),
        (
            "\\begin{align}\na &= b\n\\end{align}",
            '<p><span class="math display">\\begin{align}\na &amp;= b\n\\end{align}</span></p>',
        ),
        ("> $$\n> x\n> $$", '<blockquote>\n<p><span class="math display">x</span></p>\n</blockquote>'),
        ("It costs $5 to $10.", "<p>It costs $5 to $10.</p>"),
        ("$5 to $10 for $x$", '<p>$5 to $10 for <span class="math inline">x</span></p>'),
        ("$HOME/$USER and US$20, A$30", "<p>$HOME/$USER and US$20, A$30</p>"),
        (r"\$x\$", "<p>$x$</p>"),
        ("`$x$`", "<p><code>$x$</code></p>"),
        ("$$\nnever closed", "<p>$$<br>never closed</p>"),
        (
            r"so \begin{align}a &= b\end{align} holds",
            r'<p>so <span class="math display">\begin{align}a &amp;= b\end{align}</span> holds</p>',
        ),
        (r"so \begin{align} and no end", r"<p>so \begin{align} and no end</p>"),
        ("$ x $", "<p>$ x $</p>"),
    ],
)
def test_latex_is_found_and_money_is_not(text: str, html: str) -> None:
    assert undirected(markdown(text)).strip() == html


@pytest.mark.parametrize(
    "name",
    [
        *("align", "align*", "aligned", "split", "alignat", "alignat*", "alignedat", "array", "darray", "subarray"),
        *("cases", "dcases", "rcases", "drcases", "equation", "equation*", "gather", "gather*", "gathered", "CD"),
        *("matrix", "pmatrix", "bmatrix*", "Vmatrix", "smallmatrix"),
    ],
)
def test_every_environment_that_is_drawn_is_found_in_a_sentence_and_alone(name: str) -> None:
    source = rf"\begin{{{name}}}a_1*b_2*c\end{{{name}}}"
    span = f'<span class="math display">{source}</span>'
    assert undirected(markdown(f"so {source} holds")) == f"<p>so {span} holds</p>\n"
    assert undirected(markdown(source)) == f"<p>{span}</p>\n"


def test_what_no_page_can_carry_is_replaced() -> None:
    assert undirected(markdown("a\0b\ud800c\udc00 \U0001f600")) == "<p>a\ufffdb\ufffdc\ufffd \U0001f600</p>\n"


def test_a_link_opens_elsewhere_and_tells_nobody_where_it_was_found() -> None:
    html = markdown("[docs](https://example.org/a?b=1&c=2)")
    assert 'href="https://example.org/a?b=1&amp;c=2"' in html
    assert 'target="_blank"' in html
    assert 'rel="noopener noreferrer nofollow"' in html


@pytest.mark.parametrize(
    "address",
    ["//evil.example", "/accounts/logout/", "javascript:alert(1)", "data:text/html,x", "vbscript:x", "\\\\evil"],
)
def test_a_link_that_is_no_whole_web_address_leads_nowhere(address: str) -> None:
    assert "href" not in markdown(f"[look]({address})")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        '<form action="//evil"><input name=a></form>',
        '<div hx-get="/p/x/" hx-trigger="load" data-hx-get="/">x</div>',
        '<a id="board" style="position:fixed">x</a>',
        "<style>*{display:none}</style>",
    ],
)
def test_raw_html_is_text(text: str) -> None:
    html = markdown(text)
    assert "&lt;" in html
    assert set(re.findall(r"<([a-z0-9]+)", html)) == {"p"}


def test_an_image_is_a_link_that_nobody_follows_by_itself() -> None:
    html = markdown("![a cat](https://tracker.example/cat.png)")
    assert "<img" not in html
    assert 'href="https://tracker.example/cat.png"' in html


def test_a_rendered_text_is_kept_by_its_hash_and_by_how_lines_end(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = []
    original = markup._rendered

    def counted(text: str, *, breaks: bool) -> str:
        rendered.append((text, breaks))
        return original(text, breaks=breaks)

    monkeypatch.setattr(markup, "_rendered", counted)
    monkeypatch.setattr(markup, "_cache", LRUCache(maxsize=300, getsizeof=len))
    assert markdown("a\nb") == markdown("a\nb") == '<p dir="auto">a<br>b</p>\n'
    assert markdown("a\nb", breaks=False) == '<p dir="auto">a b</p>\n'
    assert rendered == [("a\nb", True), ("a\nb", False)]
    # Bounded by its characters: what does not fit pushes older texts out, or is not kept at all.
    for word in ("one " * 40, "two " * 40, "long " * 100):
        markdown(word)
    assert markup._cache.currsize <= 300
    assert markdown("a\nb") == '<p dir="auto">a<br>b</p>\n'
    assert rendered.count(("a\nb", True)) == 2


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("<>&\"'`*_[]()!#|$\\:/ \nascriptonhx=-1."), max_size=80))
def test_no_text_brings_a_tag_or_attribute_of_its_own(text: str) -> None:
    html = markdown(text)
    for tag, attributes in re.findall(r"<([a-zA-Z0-9]+)((?:\s[^<>]*)?)>", html):
        assert tag in ALLOWED_TAGS
        assert set(re.findall(r"\s([a-z-]+)=\"", attributes)) <= {"href", "target", "rel", "class", "dir"}


class Elements(HTMLParser):
    """Every start tag of a fragment with its attributes, as a parser of HTML sees them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("text", [*hostile.TEXTS, *hostile.UNSTORABLE], ids=lambda text: repr(text[:24]))
def test_hostile_text_comes_out_as_harmless_elements_and_soon(text: str) -> None:
    start = time.thread_time()
    html = markdown(text)
    assert time.thread_time() - start < 1.5
    html.encode()
    for tag, attributes in Elements(html).found:
        assert tag in ALLOWED_TAGS
        assert set(attributes) <= {"href", "target", "rel", "class", "dir"}
        assert re.match(r"https?://|mailto:", attributes.get("href") or "mailto:")
        assert re.fullmatch(
            r"hl-[a-z0-9]+|math (inline|display)|plain|tight|address|marker|info|", attributes.get("class") or ""
        )
