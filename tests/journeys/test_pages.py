"""Every page in every state: axe finds nothing, nothing is lost when it is enlarged, and all of it is in Chinese.

`make screenshots` runs this with `--screenshots FOLDER`: light, dark, phone and Chinese, a picture each.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT as AXE
from django.urls import URLPattern, URLResolver, get_resolver
from playwright.sync_api import Browser, Page, Response

from tests.factories.cast import Cast
from tests.harness.browser import SignIn
from tests.journeys.pages import OUTSIDE, STATES, WITHOUT_A_PAGE, State
from tests.journeys.world import World

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# 1280 pixels at 200% and at 400%, as WCAG 1.4.10 asks.
ENLARGED = (640, 320)
WHO = {"signed out": OUTSIDE, "manager": "manager", "labeler": "labeler", "admin": "admin"}
PAGES_A_TEST = 25
# No test is so long that the other processes have nothing left to do meanwhile.
PARTS = [
    pytest.param(who, slice(first, first + PAGES_A_TEST), id=f"{who} from {first + 1}")
    for who, name in WHO.items()
    for first in range(0, len(STATES[name]), PAGES_A_TEST)
]
# Words that stay as they are in Chinese: names, formats, code, and units.
AS_THEY_ARE = re.compile(
    r"Hone|English|SHA-256|JSON|Lines?|TRL|HH|Alpaca|Anthropic|Parquet|Markdown|InstructGPT|HelpSteer2?|Llama|Krippendorff"
    r"|Label Studio|Stack Exchange|Open-Assistant|MT-Bench|Chatbot Arena|Open WebUI|Summarize from feedback"
    r"|Elo|Bradley-Terry|Beta"
    r"|KL|PPO|SFT|UTC|UTF-8|gzip|Ctrl|Enter|Esc|Alt|Tab|Shift|Home|End|Delete|Backspace|PageUp|PageDown|ArrowUp"
)
Look = Callable[[Page, State], None]


@pytest.fixture
def world(transactional_db: None, cast: Cast, settings: Any) -> World:
    settings.HONE_BASE_MODEL = "tiny"
    return World(cast)


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[[Page, State, str], None]:
    """Writes a picture where `--screenshots` asks for them."""
    folder = request.config.getoption("screenshots")

    def write(page: Page, state: State, kind: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder) / f"{state.name}-{kind}.png", full_page=True)

    return write


def url_names(patterns: list[URLPattern | URLResolver], namespace: str = "") -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield f"{namespace}{pattern.name}"
        elif pattern.namespace not in ("admin", "api", "gateway"):
            space = f"{pattern.namespace}:" if pattern.namespace else namespace
            yield from url_names(pattern.url_patterns, space)


def test_every_page_is_in_the_list() -> None:
    shown = {state.url_name for states in STATES.values() for state in states} - {""}
    there = set(url_names(get_resolver().url_patterns))
    assert there == shown | WITHOUT_A_PAGE
    assert not shown & WITHOUT_A_PAGE - {"annotate:import"}


def opened(sign_in: SignIn, browser: Browser, live_server: Any, who: str, **options: Any) -> Page:
    if who:
        return sign_in(who, at="about:blank", **options)
    return browser.new_context(base_url=live_server.url, **options).new_page()


def go(page: Page, world: World, state: State) -> None:
    statuses: list[int] = []

    def note(response: Response) -> None:
        if response.request.is_navigation_request():
            statuses.append(response.status)

    page.on("response", note)
    page.goto(world.path(state.path))
    if state.come:
        state.come(page)
    page.remove_listener("response", note)
    assert statuses[-1] == int(state.complains or 200), (state.name, statuses)
    page.wait_for_function("() => !document.querySelector('.prose .math:not(.tried)')")


CUT_AT_THE_LEFT = """() => [...document.querySelectorAll("main :is(.card, button, input, textarea, label)")]
    .filter((part) => part.checkVisibility() && part.getBoundingClientRect().width > 1)
    .filter((part) => part.getBoundingClientRect().left < -1)
    .map((part) => part.textContent.trim().slice(0, 40))"""
"""What begins beyond the left edge: nobody can scroll there, and the page is no wider for it."""


@pytest.mark.parametrize(("who", "part"), PARTS)
def test_axe_finds_nothing_and_nothing_is_lost_when_enlarged(
    who: str, part: slice, world: World, sign_in: SignIn, browser: Browser, live_server: Any, shoot: Callable[..., None]
) -> None:
    states = STATES[WHO[who]][part]
    sign_in.expected.extend(state.complains for state in states if state.complains)  # type: ignore[attr-defined]
    page = opened(sign_in, browser, live_server, WHO[who], reduced_motion="reduce")
    found: dict[str, Any] = {}
    for state in states:
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 900})
        go(page, world, state)
        shoot(page, state, "light")
        page.evaluate(AXE)
        wrong = violations(page)
        page.emulate_media(color_scheme="dark")
        shoot(page, state, "dark")
        wrong += violations(page, "color-contrast")
        for width in ENLARGED:
            page.set_viewport_size({"width": width, "height": 700})
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                wrong.append(f"{wide} wide on {width}")
            wrong += [f"cut at the left on {width}: {text}" for text in page.evaluate(CUT_AT_THE_LEFT)]
        page.set_viewport_size({"width": 390, "height": 844})
        page.emulate_media(color_scheme="light")
        shoot(page, state, "phone")
        if wrong:
            found[state.name] = wrong
    assert not found, json.dumps(found, indent=1)


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds by all rules, or by these, on the page that `AXE` was given to."""
    options: dict[str, Any] = {"resultTypes": ["violations"], "preload": False}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    return page.evaluate(  # type: ignore[no-any-return]
        """async (options) => (await axe.run(options)).violations.flatMap(({ id, nodes }) => nodes.map(
            (node) => `${id}: ${node.target} ${node.any[0]?.message ?? node.failureSummary}`
        ))""",
        options,
    )


