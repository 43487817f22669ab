"""What every page gives its reader: formulas, code to copy, colours, language, and a way through it by keyboard."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from annotate.models import Guidelines, User
from tests.factories.cast import Cast, make_comparison
from tests.harness.browser import SignIn

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TEXT = """A price of $5 to $10. A vector $\\vec{v}$ in a line, and

$$\\frac{1}{1+x^2}$$

and $\\notacommand{x}$ and $\\def\\x{y}\\x$.

```python
print("copy me")
```
"""


def guidelines(cast: Cast, sign_in: SignIn, text: str, **options: Any) -> Page:
    Guidelines.objects.create(project=cast.project, version=9, text=text)
    page = sign_in("labeler", **options)
    page.goto("/p/kindness/guidelines/")
    return page


def test_latex_is_drawn_and_what_is_none_stays_as_it_was_written(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    page = guidelines(cast, sign_in, TEXT)
    expect(page.locator(".prose .math.drawn .katex")).to_have_count(2)
    assert page.locator(".math.display.drawn math").count() == 1  # for screen readers
    expect(page.get_by_text("A price of $5 to $10.")).to_be_visible()
    assert page.locator(".math.tried:not(.drawn)").all_inner_texts() == ["\\notacommand{x}", "\\def\\x{y}\\x"]
    font = "getComputedStyle(document.querySelector('.katex')).fontFamily"
    assert "KaTeX_Main" in page.evaluate(font)
    page.wait_for_function(
        "() => [...document.fonts].some((font) => font.family.includes('KaTeX') && font.status === 'loaded')"
    )


def test_formulas_get_their_styles_while_the_browsers_prototypes_stay_as_they_are(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    page = sign_in("labeler")
    page.add_init_script("Object.freeze(Element.prototype);")
    Guidelines.objects.create(project=cast.project, version=9, text=TEXT)
    page.goto("/p/kindness/guidelines/")
    expect(page.locator(".prose .math.drawn .katex")).to_have_count(2)
    # KaTeX writes the arrow's width as a style attribute, which the policy refuses: the console fails the test then.
    widths = page.locator(".katex svg").evaluate_all("arrows => arrows.map((arrow) => arrow.style.width)")
    assert widths == ["0.471em"]
    assert page.locator("[data-style]").count() == 0


def test_a_page_without_formulas_loads_nothing_for_them(transactional_db: None, cast: Cast, sign_in: SignIn) -> None:
    page = guidelines(cast, sign_in, "No formula here; it costs $5.")
    assert page.locator("script[src*='katex.min']").count() == 0
    assert page.evaluate("typeof katex") == "undefined"


def test_numbers_of_lists_are_whole_on_the_side_where_their_text_begins(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    items = "\n".join(f"{number}. مرحبا بكم" for number in (8, 1986, 123456789))
    page = guidelines(cast, sign_in, f"{items}\n\n---\n\n{items.replace('مرحبا بكم', 'Hello')}")
    edges = page.locator(".prose li").evaluate_all(
        """(items) => items.map((item) => {
            const mark = item.querySelector(".marker").getBoundingClientRect();
            const prose = item.closest(".prose").getBoundingClientRect();
            const text = document.createRange();
            text.selectNodeContents(item.querySelector("p").lastChild);
            const written = text.getBoundingClientRect();
            return {
                whole: mark.left >= prose.left - 1 && mark.right <= prose.right + 1,
                before: mark.right <= written.left + 6, after: mark.left >= written.right - 6,
            };
        })"""
    )
    assert edges == [{"whole": True, "before": side == "left", "after": side == "right"}
                     for side in ("right",) * 3 + ("left",) * 3]  # fmt: skip


def test_code_is_copied_by_one_button(transactional_db: None, cast: Cast, sign_in: SignIn) -> None:
    page = guidelines(cast, sign_in, TEXT, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the code").click()
    expect(page.locator("#announcer")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == 'print("copy me")\n'


def test_without_a_script_formulas_are_their_source_and_code_is_code(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    page = guidelines(cast, sign_in, TEXT, java_script_enabled=False)
    expect(page.get_by_text("\\frac{1}{1+x^2}")).to_be_visible()
    expect(page.locator("pre code")).to_have_text('print("copy me")\n')


def test_colours_change_at_once_and_are_kept(transactional_db: None, cast: Cast, sign_in: SignIn) -> None:
    page = guidelines(cast, sign_in, "Read on.", color_scheme="light")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(paper)
    page.evaluate("window.stayed = true")
    with page.expect_response("**/preferences"):
        page.get_by_role("button", name="Dark").click()
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("window.stayed")
    assert page.evaluate(paper) != light
    assert User.objects.get(username="labeler").theme == "dark"
    page.reload()
    assert page.evaluate(paper) != light


def test_the_language_is_chosen_before_signing_in_and_nothing_needs_a_script(
    transactional_db: None, browser: Browser, live_server: Any
) -> None:
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False, locale="en-US")
    page = context.new_page()
    page.goto("/accounts/login/?next=/account/")
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("heading", name="登录")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/accounts/login/\?next=/account/$"))
    page.get_by_role("button", name="深色").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()


def test_tab_goes_first_past_the_head_then_through_everything_in_sight(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    page = sign_in("manager", reduced_motion="reduce")
    for path in ("/", "/p/kindness/settings/", "/p/kindness/people/", "/p/kindness/training/"):
        page.goto(path)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        reached: list[str] = []
        # Tab stops at day, month and year of a date, which is one control.
        while (now := focused(page)) not in reached[:-1] and len(reached) < 80:
            reached += [now] if now not in reached else []
            page.keyboard.press("Tab")
        controls = page.locator("#main :is(a[href], button, input:not([type=hidden]), select, textarea, summary)")
        visible = [control for control in controls.all() if control.is_visible()]
        assert len(reached) >= len(visible) > 0, path
        assert page.evaluate("document.getAnimations().length") == 0


def focused(page: Page) -> str:
    """What has the focus, which is in sight and drawn round."""
    found = page.evaluate(
        """() => {
            const element = document.activeElement, box = element.getBoundingClientRect();
            const text = element.textContent.slice(0, 40), style = getComputedStyle(element);
            const name = `${element.tagName} ${element.name ?? ''} ${text} ${box.top + scrollY}`;
            // Chromium itself marks the part of a date that has the focus.
            const drawn = style.outlineStyle !== 'none' || element.id === 'main'
                || element.type === 'date' || element === document.body;
            return [name, drawn, box.bottom > 0 && box.top < innerHeight || element === document.body];
        }"""
    )
    assert found[1], f"{found[0]} shows no focus"
    assert found[2], f"{found[0]} is out of sight"
    return str(found[0])


COVERED = """() => {
    const dock = document.querySelector(".dock"), active = document.activeElement;
    if (!dock || dock.contains(active) || getComputedStyle(dock).position !== "sticky") return "";
    const { top, bottom } = active.getBoundingClientRect(), edge = dock.getBoundingClientRect().top;
    const isHidden = bottom > edge + 1 && top > edge - 24;
    return isHidden ? `${active.localName} ${active.name ?? ""} at ${top}, dock at ${edge}` : "";
}"""


def test_nothing_that_gets_the_focus_hides_behind_the_dock(transactional_db: None, cast: Cast, sign_in: SignIn) -> None:
    make_comparison(cast.project, texts=tuple(f"Answer {number}. " * 60 for number in range(9)))
    page = sign_in("labeler", at="/p/kindness/work/", viewport={"width": 1280, "height": 720})
    expect(page.locator(".chip").first).to_be_attached()
    page.locator("#work h1").focus()
    hidden, seen = [], set()
    for _ in range(70):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.closest('.response')?.dataset.letter ?? ''"))
        if covered := page.evaluate(COVERED):
            hidden.append(covered)
        if page.evaluate("Boolean(document.activeElement.closest('.dock'))"):
            break
    assert seen >= set("ABCDEFGHI")
    assert not hidden


def test_the_box_for_the_improved_response_opens_above_the_dock_and_nine_responses_leave_room_to_read(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    make_comparison(cast.project, texts=tuple(f"Answer {number}." for number in range(9)))
    page = sign_in("labeler", at="/p/kindness/work/", viewport={"width": 1280, "height": 900})
    expect(page.locator(".chip").first).to_be_attached()
    page.keyboard.press("i")
    box = page.locator("[name=improved_text]")
    expect(box).to_be_focused()
    dock, area = page.locator(".dock").bounding_box(), box.bounding_box()
    assert dock is not None
    assert area is not None
    assert area["y"] + area["height"] <= dock["y"]
    assert dock["height"] <= 180
