"""One task takes another's place on the page: by undo, by a skip, in a chat. Nothing of the former one reaches into it,
and a task that comes back is the one that it was."""

from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from annotate.labeling import queue
from annotate.models import Assignment, ChatTurn, QueueCursor, Task
from annotate.people.projects import edit_project
from tests.conftest import wait_until
from tests.factories.cast import Cast, make_comparison, make_prompt, make_responses
from tests.harness.browser import SignIn
from tests.journeys.board import held, on_screen, press, saved, settled, start, until_held_back

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def tasks(transactional_db: None, cast: Cast) -> list[Any]:
    return [make_comparison(cast.project, f"How do I boil {number} eggs?") for number in range(4)]


def drafts_of(page: Page) -> list[str]:
    """The addresses of drafts that go out from now on, as they go."""
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/draft"):
            sent.append(request.url)

    page.on("request", note)
    return sent


def draft_saved(page: Page) -> None:
    expect(page.locator("#draft-state")).to_have_text("Draft saved")


def test_after_undo_and_a_second_submit_the_next_task_is_bound_once(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in)
    press(page, "2 1 3 4 Enter")
    saved(page)
    settled(page)
    following = on_screen(page)
    press(page, "z")
    expect(page.locator("#receipt .done")).to_contain_text("Taken back")
    settled(page)
    press(page, "Enter")
    saved(page)
    assert on_screen(page) == following
    expect(page.locator(".chip")).to_have_count(4)
    sent = drafts_of(page)
    settled(page)
    # A second one would leave with the first: both timers run out in the same moment.
    for number in ("1", "2"):
        with page.expect_response("**/draft"):
            press(page, number)
        assert len(sent) == int(number)


def test_what_was_begun_before_an_undo_is_there_when_its_task_comes_again(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in)
    press(page, "2 1 3 4 Enter")
    saved(page)
    settled(page)
    press(page, "3 c")
    page.keyboard.type("begun")
    draft_saved(page)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#receipt .done")).to_contain_text("Taken back")
    settled(page)
    page.locator("#work h1").focus()
    press(page, "Enter")
    saved(page)
    expect(page.locator("#comment")).to_have_value("begun")
    expect(page.locator('.tier ul[data-rank="3"] .chip')).to_have_text("A")
    # Its draft goes on from where it was: nothing claims to have changed it.
    page.locator("#comment").fill("begun and gone on")
    draft_saved(page)
    expect(page.locator("#choice")).to_be_hidden()


def test_a_skip_in_the_middle_of_a_draft_says_nothing_of_the_next_task(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in)
    first = held(cast)
    sent = drafts_of(page)
    press(page, "1 s ArrowDown")
    page.get_by_role("button", name="Skip this task").click()
    expect(page.locator("#receipt .done")).to_have_text("Skipped.")
    assert on_screen(page) != first.pk
    settled(page)
    press(page, "2")
    # The draft of the skipped one would have gone out before this one's.
    draft_saved(page)
    assert not [url for url in sent if f"/work/{first.pk}/" in url]
    page.locator(".response").first.locator(".ranks input:checked").focus()
    expect(page.locator("#draft-state")).to_have_text("Draft saved")
    assert not Assignment.objects.get(pk=first.pk).draft