@pytest.mark.parametrize("who", WHO)
def test_every_word_of_hones_own_is_chinese(
    who: str, world: World, sign_in: SignIn, browser: Browser, live_server: Any, shoot: Callable[..., None]
) -> None:
    """By the browser's header alone: nobody chose a language."""
    states = STATES[WHO[who]]
    sign_in.expected.extend(state.complains for state in states if state.complains)  # type: ignore[attr-defined]
    if WHO[who]:
        getattr(world.cast, WHO[who]).__class__.objects.update(language="zh-hans")
    page = opened(sign_in, browser, live_server, WHO[who], locale="en-US" if WHO[who] else "zh-CN")
    left: dict[str, list[str]] = {}
    for state in states:
        go(page, world, state)
        assert page.locator("html").get_attribute("lang") == "zh-hans"
        shoot(page, state, "chinese")
        if english := english_words(page):
            left[state.name] = english
    assert not left, json.dumps(left, indent=1, ensure_ascii=False)


def english_words(page: Page) -> list[str]:
    """Visible texts and labels with two words of Latin letters or more, but for what people and models wrote."""
    texts: list[str] = page.evaluate(
        """() => {
            const theirs = '[dir=auto], [lang=en], .prose, bdi, code, pre, .code, kbd, textarea, noscript, .where';
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), texts = [];
            while (walker.nextNode()) {
                const parent = walker.currentNode.parentElement;
                if (!parent.closest(theirs)) texts.push(walker.currentNode.data.trim());
            }
            for (const element of document.querySelectorAll('[aria-label], [title], [placeholder]')) {
                if (element.closest(theirs)) continue;
                for (const name of ['aria-label', 'title', 'placeholder']) texts.push(element.getAttribute(name) ?? '');
            }
            return texts;
        }"""
    )
    return sorted({text for text in texts if re.search(r"[A-Za-z]{2,} [A-Za-z]{2,}", AS_THEY_ARE.sub("", text))})
