"""What is in sight while one works: the task and its state above, the responses, the dock below; on a phone too."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from annotate.forms.rubric import PRESETS, CriteriaField, FlagsField
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, make_comparison
from tests.harness.browser import SignIn
from tests.journeys.board import press, settled, start, without_connection

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LONG = tuple(f"Response {number}. " + "It goes on. " * 900 for number in range(4))
SMALL = {"viewport": {"width": 1280, "height": 720}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def tasks(transactional_db: None, cast: Cast) -> list[Any]:
    _label, criteria, flags = PRESETS["helpsteer2"]
    edit_project(
        project=cast.project, by=cast.manager,
        criteria=CriteriaField(required=False).clean(criteria), flags=FlagsField(required=False).clean(flags),
    )  # fmt: skip
    return [make_comparison(cast.project, f"How do I boil {number} eggs? " * 40, texts=LONG) for number in range(2)]


def box(page: Page, selector: str) -> dict[str, float]:
    found = page.locator(selector).first.bounding_box()
    assert found is not None, selector
    return {"top": found["y"], "bottom": found["y"] + found["height"], "height": found["height"]}


def in_sight(page: Page) -> list[str]:
    """The responses of which something shows between head and dock."""
    return page.evaluate(
        """() => {
            const { from, to } = hone.visibleRange();
            return [...document.querySelectorAll(".response")].filter((response) => {
                const { top, bottom, left, right } = response.getBoundingClientRect();
                return Math.min(bottom, to) - Math.max(top, from) > 60 && left < innerWidth - 60 && right > 60;
            }).map((response) => response.dataset.letter);
        }"""
    )


def test_four_long_responses_are_in_sight_with_head_and_dock(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in, **SMALL)
    head, dock = box(page, ".work-head .prompt")["top"], box(page, ".dock")
    assert head + dock["height"] <= 200
    assert dock["bottom"] <= 720
    assert in_sight(page) == ["A", "B", "C", "D"]
    # Ratings are at the top of each, with what the ends of the scale mean.
    for part in (".response .scale", ".response .ends"):
        assert box(page, part)["bottom"] < dock["top"]


def test_digits_scroll_nothing_and_the_prompt_stays(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in, **SMALL)
    press(page, "2 1 3 4")
    expect(page.locator("#draft-state")).to_have_text("Draft saved")
    assert page.evaluate("scrollY") == 0
    page.mouse.move(600, 500)
    page.mouse.wheel(0, 1500)
    page.wait_for_function("() => scrollY > 1000")
    before = page.evaluate("scrollY")
    press(page, "1 ArrowRight 2")
    assert page.evaluate("scrollY") == before
    for part in (".masthead", ".work-head h1", ".prompt", "#draft-state", ".dock"):
        assert 0 <= box(page, part)["top"] < 720, part


def test_a_response_out_of_sight_comes_and_the_head_stays(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in, **SMALL)
    press(page, "l")  # one below the other
    press(page, "2 1")
    assert in_sight(page) == ["C"]
    assert box(page, ".prompt")["top"] >= 0
    head = page.evaluate("hone.visibleRange().from")
    assert box(page, '.response[data-letter="C"]')["top"] >= head


def test_banners_stay_in_sight_wherever_one_reads(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    sign_in.expected.append("ERR_INTERNET_DISCONNECTED")  # type: ignore[attr-defined]
    page = start(sign_in, **SMALL)
    page.mouse.move(600, 500)
    page.mouse.wheel(0, 2500)
    page.wait_for_function("() => scrollY > 1000")
    with without_connection(page):
        press(page, "2 1 3 4 Enter")
        expect(page.locator("#outbox")).to_contain_text("1 submission is kept in this browser")
        page.mouse.wheel(0, 2500)
        page.wait_for_function("() => scrollY > 1000")
        assert 0 <= box(page, "#outbox")["top"] < 100


def test_a_long_prompt_unfolds_and_folds(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in, **SMALL)
    short = box(page, ".prompt")["height"]
    page.get_by_role("button", name="Whole prompt").click()
    assert box(page, ".prompt")["height"] > short + 60
    page.get_by_role("button", name="Fold the prompt").click()
    assert box(page, ".prompt")["height"] == pytest.approx(short, abs=2)


def test_what_points_mean_is_in_sight_and_can_be_folded_for_good(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in, viewport={"width": 1440, "height": 900})
    expect(page.locator(".scales")).to_contain_text("3 Mostly accurate, little missing")
    expect(page.get_by_text("2 Intermediate")).to_be_visible()
    expect(page.locator(".response").first.locator(".ends").first).to_have_text("Extremely helpfulNot helpful at all")
    page.locator(".scales summary").click()
    page.reload()
    expect(page.locator(".scales summary")).to_be_visible()
    expect(page.get_by_text("2 Intermediate")).to_be_hidden()


def test_best_is_on_the_left_in_ranks_and_in_ratings(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in, **SMALL)
    response = page.locator(".response").first
    assert response.locator(".ranks .end").text_content() == "best"
    assert response.locator(".ranks label span").all_text_contents() == ["1", "2", "3", "4", "–"]
    assert response.locator(".scale").first.locator("label span").all_text_contents() == ["4", "3", "2", "1", "0", "–"]


def test_on_a_phone_one_response_at_a_time_and_submit_at_hand(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in, **PHONE)
    page.wait_for_function("() => document.documentElement.style.getPropertyValue('--dock') !== ''")
    submit = box(page, ".submit")
    assert submit["bottom"] <= 844
    assert box(page, ".dock")["height"] <= 844 / 3
    assert in_sight(page)[0] == "A"
    for letter in "DBC":
        page.locator(".chip", has_text=letter).tap()
        page.wait_for_function(
            """(letter) => {
                const response = document.querySelector(`.response[data-letter="${letter}"]`);
                const { left, right } = response.getBoundingClientRect();
                return left >= 0 && right <= innerWidth;
            }""",
            arg=letter,
        )
    settled(page)
    assert box(page, ".submit")["bottom"] <= 844
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_pages_of_a_project_are_one_line_for_an_administrator(cast: Cast, sign_in: SignIn) -> None:
    page = sign_in("admin", **SMALL)
    page.goto("/p/kindness/")
    groups = page.locator(".pages-bar .pages-group")
    boxes = [group.bounding_box() for group in groups.all()]
    assert len(boxes) == 4
    assert len({box["y"] for box in boxes if box}) == 1