def test_a_late_response_about_a_former_task_is_not_said_of_the_next(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = start(sign_in)
    first = held(cast)
    held_back: list[Route] = []
    page.route(f"**/work/{first.pk}/draft", lambda route: held_back.append(route))
    press(page, "1")
    until_held_back(page, held_back)
    press(page, "s ArrowDown")
    page.get_by_role("button", name="Skip this task").click()
    expect(page.locator("#receipt .done")).to_have_text("Skipped.")
    with page.expect_event("requestfinished", lambda request: request.url == held_back[0].request.url):
        held_back[0].continue_()
    page.evaluate("() => new Promise((done) => setTimeout(done, 50))")
    expect(page.locator("#draft-state")).to_have_text("")


def test_every_turn_of_a_chat_is_written_without_a_conflict_and_the_comment_stays(
    transactional_db: None, cast: Cast, sign_in: SignIn
) -> None:
    edit_project(project=cast.project, by=cast.manager, task_kinds=["chat"])
    Task.objects.create(project=cast.project, kind="chat", prompt=make_prompt(cast.project, "Tell me about hens."))
    page = sign_in("labeler", at="/p/kindness/work/")
    page.get_by_text("Add a comment").click()
    page.locator("#comment").fill("a good chat")
    for number, (said, button) in enumerate(
        (("Hens lay eggs.", "Use my response"), ("How many?", "Send"), ("One a day.", "Use my response")), start=1
    ):
        page.locator("#written").fill(said)
        draft_saved(page)
        page.get_by_role("button", name=button).click()
        expect(page.locator(".chat-turns .turn")).to_have_count(number)
        expect(page.locator("#written")).to_have_value("")
        expect(page.locator("#choice")).to_be_hidden()
        expect(page.locator("#comment")).to_have_value("a good chat")
    assert ChatTurn.objects.count() == 3
    # Nor is there one to be found by the next window.
    page.reload()
    expect(page.locator("#comment")).to_have_value("a good chat")
    expect(page.locator("#choice")).to_be_hidden()


class TestACoveredPrompt:
    """It was marked as one that may upset: nothing is judged of it before it was opened."""

    @pytest.fixture
    def page(self, transactional_db: None, cast: Cast, sign_in: SignIn) -> Page:
        task = make_comparison(cast.project)
        task.prompt.sensitive = True
        task.prompt.save()
        page = sign_in("labeler", at="/p/kindness/work/")
        expect(page.locator(".chip").first).to_be_attached()
        settled(page)
        return page

    def test_is_not_ranked_by_keys(self, page: Page, cast: Cast) -> None:
        press(page, "2 1 3 4 u d v i r n")
        expect(page.locator(".ranks input:not([value='']):checked")).to_have_count(0)
        expect(page.locator("[name=all_unacceptable]")).not_to_be_checked()
        expect(page.get_by_role("dialog")).to_have_count(0)
        press(page, "Enter")
        page.locator(".submit").click()
        expect(page.locator("#refusal")).to_contain_text("covered")
        expect(page.locator(".tiers")).to_be_hidden()
        page.locator(".veil > summary").click()
        expect(page.locator(".response").first).to_be_visible()
        press(page, "Escape 2 1 3 4 Enter")
        saved(page)

    def test_can_be_skipped_unread(self, page: Page, cast: Cast) -> None:
        press(page, "s ArrowDown")
        page.get_by_role("button", name="Skip this task").click()
        expect(page.locator("#receipt .done")).to_have_text("Skipped.")


def test_a_covered_chat_shows_none_of_its_turns(transactional_db: None, cast: Cast, sign_in: SignIn) -> None:
    edit_project(project=cast.project, by=cast.manager, task_kinds=["chat"])
    prompt = make_prompt(cast.project, "Tell me the worst.")
    prompt.sensitive = True
    prompt.save()
    Task.objects.create(project=cast.project, kind="chat", prompt=prompt)
    cast.project.refresh_from_db()
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert assignment is not None
    [worst] = make_responses(prompt, "The worst it is.")
    ChatTurn.objects.create(assignment=assignment, number=1, role="assistant", text=worst.text, response=worst)
    page = sign_in("labeler", at="/p/kindness/work/")
    expect(page.get_by_text("The worst it is.")).to_be_hidden()
    page.locator(".veil > summary").click()
    expect(page.get_by_text("The worst it is.")).to_be_visible()


class TestKeysOfWriting:
    def test_escape_leaves_a_note_for_its_response(self, cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
        page = start(sign_in)
        press(page, "2 n")
        page.keyboard.type("a note")
        press(page, "Escape")
        assert page.evaluate("document.activeElement.closest('.response')?.dataset.letter") == "B"
        press(page, "1")  # a rank again, and no part of the note
        expect(page.locator('.tier ul[data-rank="1"] .chip')).to_have_text("B")
        expect(page.locator(".response").nth(1).locator(".note textarea")).to_have_value("a note")

    def test_escape_leaves_the_comment_for_the_board(self, cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
        page = start(sign_in)
        press(page, "2 c")
        page.keyboard.type("so so")
        press(page, "Escape 3")
        expect(page.locator("#comment")).to_have_value("so so")
        expect(page.locator('.tier ul[data-rank="3"] .chip')).to_have_text("B")

    def test_guidelines_opened_and_closed_take_no_enter(self, cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
        page = start(sign_in)
        press(page, "2 1 3 4 g g")
        expect(page.locator("#guidelines details")).not_to_have_attribute("open", "")
        press(page, "Enter")
        saved(page)
        expect(page.locator("#guidelines details")).not_to_have_attribute("open", "")

    def test_each_kind_of_task_has_its_own_keys(self, cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
        page = start(sign_in)
        press(page, "?")
        dialog = page.get_by_role("dialog", name="Keys")
        expect(dialog.get_by_text("Tie with")).to_be_visible()
        expect(dialog.get_by_text("rating of the criterion")).to_be_hidden()
        edit_project(
            project=cast.project, by=cast.manager, task_kinds=["rate", "demonstrate"],
            criteria=[{"name": "overall", "label": "Overall", "min": 1, "max": 7}],
        )  # fmt: skip
        Assignment.objects.all().delete()
        QueueCursor.objects.all().delete()
        Task.objects.all().update(state="withdrawn")
        rate = Task.objects.create(project=cast.project, kind="rate", prompt=tasks[0].prompt)
        rate.task_responses.create(response=tasks[0].responses.first(), number=0)
        page.goto("/p/kindness/work/")
        settled(page)
        press(page, "?")
        expect(dialog.get_by_text("rating of the criterion")).to_be_visible()
        for absent in ("Tie with", "One rank better", "Improve", "word by word"):
            expect(dialog.get_by_text(absent)).to_be_hidden()
        Task.objects.filter(pk=rate.pk).update(state="withdrawn")
        Assignment.objects.all().delete()
        QueueCursor.objects.all().delete()
        Task.objects.create(project=cast.project, kind="demonstrate", prompt=tasks[1].prompt)
        page.goto("/p/kindness/work/")
        expect(page.locator(".submit kbd")).to_have_text("Ctrl+Enter")

    def test_the_button_names_the_key_that_submits_where_one_is(
        self, cast: Cast, tasks: list[Any], sign_in: SignIn
    ) -> None:
        page = start(sign_in)
        hint = page.locator(".submit kbd")
        expect(hint).to_have_text("Enter")
        press(page, "c")
        expect(hint).to_have_text("Ctrl+Enter")
        press(page, "Escape")
        expect(hint).to_have_text("Enter")


def test_a_submitted_task_leaves_the_browsers_memory(cast: Cast, tasks: list[Any], sign_in: SignIn) -> None:
    page = start(sign_in)
    page.evaluate("() => { globalThis.formerly = new WeakRef(document.getElementById('work')); }")
    for _ in range(2):  # the one that undo would bring back may stay
        settled(page)
        with page.expect_response("**/submit"):
            press(page, "2 1 3 4 Enter")
        saved(page)
    memory = page.context.new_cdp_session(page)

    def is_gone() -> bool:
        memory.send("HeapProfiler.collectGarbage")
        return page.evaluate("() => globalThis.formerly.deref() === undefined") is True

    wait_until(is_gone)


def test_a_task_that_is_fetched_ahead_and_comes_with_the_receipt_too_is_shown_once(
    cast: Cast, tasks: list[Any], sign_in: SignIn
) -> None:
    page = sign_in("labeler", at="about:blank")
    held_back: list[Route] = []
    free: list[bool] = []

    def hold(route: Route) -> None:
        if free:
            route.continue_()
        else:
            held_back.append(route)

    page.route("**/work/ahead", hold)
    page.route("**/submit", hold)
    page.goto("/p/kindness/work/")
    until_held_back(page, held_back)
    settled(page)
    press(page, "2 1 3 4 Enter")
    until_held_back(page, held_back, 2)
    free.append(True)
    ahead, submitted = held_back
    with page.expect_response("**/work/ahead"):
        ahead.continue_()
    submitted.continue_()
    saved(page)
    second = on_screen(page)
    settled(page)
    press(page, "2 1 3 4 Enter")
    expect(page.locator("#work")).not_to_have_attribute("data-task", str(second))
    saved(page)
    assert on_screen(page) not in (second, 0)
