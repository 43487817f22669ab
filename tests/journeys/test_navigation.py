"""The way between a project's pages: four groups in a bar that stays where it is, a menu on narrow screens."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.factories.cast import Cast
from tests.harness.browser import SignIn

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def places(page: Page) -> dict[str, float]:
    """Where each link of the bar begins."""
    return page.locator(".pages-bar a").evaluate_all(
        "links => Object.fromEntries(links.map((link) => [link.textContent.trim(), link.getBoundingClientRect().left]))"
    )


def test_a_manager_sees_four_groups_and_nothing_moves_from_page_to_page(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    page = sign_in("manager", at="/p/kindness/prompts/")
    bar = page.get_by_role("navigation", name="Kindness")
    groups = bar.get_by_role("group")
    assert groups.evaluate_all("all => all.map((each) => each.querySelector('.pages-name').textContent)") == [
        "Label",
        "Data",
        "Models",
        "Project",
    ]
    data = bar.get_by_role("group", name="Data")
    assert data.get_by_role("link").all_text_contents() == ["Prompts", "Tasks", "Review", "Snapshots"]
    expect(bar.locator("[aria-current=page]")).to_have_text("Prompts")
    before = places(page)
    data.get_by_role("link", name="Snapshots").click()
    expect(bar.locator("[aria-current=page]")).to_have_text("Snapshots")
    assert places(page) == before


def test_a_labeler_sees_their_pages_alone_and_a_phone_has_a_menu(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    options: dict[str, Any] = PHONE
    page = sign_in("labeler", at="/p/kindness/mine/", **options)
    menu = page.locator(".pages-menu")
    expect(menu.locator("summary strong")).to_have_text("My work")
    expect(menu.get_by_role("link")).to_have_count(0)  # folded: neither seen nor in the way of the Tab key
    menu.locator("summary").press("Enter")
    assert menu.get_by_role("link").all_text_contents() == ["Work", "My work", "Guidelines"]
    menu.get_by_role("link", name="Guidelines").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Guidelines")
