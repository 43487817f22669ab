"""A labeler's day on the ranking board: by mouse, by keys, by touch and without JavaScript."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from annotate.models import Demonstration, Judgment, JudgmentRevision, Report
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, key_of, make_comparison
from tests.harness.browser import SignIn
from tests.journeys.board import PHONE, chip, drag, held, latest_tiers, on_screen, press, saved, settled, start, tier

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def tasks(transactional_db: None, cast: Cast) -> list[Any]:
    return [make_comparison(cast.project, f"How do I boil {number} eggs?") for number in (1, 2, 3)]


@pytest.mark.both_databases
def test_by_mouse_dragging_chips_and_whole_responses(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    assignment = held(cast)
    a, b, c, d = assignment.presentation
    for letter, rank in (("B", 1), ("A", 2)):
        drag(page, chip(page, letter), letter, rank)
    for index, letter, rank in ((3, "D", 2), (2, "C", 4)):
        drag(page, page.locator(".response .letter").nth(index), letter, rank)
    expect(page.locator(".responses > .response")).to_have_count(4)
    expect(page.locator(f'input[name="rank-{key_of(assignment, d)}"][value="2"]')).to_be_checked()
    page.get_by_role("button", name="Submit").click()
    saved(page)
    assert latest_tiers() == [[b], [a, d], [c]]
    assert on_screen(page) != assignment.pk
    expect(page.get_by_role("heading", name="Rank these 4 responses")).to_be_focused()
    expect(page.locator(".response .ranks input:not([value=''])").first).not_to_be_checked()
    # What was rendered ahead works like what came with the page.
    drag(page, chip(page, "A"), "A", 1)
    page.locator(".response").nth(2).get_by_role("radio", name="2").click()
    expect(tier(page, 2)).to_have_text("C")


@pytest.mark.both_databases
def test_four_responses_are_ranked_and_submitted_with_at_most_six_keys(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in)
    a, b, c, d = held(cast).presentation
    assert press(page, "2 1 3 4 Enter") <= 6
    saved(page)
    assert latest_tiers() == [[b], [a], [c], [d]]
    assert JudgmentRevision.objects.get().seconds is not None


def test_all_bad_is_said_with_at_most_two_keys(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    assert press(page, "u Enter") <= 2
    saved(page)
    assert JudgmentRevision.objects.get().all_unacceptable


def test_ties_arrows_and_announcements_by_key(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    e, f, g, h = held(cast).presentation
    press(page, "1 t")  # A; then B ties with A; on to C
    press(page, "ArrowRight 2 3")  # D; then C, the one that is left
    press(page, "ArrowUp")  # C better: ties with D
    expect(page.locator("#announcer")).to_have_text("C is 2, tied with D. All ranked.")
    press(page, "Enter")
    saved(page)
    assert latest_tiers() == [[e, f], [g, h]]


def test_a_partial_order_and_the_order_as_shown_are_asked_about_once(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in)
    shown = held(cast).presentation
    assert press(page, "1 2 3 4 Enter") == 5
    expect(page.locator("#refusal")).to_contain_text("exactly the order in which the responses were shown")
    assert not Judgment.objects.exists()
    press(page, "0 Enter")
    expect(page.locator("#refusal")).to_have_text("D is not ranked. Submit again to confirm.")
    press(page, "Enter")
    saved(page)
    assert latest_tiers() == [[key] for key in shown[:3]]


def test_too_little_is_said_at_once_and_takes_nothing(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    press(page, "3 c")
    page.keyboard.type("the rest is hard to tell, 1 or 2")
    press(page, "Control+Enter")
    expect(page.get_by_role("alert").filter(has_text="Rank at least two responses")).to_be_visible()
    expect(page.locator("#comment")).to_have_value("the rest is hard to tell, 1 or 2")
    expect(tier(page, 3)).to_have_text("A")
    page.get_by_label("All unacceptable").check()
    page.get_by_role("button", name="Submit").click()
    saved(page)
    assert JudgmentRevision.objects.get().comment == "the rest is hard to tell, 1 or 2"


def test_ratings_flags_and_notes_by_key(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    criteria = [{"name": "overall", "label": "Overall quality", "min": 1, "max": 7}]
    flags = [{"name": "hallucination", "label": "Makes things up"}]
    edit_project(project=cast.project, by=cast.manager, criteria=criteria, flags=flags)
    page = start(sign_in)
    assignment = held(cast)
    a, b, _, _ = assignment.presentation
    press(page, "1 2 ArrowLeft ArrowLeft r 6")  # A and B ranked, back to A, its rating
    expect(page.locator(f'[name="rating-{key_of(assignment, a)}-overall"][value="6"]')).to_be_checked()
    page.get_by_role("checkbox", name="Makes things up").nth(1).check()
    page.locator(".response").nth(1).locator(".ranks input:checked").focus()
    press(page, "n")
    page.keyboard.type("hens can't answer")
    press(page, "Control+Enter Control+Enter")
    saved(page)
    revision = JudgmentRevision.objects.get()
    assert revision.ratings == {str(a): {"overall": 6}}
    assert revision.flags == {str(b): ["hallucination"]}
    assert revision.notes == {str(b): "hens can't answer"}


def test_one_scale_for_a_pair(transactional_db: None, cast: Cast, sign_in: SignIn) -> None:
    edit_project(project=cast.project, by=cast.manager, margin_input="slider")
    make_comparison(cast.project, "Which?", texts=("In water.", "Slowly."))
    page = start(sign_in)
    assignment = held(cast)
    a, b = assignment.presentation
    page.locator(f'.preference input[value="{key_of(assignment, b)}:2"]').click()
    expect(tier(page, 1)).to_have_text("B")
    page.get_by_role("button", name="Submit").click()
    saved(page)
    assert (latest_tiers(), JudgmentRevision.objects.get().margin) == ([[b], [a]], 2)


def test_the_best_one_improved_is_a_demonstration(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    b = held(cast).presentation[1]
    press(page, "2 1 3 3 i")
    editor = page.get_by_label("The ideal response")
    expect(editor).to_be_focused()
    expect(editor).to_have_value(page.locator(".response").nth(1).locator(".raw pre").text_content() or "")
    editor.fill("In boiling water, ten minutes.")
    press(page, "Control+Enter")
    saved(page)
    response = Demonstration.objects.get().response
    assert (response.text, response.edited_from_id) == ("In boiling water, ten minutes.", b)


def test_two_responses_word_by_word(transactional_db: None, cast: Cast, sign_in: SignIn) -> None:
    make_comparison(cast.project, "Eggs?", texts=("Ten minutes in hot water.", "Ten minutes in cold water, slowly."))
    page = start(sign_in)
    press(page, "d")
    dialog = page.get_by_role("dialog", name="Word by word")
    short, long = ["hot"], ["cold", ", slowly"]
    first_is_short = page.locator(".response .raw pre").first.text_content() == "Ten minutes in hot water."
    expect(dialog.locator("del")).to_have_text(short if first_is_short else long)
    expect(dialog.locator("ins")).to_have_text(long if first_is_short else short)
    # "Ten minutes in ", " water" and "." are the same; "hot", "cold" and ", slowly" are not.
    expect(dialog.locator("#diff-facts")).to_have_text("59% is the same.")


def test_two_long_responses_without_a_common_word_freeze_nothing(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    texts = tuple(" ".join(f"{letter}{number}" for number in range(9_200))[:60_000] for letter in "xy")
    make_comparison(cast.project, "Eggs?", texts=texts)
    page = start(sign_in)
    milliseconds = page.evaluate(
        """() => {
            const before = performance.now();
            document.querySelector("[data-action=diff]").click();
            return performance.now() - before;
        }"""
    )
    facts = page.get_by_role("dialog", name="Word by word").locator("#diff-facts")
    expect(facts).to_have_text(
        "0% is the same. The texts differ too much for a comparison word by word. Whole lines are compared."
    )
    assert milliseconds < 10_000


def test_views_columns_stack_and_scrolling_together(transactional_db: None, cast: Cast, sign_in: SignIn) -> None:
    make_comparison(cast.project, "Eggs?", texts=("one **line**\n\n" * 80, "other\n\n" * 160))
    page = start(sign_in, viewport={"width": 1200, "height": 800})
    texts = page.locator(".response .text")

    def full_height() -> bool:
        return page.evaluate("[...document.querySelectorAll('.text')].every(e => e.scrollHeight <= e.clientHeight + 1)")

    assert full_height()
    press(page, "l")
    assert full_height()
    press(page, "l")
    assert not full_height()
    texts.first.hover()
    page.mouse.wheel(0, 600)
    page.wait_for_function("() => document.querySelectorAll('.text')[1].scrollTop > 100")
    page.wait_for_timeout(200)
    shares = page.evaluate(
        "[...document.querySelectorAll('.text')].map(e => e.scrollTop / (e.scrollHeight - e.clientHeight))"
    )
    assert shares[0] == pytest.approx(shares[1], abs=0.01)
    page.reload()
    expect(page.locator(".responses")).to_have_attribute("data-layout", "panes")
    press(page, "v")
    expect(page.locator(".raw pre", has_text="one **line**")).to_be_visible()
    expect(texts.first.locator(".prose")).to_be_hidden()


def test_skip_with_a_reason_and_report_by_keyboard(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    assignment = held(cast)
    press(page, "p ArrowDown")
    page.locator("#report-note").fill("my neighbour")
    page.get_by_role("button", name="Send the report").click()
    expect(page.locator("#refusal")).to_contain_text("Reported, thank you.")
    assert Report.objects.get().note == "my neighbour"
    press(page, "Escape s ArrowDown")
    page.get_by_label("In your own words (optional)").first.fill("cut off")
    press(page, "Enter")
    expect(page.locator("#receipt .done")).to_have_text("Skipped.")
    assignment.refresh_from_db()
    assert assignment.skip_reason == "broken: cut off"
    assert not Judgment.objects.exists()
    settled(page)
    press(page, "2 1 3 4 Enter")
    saved(page)


def test_keys_are_explained_and_ones_own(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    press(page, "?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    press(page, "3")
    page.get_by_role("link", name="Choose other keys").click()
    page.get_by_label("All unacceptable").fill("x")
    page.get_by_label("Skip", exact=True).fill("x")
    sign_in.expected.append(" 400 ")  # type: ignore[attr-defined]
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("can't have the same key")
    page.get_by_label("Skip", exact=True).fill("off")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#messages")).to_contain_text("Saved.")
    page.goto("/p/kindness/work/")
    expect(tier(page, 3)).to_have_text("")
    settled(page)
    press(page, "u s x Enter")
    saved(page)
    assert JudgmentRevision.objects.get().all_unacceptable


def test_without_javascript_it_is_a_form(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in, java_script_enabled=False)
    assignment = held(cast)
    a, b, c, d = assignment.presentation
    for response_id, rank in ((a, 3), (b, 1), (c, 1), (d, 2)):
        page.check(f'input[name="rank-{key_of(assignment, response_id)}"][value="{rank}"]', force=True)
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#messages")).to_have_text(re.compile(r"Saved\."))
    assert latest_tiers() == [[b, c], [d], [a]]
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#messages")).to_contain_text("Taken back")
    expect(page.locator(f'input[name="rank-{key_of(assignment, a)}"][value="3"]')).to_be_checked()
    page.get_by_role("button", name="Submit").click()
    following = held(cast)
    page.get_by_text("Skip…").click()
    page.get_by_label("I can’t judge this one").check()
    page.get_by_role("button", name="Skip this task").click()
    expect(page.locator("#messages")).to_have_text(re.compile(r"Skipped\."))
    following.refresh_from_db()
    assert following.skip_reason == "can't judge"


def test_on_a_phone_by_touch_and_nothing_is_wider_than_the_screen(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in, **PHONE)
    a, b, c, d = held(cast).presentation
    for index, rank in enumerate((4, 3, 2)):
        page.locator(".response").nth(index).get_by_role("radio", name=str(rank)).tap()
    better = page.get_by_role("button", name="D one rank better")
    for _ in range(4):
        better.tap()
    page.get_by_role("button", name="C one rank worse").tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Submit").tap()
    saved(page)
    assert latest_tiers() == [[d], [b, c], [a]]


def test_the_original_and_what_changed_stand_beside_the_improved_response(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in, viewport={"width": 1280, "height": 900})
    original = page.locator(".response").nth(1).locator(".raw pre").text_content() or ""
    press(page, "2 1 3 3 i")
    expect(page.locator("[data-improve=original]")).to_have_text(original)
    editor = page.get_by_label("The ideal response")
    first = original.split()[0].rstrip(".")
    editor.fill(original.replace(first, "Gently"))
    changes = page.locator("[data-improve=changes]")
    expect(changes.locator("del")).to_have_text(first)
    expect(changes.locator("ins")).to_have_text("Gently")
    beside, box = page.locator("[data-improve=original]").bounding_box(), editor.bounding_box()
    assert beside is not None
    assert box is not None
    assert beside["x"] >= box["x"] + box["width"]


def test_a_skip_is_undone_by_key_and_what_was_entered_is_there(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    first = held(cast)
    press(page, "3")
    page.wait_for_function("() => document.getElementById('draft-state').textContent === 'Draft saved'")
    press(page, "s ArrowDown")
    page.get_by_role("button", name="Skip this task").click()
    expect(page.locator("#receipt .done")).to_have_text("Skipped.")
    press(page, "z")
    expect(page.locator("#receipt .done")).to_have_text("The task that you skipped is back.")
    assert on_screen(page) == first.pk
    expect(tier(page, 3)).to_have_text("A")
