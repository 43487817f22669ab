"""What a screen reader gets of a whole ranking by keyboard: names, roles and states, what is said and in which order,
and where the focus is after each key. In both languages, for nobody here can listen."""

import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from annotate.models import User
from tests.factories.cast import Cast, make_comparison
from tests.harness.browser import SignIn
from tests.journeys.board import start, without_connection

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

KEY = re.compile(r"^(v|d|(Control\+)?Enter)$")
LISTEN = """() => {
    window.heard = [];
    for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live=polite], output")) {
        if (region.getAttribute("aria-live") === "off") continue;
        new MutationObserver(() => { if (region.textContent.trim()) heard.push(region.textContent.trim()); })
            .observe(region, { childList: true, characterData: true, subtree: true });
    }
}"""


@dataclass(frozen=True, kw_only=True)
class Step:
    key: str
    heard: list[str]
    focus: str
    """Group and name of what has the focus."""


ENGLISH = [
    Step(key="2", heard=["A is 2. 2 not ranked."], focus="Rank of response B, 1 is best: Not ranked"),
    Step(key="1", heard=["B is 1. 1 not ranked."], focus="Rank of response C, 1 is best: Not ranked"),
    Step(key="t", heard=["C is 1, tied with B. All ranked."], focus="Rank of response C, 1 is best: 1"),
    Step(key="ArrowDown", heard=["C is 2, tied with A. All ranked."], focus="Rank of response C, 1 is best: 2"),
    Step(key="ArrowLeft", heard=[], focus="Rank of response B, 1 is best: 1"),
    Step(key="0", heard=["B is not ranked."], focus="Rank of response B, 1 is best: Not ranked"),
    Step(key="Enter", heard=["B is not ranked. Submit again to confirm."],
         focus="Rank of response B, 1 is best: Not ranked"),
    Step(key="Enter", heard=["Saved. Rank these 3 responses"], focus="heading: Rank these 3 responses"),
]  # fmt: skip
CHINESE = [
    Step(key="2", heard=["A 第 2 名。 2 个未排名。"], focus="回答 B 的名次，1 为最佳: 未排名"),
    Step(key="1", heard=["B 第 1 名。 1 个未排名。"], focus="回答 C 的名次，1 为最佳: 未排名"),
    Step(key="t", heard=["C 第 1 名，与 B 并列。 全部已排名。"], focus="回答 C 的名次，1 为最佳: 1"),
    Step(key="ArrowDown", heard=["C 第 2 名，与 A 并列。 全部已排名。"], focus="回答 C 的名次，1 为最佳: 2"),
    Step(key="ArrowLeft", heard=[], focus="回答 B 的名次，1 为最佳: 1"),
    Step(key="0", heard=["B 未排名。"], focus="回答 B 的名次，1 为最佳: 未排名"),
    Step(key="Enter", heard=["B 未排名。如果确实如此，请再次提交。"], focus="回答 B 的名次，1 为最佳: 未排名"),
    Step(key="Enter", heard=["已保存。 请为这 3 个回答排序"], focus="heading: 请为这 3 个回答排序"),
]
TREE = """
- article "{response} B":
  - heading "{response} B" [level=2]
  - button "{better}": ▲
  - button "{worse}": ▼
  - group "{ranks}":
    - text: {ranks}
    - radio "1"
    - text: "1"
    - radio "2" [checked]
    - text: "2"
    - radio "{none}"
  - group:
    - text: {note}
    - textbox "{note_on}"
  - paragraph: Hot.
  - group
"""
ENGLISH_TREE = TREE.format(
    response="Response", better="B one rank better", worse="B one rank worse", ranks="Rank of response B, 1 is best",
    none="Not ranked", note="Note", note_on="Note on response B",
)  # fmt: skip
CHINESE_TREE = TREE.format(
    response="回答", better="B 上升一名", worse="B 下降一名", ranks="回答 B 的名次，1 为最佳",
    none="未排名", note="备注", note_on="对回答 B 的备注",
)  # fmt: skip
ENGLISH_BUTTONS = ["As written", "Word by word", "Submit"]
CHINESE_BUTTONS = ["原文", "逐词比较", "提交"]


@pytest.mark.parametrize(("language", "steps"), [("en", ENGLISH), ("zh-hans", CHINESE)], ids=["English", "Chinese"])
def test_a_ranking_by_keyboard(
    language: str, steps: list[Step], transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    User.objects.filter(pk=cast.labeler.pk).update(language=language)
    for number in range(2):
        make_comparison(cast.project, f"How do I boil {number + 1} eggs?", texts=("Hot.", "Cold.", "Not at all."))
    page = start(sign_in)
    page.evaluate(LISTEN)
    said = []
    for step in steps:
        page.keyboard.press(step.key)
        if step.heard:
            page.wait_for_function("() => heard.length > 0")
        said.append(Step(key=step.key, heard=page.evaluate("heard.splice(0)"), focus=focus(page)))
    assert said == steps


@pytest.mark.parametrize(
    ("language", "tree", "buttons"),
    [("en", ENGLISH_TREE, ENGLISH_BUTTONS), ("zh-hans", CHINESE_TREE, CHINESE_BUTTONS)],
    ids=["English", "Chinese"],
)
def test_names_roles_and_states_of_a_response(
    language: str, tree: str, buttons: list[str], transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    User.objects.filter(pk=cast.labeler.pk).update(language=language)
    make_comparison(cast.project, texts=("Hot.", "Hot."))
    page = sign_in("labeler", at="/p/kindness/work/")
    expect(page.locator(".chip").first).to_be_attached()
    for key in ("1", "2", "n"):
        page.keyboard.press(key)
    assert page.locator(".response").nth(1).aria_snapshot() == tree.strip()
    for name in buttons:  # the key beside it is a shortcut and no part of the name
        expect(page.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-keyshortcuts", KEY)


def test_a_draft_that_is_saved_is_not_spoken_of_and_one_that_is_not_is(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    sign_in.expected.append("ERR_INTERNET_DISCONNECTED")  # type: ignore[attr-defined]
    for number in range(2):
        make_comparison(cast.project, f"How do I boil {number + 1} eggs?")
    page = start(sign_in)
    page.evaluate(LISTEN)
    page.keyboard.press("2")
    expect(page.locator("#draft-state")).to_have_text("Draft saved")
    with without_connection(page):
        page.keyboard.press("1")
        expect(page.locator("#draft-state")).to_have_text("No connection: kept in this browser.")
    page.wait_for_function("() => heard.length === 3")
    assert page.evaluate("heard") == [
        "A is 2. 3 not ranked.", "B is 1. 2 not ranked.", "No connection: kept in this browser.",
    ]  # fmt: skip


def focus(page: Page) -> str:
    return page.evaluate(
        """() => {
            const active = document.activeElement, group = active.closest("fieldset")?.querySelector("legend");
            const name = active.getAttribute("aria-label") ?? active.labels?.[0]?.textContent ?? active.textContent;
            const role = /^h\\d$/.test(active.localName) ? "heading" : active.localName;
            return `${group?.textContent ?? role}: ${name.trim()}`;
        }"""
    )
