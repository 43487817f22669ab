"""Nothing entered is ever lost: reloads, other devices, two windows, no connection, a session that ended, undo."""

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from annotate.labeling import queue
from annotate.models import Assignment, Judgment, JudgmentRevision, Project
from tests.conftest import wait_until
from tests.factories.cast import PASSWORD, Cast, make_comparison
from tests.harness.browser import SignIn
from tests.journeys.board import (
    held,
    latest_tiers,
    on_screen,
    press,
    saved,
    settled,
    start,
    tier,
    until_held_back,
    without_connection,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def tasks(transactional_db: None, cast: Cast) -> list[Any]:
    return [make_comparison(cast.project, f"How do I boil {number} eggs?") for number in range(4)]


def draft_saved(page: Page) -> None:
    expect(page.locator("#draft-state")).to_have_text("Draft saved")


@pytest.mark.both_databases
def test_a_draft_survives_a_reload_and_goes_on_on_another_device(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    press(page, "2 c")
    page.keyboard.type("so far")
    draft_saved(page)
    page.reload()
    expect(tier(page, 2)).to_have_text("A")
    expect(page.locator("#comment")).to_have_value("so far")
    elsewhere = start(sign_in)
    expect(tier(elsewhere, 2)).to_have_text("A")
    expect(elsewhere.locator("#comment")).to_have_value("so far")


def test_what_never_reached_the_server_comes_back_from_this_browser(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    sign_in.expected.append("ERR_INTERNET_DISCONNECTED")  # type: ignore[attr-defined]
    page = start(sign_in)
    with without_connection(page):
        press(page, "3 c")
        page.keyboard.type("on a train")
        expect(page.locator("#draft-state")).to_have_text("No connection: kept in this browser.")
    page.reload()
    expect(tier(page, 3)).to_have_text("A")
    expect(page.locator("#comment")).to_have_value("on a train")
    draft_saved(page)
    assert held(cast).draft["comment"] == ["on a train"]


@pytest.mark.both_databases
def test_two_windows_know_of_each_other_and_neither_loses_anything(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in)
    other = page.context.new_page()
    other.goto("/p/kindness/work/")
    expect(other.locator(".chip")).to_have_count(4)
    press(page, "1")
    draft_saved(page)
    press(other, "4")
    expect(other.locator("#choice")).to_contain_text("changed in another window or on another device")
    expect(tier(other, 4)).to_have_text("A")
    other.get_by_role("button", name="Show the other version").click()
    expect(tier(other, 1)).to_have_text("A")
    other.get_by_role("button", name="Back to my version").click()
    expect(tier(other, 4)).to_have_text("A")
    draft_saved(other)  # which the page may still say of the draft before
    [first, *_] = held(cast).presentation
    wait_until(lambda: held(cast).draft.get(f"rank-{first}") == ["4"], what="the draft with the fourth rank")
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(tier(page, 4)).to_have_text("A")
    expect(page.locator("#draft-state")).to_have_text("Updated from your other window.")


def test_a_task_submitted_in_another_window_is_said_and_a_second_submit_is_a_revision(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in)
    shown = held(cast).presentation
    other = page.context.new_page()
    other.goto("/p/kindness/work/")
    expect(other.locator(".chip")).to_have_count(4)
    press(page, "2 1 3 4 Enter")
    saved(page)
    other.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(other.locator("#choice")).to_contain_text("submitted this task in another window")
    other.get_by_role("button", name="Stay here").click()
    assert other.evaluate("document.getElementById('work').contains(document.activeElement)")
    press(other, "4 3 2 1 Enter")
    expect(other.locator("#receipt .done")).to_have_text("Saved as a revision of what you said before.")
    assert Judgment.objects.count() == 1
    assert latest_tiers() == [[key] for key in reversed(shown)]


@pytest.mark.both_databases
def test_without_a_connection_work_goes_on_and_is_sent_when_it_is_back(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    sign_in.expected.append("ERR_INTERNET_DISCONNECTED")  # type: ignore[attr-defined]
    page = start(sign_in)
    first = held(cast)
    with without_connection(page):
        press(page, "2 1 3 4 Enter")
        expect(page.locator("#outbox")).to_contain_text("1 submission is kept in this browser")
        assert on_screen(page) != first.pk
        settled(page)
        press(page, "u Enter")
        expect(page.locator("#outbox")).to_contain_text("2 submissions are kept in this browser")
        assert not Judgment.objects.exists()
    page.evaluate("window.dispatchEvent(new Event('online'))")
    saved(page)
    expect(page.locator("#outbox")).to_be_hidden()
    assert list(JudgmentRevision.objects.order_by("pk").values_list("all_unacceptable", flat=True)) == [False, True]
    expect(page.locator("#work form")).to_have_js_property("inert", False)
    assert on_screen(page) == held(cast).pk


def test_what_a_closed_window_had_not_sent_is_sent_by_the_next_one(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    sign_in.expected.append("ERR_INTERNET_DISCONNECTED")  # type: ignore[attr-defined]
    page = start(sign_in)
    with without_connection(page):
        press(page, "u Enter")
        expect(page.locator("#outbox")).to_contain_text("kept in this browser")
        page.evaluate("""() => {
            const name = Object.keys(localStorage).find((key) => key.startsWith("hone.outbox."));
            const entries = JSON.parse(localStorage.getItem(name)).map((entry) => ({ ...entry, at: entry.at - 60000 }));
            localStorage.setItem(name, JSON.stringify(entries));
        }""")
    again = page.context.new_page()
    page.close()
    assert not Judgment.objects.exists()
    again.goto("/p/kindness/work/")
    expect(again.locator("#outbox")).to_contain_text("has been sent")
    assert JudgmentRevision.objects.get().all_unacceptable


def test_a_slow_network_shows_the_next_task_at_once_and_a_refusal_brings_the_last_one_back(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    sign_in.expected.append(" 409 ")  # type: ignore[attr-defined]
    page = start(sign_in)
    first = held(cast)
    waiting: list[Route] = []
    page.route("**/submit", lambda route: waiting.append(route))
    press(page, "2 1 3 4 Enter")
    page.wait_for_function(f"() => document.getElementById('work').dataset.task !== '{first.pk}'")
    expect(page.locator("#receipt")).to_have_text("Saving…")
    until_held_back(page, waiting)
    waiting[0].fulfill(status=409, content_type="text/plain", body="Not now.")
    page.wait_for_function(f"() => document.getElementById('work').dataset.task === '{first.pk}'")
    expect(page.locator("#refusal")).to_have_text("Not now.")
    expect(tier(page, 1)).to_have_text("B")
    page.unroute("**/submit")
    settled(page)
    press(page, "Enter")
    saved(page)
    assert len(latest_tiers()) == 4


def test_a_database_that_does_not_answer_is_waited_for(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    sign_in.expected.append(" 503 ")  # type: ignore[attr-defined]
    page = start(sign_in)
    replies: list[tuple[int, str | None]] = []
    page.on(
        "response",
        lambda reply: (
            replies.append((reply.status, reply.headers.get("retry-after"))) if reply.url.endswith("/submit") else None
        ),
    )
    with mock.patch("annotate.labeling.queue.submit_and_claim", side_effect=OperationalError("database is locked")):
        press(page, "2 1 3 4 Enter")
        expect(page.locator("#outbox")).to_contain_text("1 submission is kept in this browser")
        assert not Judgment.objects.exists()
    wait_until(Judgment.objects.exists, what="the judgment to be sent again")
    saved(page)
    assert len(latest_tiers()) == 4
    assert replies == [(503, "5"), (200, None)]


@pytest.mark.both_databases
def test_a_double_click_is_one_judgment(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    press(page, "2 1 3 4")
    page.get_by_role("button", name="Submit").dblclick()
    saved(page)
    page.wait_for_timeout(500)
    assert JudgmentRevision.objects.count() == 1
    expect(page.locator("#refusal")).to_have_text("")


def test_signed_out_in_between_one_signs_in_on_top_of_the_work_and_it_goes_on(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    sign_in.expected += [" 401 ", " 400 "]  # type: ignore[attr-defined]
    page = start(sign_in)
    press(page, "2 1 3 4")
    draft_saved(page)
    page.context.clear_cookies(name="sessionid")
    press(page, "Enter")
    dialog = page.get_by_role("dialog", name="Sign in again")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Password").fill("not it")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_have_text("That password isn't right.")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_be_hidden()
    saved(page)
    assert len(latest_tiers()) == 4


def test_a_short_lease_is_renewed_while_the_page_is_only_read(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    Project.objects.filter(pk=cast.project.pk).update(lease_minutes=1)
    page = start(sign_in)
    page.clock.install()
    with page.expect_response("**/work/ahead"):
        page.reload()
    first = held(cast)
    Assignment.objects.filter(pk=first.pk).update(lease_until=timezone.now() + timedelta(seconds=5))
    with page.expect_response("**/draft"):
        page.clock.run_for(21_000)
    assert Assignment.objects.get(pk=first.pk).lease_until > timezone.now() + timedelta(seconds=30)


@pytest.mark.both_databases
def test_after_the_lease_ran_out_it_is_said_and_submitting_still_works(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in)
    assignment = held(cast)
    Assignment.objects.filter(labeler=cast.labeler).update(lease_until=timezone.now() - timedelta(seconds=1))
    queue.release_expired()
    for _ in tasks:
        other = queue.claim_next(labeler=cast.second_labeler, project=cast.project)
        assert other is not None
        queue.submit(
            assignment_id=other.pk,
            labeler=cast.second_labeler,
            submission=queue.Submission(
                client_id=f"00000000-0000-4000-8000-{other.pk:012}", tiers=[other.presentation]
            ),  # type: ignore[arg-type]
        )
    press(page, "2 1 3 4")
    expect(page.locator("#draft-state")).to_contain_text("Your time for this task ran out")
    press(page, "Enter")
    expect(page.locator("#receipt .done")).to_contain_text("yours is kept beside theirs")
    assert Judgment.objects.get(assignment=assignment).surplus


class TestUndo:
    def test_for_five_seconds_by_key_brings_everything_back(
        self, cast: Cast, tasks: list[Any], sign_in: SignIn
    ) -> None:
        page = start(sign_in)
        first = held(cast)
        press(page, "2 1 3 3 c")
        page.keyboard.type("close")
        press(page, "Control+Enter")
        saved(page)
        following = on_screen(page)
        press(page, "z")
        expect(page.locator("#receipt .done")).to_contain_text("Taken back")
        assert on_screen(page) == first.pk == held(cast).pk
        expect(page.locator("#comment")).to_have_value("close")
        expect(tier(page, 3)).to_have_text("CD")
        assert Judgment.objects.get().latest is None
        settled(page)
        press(page, "Control+Enter")
        saved(page)
        assert on_screen(page) == following
        assert Judgment.objects.get().latest is not None

    def test_is_gone_after_five_seconds_and_my_work_remains(
        self, cast: Cast, tasks: list[Any], sign_in: SignIn
    ) -> None:
        page = start(sign_in)
        page.clock.install()
        # The page compares its times: all of them by this clock.
        with page.expect_response("**/work/ahead"):
            page.reload()
        settled(page)
        first = held(cast)
        press(page, "2 1 3 4")
        page.clock.run_for(1_000)
        press(page, "Enter")
        saved(page)
        undo = page.get_by_role("button", name="Undo")
        expect(undo).to_be_visible()
        page.clock.run_for(5_100)
        expect(undo).to_have_count(0)
        page.get_by_role("link", name="My work").click()
        page.locator(f'a[href*="/work/{first.pk}/"]').click()
        expect(page.get_by_text("You have submitted this task.")).to_be_visible()
        page.locator(".response").nth(0).get_by_role("radio", name="4").click()
        page.clock.run_for(1_000)
        page.get_by_role("button", name="Save the revision").click()
        expect(page.locator("#messages")).to_contain_text("Saved as a revision")
        a, b, c, d = first.presentation
        assert latest_tiers() == [[b], [c], [a, d]]

    def test_of_what_has_not_been_sent_yet_sends_nothing(self, cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
        sign_in.expected.append("ERR_INTERNET_DISCONNECTED")  # type: ignore[attr-defined]
        page = start(sign_in)
        first = held(cast)
        with without_connection(page):
            press(page, "2 1 3 4 Enter")
            expect(page.locator("#outbox")).to_contain_text("1 submission is kept")
            page.get_by_role("button", name="Undo").click()
            assert on_screen(page) == first.pk
            expect(tier(page, 1)).to_have_text("B")
        page.evaluate("window.dispatchEvent(new Event('online'))")
        draft_saved(page)
        assert not Judgment.objects.exists()
