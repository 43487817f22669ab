"""A labeler's day: rank by mouse, by keyboard, without JavaScript, on a phone; nothing entered is ever lost."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from annotate.models import Assignment, Judgment, JudgmentRevision
from tests.browser import SignIn
from tests.cast import Cast, make_comparison

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def tasks(transactional_db: None, cast: Cast) -> list[Any]:
    return [make_comparison(cast.project, f"How do I boil {number} eggs?") for number in (1, 2, 3)]


def start(sign_in: SignIn, **options: Any) -> Page:
    page = sign_in("labeler", **options)
    page.get_by_role("link", name="Rank answers in Kindness").click()
    expect(page.get_by_role("heading", name="Rank these 4 answers")).to_be_visible()
    if options.get("java_script_enabled", True):
        expect(page.locator(".chip")).to_have_count(4)
    return page


def held(cast: Cast) -> Assignment:
    return Assignment.objects.get(labeler=cast.labeler, state=Assignment.State.CURRENT)


def chip(page: Page, letter: str) -> Locator:
    return page.locator(".chip", has_text=letter)


def tier(page: Page, rank: int) -> Locator:
    return page.locator(f'.tier ul[data-rank="{rank}"]')


def drag(page: Page, letter: str, rank: int) -> None:
    """By hand: press, move there in steps, let go when the tier has taken it."""
    target = tier(page, rank)
    chip(page, letter).hover()
    page.mouse.down()
    box = target.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] - 10, box["y"] + box["height"] / 2
    page.mouse.move(x, y, steps=8)
    for tremor in range(100):
        page.mouse.move(x - tremor % 2, y)
        if letter in target.inner_text():
            break
    page.mouse.up()
    expect(target).to_contain_text(letter)


def latest_tiers() -> list[list[int]]:
    return JudgmentRevision.objects.latest("pk").tiers


def submitted(page: Page, assignment: Assignment) -> None:
    expect(page.locator(f'form[action$="/{assignment.pk}/submit"]')).to_have_count(0)
    expect(page.locator(".done")).to_have_text("Saved.")


def test_by_mouse_up_to_the_next_task(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    assignment = held(cast)
    a, b, c, d = assignment.presentation
    for letter, rank in (("B", 1), ("A", 2), ("D", 2), ("C", 4)):
        drag(page, letter, rank)
    expect(page.locator(f'input[name="rank-{d}"][value="2"]')).to_be_checked()
    page.get_by_role("button", name="Submit").click()
    submitted(page, assignment)
    assert latest_tiers() == [[b], [a, d], [c]]
    expect(page.get_by_role("heading", name="Rank these 4 answers")).to_be_focused()
    expect(page.locator(".answer .ranks input:not([value=''])").first).not_to_be_checked()
    # What came by htmx works like what came with the page.
    following = held(cast)
    drag(page, "A", 1)
    page.locator(".answer").nth(2).get_by_role("radio", name="2").click()
    expect(tier(page, 2)).to_have_text("C")
    assert following.pk != assignment.pk


def test_by_keyboard_up_to_the_next_task(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    assignment = held(cast)
    a, b, c, d = assignment.presentation
    for key in "2134":
        page.keyboard.press(key)
    expect(page.locator("#announcer")).to_have_text("D is 4. All ranked.")
    page.keyboard.press("Enter")
    submitted(page, assignment)
    assert latest_tiers() == [[b], [a], [c], [d]]
    assert JudgmentRevision.objects.get().seconds is not None

    following = held(cast)
    e, f, g, h = following.presentation
    page.keyboard.press("1")  # A; goes on to B
    page.keyboard.press("t")  # B ties with A; goes on to C
    page.keyboard.press("ArrowRight")  # to D
    page.keyboard.press("2")
    page.keyboard.press("3")  # C, the one that is left
    page.keyboard.press("ArrowUp")  # C better: ties with D
    expect(page.locator("#announcer")).to_contain_text("C is 2, tied with D.")
    page.keyboard.press("Enter")
    submitted(page, following)
    assert latest_tiers() == [[e, f], [g, h]]


def test_a_partial_order_and_the_order_as_shown_are_asked_about_once(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in)
    assignment = held(cast)
    for key in ("1", "2", "3", "4", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#refusal")).to_contain_text("exactly the order in which the answers were shown")
    assert not Judgment.objects.exists()
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    expect(page.locator("#refusal")).to_contain_text("D is not ranked.")
    page.keyboard.press("Enter")
    submitted(page, assignment)
    assert latest_tiers() == [[key] for key in assignment.presentation[:3]]


def test_a_refusal_stands_beside_the_work_and_takes_nothing(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    sign_in.expected.append(" 400 ")  # type: ignore[attr-defined]
    page = start(sign_in)
    page.keyboard.press("3")
    page.keyboard.press("c")
    page.keyboard.type("the rest is hard to tell, 1 or 2")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("Rank at least two answers")
    expect(page.locator("#comment")).to_have_value("the rest is hard to tell, 1 or 2")
    expect(tier(page, 3)).to_have_text("A")
    page.get_by_label("All unacceptable").check()
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".done")).to_have_text("Saved.")
    assert JudgmentRevision.objects.get().all_unacceptable


def test_a_draft_survives_a_reload(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    page.keyboard.press("2")
    page.keyboard.press("c")
    page.keyboard.type("so far")
    expect(page.locator("#draft-state")).to_have_text("Draft saved")
    page.reload()
    expect(tier(page, 2)).to_have_text("A")
    expect(page.locator("#comment")).to_have_value("so far")


def test_signed_out_in_between_the_work_stays_and_is_taken_after_signing_in_again(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    sign_in.expected.append(" 401 ")  # type: ignore[attr-defined]
    page = start(sign_in)
    assignment = held(cast)
    for key in "2134":
        page.keyboard.press(key)
    expect(page.locator("#draft-state")).to_have_text("Draft saved")
    page.context.clear_cookies(name="sessionid")
    page.keyboard.press("Enter")
    expect(page.locator("#messages")).to_contain_text("What you entered is still on this page")
    other = page.context.new_page()
    other.goto("/accounts/login/")
    other.get_by_label("User name").fill("labeler")
    other.get_by_label("Password").fill("correct horse battery staple")
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("heading", name="Projects")).to_be_visible()
    page.bring_to_front()
    page.keyboard.press("Enter")
    submitted(page, assignment)
    assert len(latest_tiers()) == 4


def test_skip_with_a_reason_by_keyboard(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    assignment = held(cast)
    page.keyboard.press("s")
    page.keyboard.press("ArrowDown")
    page.get_by_label("In your words, if you like").fill("cut off")
    page.keyboard.press("Enter")
    expect(page.locator(".done")).to_have_text("Skipped.")
    assignment.refresh_from_db()
    assert assignment.skip_reason == "broken: cut off"
    assert not Judgment.objects.exists()


def test_keys_are_explained(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("3")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    expect(tier(page, 3)).to_have_text("")


def test_without_javascript_it_is_a_form(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in, java_script_enabled=False)
    assignment = held(cast)
    a, b, c, d = assignment.presentation
    for response_id, rank in ((a, 3), (b, 1), (c, 1), (d, 2)):
        page.check(f'input[name="rank-{response_id}"][value="{rank}"]', force=True)
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#messages")).to_have_text(re.compile("Saved."))
    assert latest_tiers() == [[b, c], [d], [a]]
    following = held(cast)
    page.get_by_text("Skip…").click()
    page.get_by_label("I can’t judge this one").check()
    page.get_by_role("button", name="Skip this task").click()
    expect(page.locator("#messages")).to_have_text(re.compile("Skipped."))
    following.refresh_from_db()
    assert following.skip_reason == "can't judge"


def test_on_a_phone_by_touch_and_nothing_is_wider_than_the_screen(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assignment = held(cast)
    a, b, c, d = assignment.presentation
    for index, rank in enumerate((4, 3, 2, 1)):
        page.locator(".answer").nth(index).get_by_role("radio", name=str(rank)).tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Submit").tap()
    submitted(page, assignment)
    assert latest_tiers() == [[d], [c], [b], [a]]
