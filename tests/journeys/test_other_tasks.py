"""A labeler's first day: the exam, then a response to write, a prompt to write, a response to rate and a chat to lead.

The same day by mouse, by keyboard alone and on a phone.
"""

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from annotate.labeling import exam
from annotate.labeling.chats import live_responses
from annotate.labeling.chats.live_responses import ResponseStatus
from annotate.labeling.few_shot import FewShot
from annotate.models import Demonstration, ExamAnswer, ExamAttempt, Judgment, Prompt, ResponseRequest, Task
from annotate.people.projects import edit_project
from tests.conftest import wait_until
from tests.factories.cast import Cast, key_of, make_comparison, make_prompt, make_responses, response_ids
from tests.harness.browser import SignIn
from tests.journeys.board import settled

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
CRITERIA = [{"name": name, "label": name.title(), "min": 0, "max": 4} for name in ("help", "truth")]


class Hand:
    """How somebody uses a page. `press` a button or link, `choose` a radio button, `write` into a box."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, target: Locator) -> None:
        target.click()

    def choose(self, target: Locator) -> None:
        target.check(force=True)

    def write(self, target: Locator, text: str) -> None:
        target.click()
        self.page.keyboard.type(text)


class Keyboard(Hand):
    """Tab, arrows, Enter and letters; no mouse at all."""

    def reach(self, target: Locator) -> None:
        for _ in range(90):
            if target.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        pytest.fail(f"Tab doesn't lead to {target}")

    def press(self, target: Locator) -> None:
        self.reach(target)
        self.page.keyboard.press("Enter")

    def choose(self, target: Locator) -> None:
        name = target.get_attribute("name")
        for _ in range(90):
            if self.page.evaluate("name => document.activeElement.name === name", name):
                break
            self.page.keyboard.press("Tab")
        for _ in range(9):
            if target.is_checked():
                return
            self.page.keyboard.press("ArrowDown")
        pytest.fail(f"no key leads to {target}")

    def write(self, target: Locator, text: str) -> None:
        self.reach(target)
        self.page.keyboard.type(text)


class Touch(Hand):
    def press(self, target: Locator) -> None:
        target.tap()

    def choose(self, target: Locator) -> None:
        target.tap(force=True)

    def write(self, target: Locator, text: str) -> None:
        target.tap()
        target.fill(text)


HANDS: dict[str, tuple[type[Hand], dict[str, Any]]] = {
    "mouse": (Hand, {}),
    "keyboard": (Keyboard, {}),
    "phone": (Touch, PHONE),
}


@pytest.fixture
def day(transactional_db: None, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> dict[str, Task]:
    """One exam item, and behind it a task of each kind, in this order."""
    monkeypatch.setattr(
        live_responses,
        "_status_sources",
        [lambda *_: ResponseStatus(is_available=True, message="The model is responding.")],
    )
    known = make_comparison(cast.project, "Which comes first?", texts=("Hen.", "Egg."))
    Task.objects.filter(pk=known.pk).update(gold_tiers=[[key] for key in response_ids(known)])
    exam.add_item(task=Task.objects.get(pk=known.pk), by=cast.manager)
    kinds = ["demonstrate", "write_prompt", "rate", "chat"]
    edit_project(
        project=cast.project, by=cast.manager, task_kinds=kinds, criteria=CRITERIA, exam_threshold=1.0, exam_attempts=1
    )
    shots = FewShot(instruction="Name the capital.", pairs=(("France", "Paris"), ("Peru", "Lima")), query="Japan")
    few_shot = Prompt.objects.create(project=cast.project, messages=shots.messages, kind="few_shot", sensitive=True)
    rated = make_prompt(cast.project, "How do I boil an egg?")
    prompts = [few_shot, None, rated, make_prompt(cast.project, "Tell me about hens.")]
    tasks = {
        kind: Task.objects.create(project=cast.project, kind=kind, prompt=prompt, priority=9 - number)
        for number, (kind, prompt) in enumerate(zip(kinds, prompts, strict=True))
    }
    tasks["rate"].task_responses.create(response=make_responses(rated, "In water.")[0], number=0)
    return {**tasks, "known": known}


def fits(page: Page) -> None:
    """Nothing is wider than the screen."""
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]


def submit(page: Page, hand: Hand) -> None:
    # What comes sooner after a task appeared is taken for the end of a double click.
    settled(page)
    hand.press(page.locator(".submit"))


def model_responses(*texts: str) -> None:
    """What a worker would do with the request that the page has made."""
    wait_until(lambda: ResponseRequest.objects.filter(state="claimed").exists(), what="the page to ask for responses")
    request = ResponseRequest.objects.get(state="claimed")
    request.responses.set(make_responses(request.prompt, *texts))
    ResponseRequest.objects.filter(pk=request.pk).update(state="fulfilled")


@pytest.mark.parametrize("how", HANDS)
def test_a_first_day(how: str, cast: Cast, day: dict[str, Task], sign_in: SignIn) -> None:
    kind, options = HANDS[how]
    page = sign_in("labeler", **options)
    hand = kind(page)

    take_the_exam(page, hand, day)
    write_the_response(page, hand)
    write_a_prompt(page, hand)
    rate_a_response(page, hand)
    lead_a_chat(page, hand)
    expect(page.get_by_role("heading", name="Nothing to do right now")).to_be_visible()
    assert Judgment.objects.filter(latest__isnull=False, chat_turn=None).count() == 4


def take_the_exam(page: Page, hand: Hand, day: dict[str, Task]) -> None:
    hand.press(page.get_by_role("link", name="Take the exam of Kindness"))
    hand.press(page.get_by_role("button", name="Start the exam"))
    best, other = response_ids(day["known"])
    expect(page.locator(".responses")).to_be_visible()
    item = ExamAnswer.objects.get(answered_at=None)
    for key, rank in ((key_of(item, best), 1), (key_of(item, other), 2)):
        hand.choose(page.locator(f'input[name="rank-{key}"][value="{rank}"]'))
    fits(page)
    submit(page, hand)
    expect(page.get_by_role("heading", name="Passed")).to_be_visible()
    assert ExamAttempt.objects.get().passed
    hand.press(page.get_by_role("link", name="Start working"))


def write_the_response(page: Page, hand: Hand) -> None:
    expect(page.get_by_role("heading", name="Write the ideal response")).to_be_visible()
    # The prompt may upset: nothing of it shows before one agrees.
    expect(page.get_by_text("Name the capital.")).to_be_hidden()
    hand.press(page.locator(".veil > summary"))
    expect(page.get_by_text("Name the capital.")).to_be_visible()
    hand.write(page.locator("#written"), "Tokyo, **of course**")
    expect(page.locator("[data-count-of=written]")).to_have_text("3 words · 20 characters")
    hand.press(page.get_by_text("Preview"))
    expect(page.locator(".preview strong")).to_have_text("of course")
    expect(page.locator("#draft-state")).to_have_text("Draft saved")
    hand.press(page.get_by_text("Correct the examples"))
    hand.press(page.get_by_role("button", name="Add an example"))
    number = page.locator(".example").count() - 1
    hand.write(page.locator(f'[name="query-{number}"]'), "Chad")
    hand.write(page.locator(f'[name="response-{number}"]'), "N'Djamena")
    fits(page)
    submit(page, hand)
    expect(page.get_by_role("heading", name="Write a prompt")).to_be_visible()
    wait_until(Demonstration.objects.exists, what="the demonstration")
    demonstration = Demonstration.objects.get()
    assert demonstration.response.text == "Tokyo, **of course**"
    shots = FewShot.of(demonstration.prompt.messages)
    assert shots is not None
    assert shots.pairs[-1] == ("Chad", "N'Djamena")


def write_a_prompt(page: Page, hand: Hand) -> None:
    expect(page.locator("#instruction")).to_be_hidden()
    hand.choose(page.locator('input[name="kind"][value="few_shot"]'))
    hand.write(page.locator("#instruction"), "Say it backwards.")
    hand.write(page.locator('[name="query-0"]'), "hen")
    hand.write(page.locator('[name="response-0"]'), "neh")
    hand.write(page.locator("#written"), "egg")
    fits(page)
    submit(page, hand)
    expect(page.get_by_role("heading", name="Rate this response")).to_be_visible()
    wait_until(lambda: Prompt.objects.filter(source="labelers").exists(), what="the prompt")
    written = FewShot.of(Prompt.objects.get(source="labelers").messages)
    assert written == FewShot(instruction="Say it backwards.", pairs=(("hen", "neh"),), query="egg")


def rate_a_response(page: Page, hand: Hand) -> None:
    submit(page, hand)
    expect(page.locator("#refusal")).to_have_text("Still to rate: Help, Truth.")
    if isinstance(hand, Keyboard):
        page.locator("h1").focus()
        for key in "31":
            page.keyboard.press(key)
    else:
        for criterion, value in (("help", 3), ("truth", 1)):
            hand.choose(page.locator(f'input[name$="-{criterion}"][value="{value}"]'))
    fits(page)
    submit(page, hand)
    expect(page.get_by_role("heading", name="Choose or write the assistant’s response")).to_be_visible()
    wait_until(lambda: Judgment.objects.filter(task__kind="rate").exists(), what="the rating")
    latest = Judgment.objects.get(task__kind="rate").latest
    assert latest is not None
    assert list(latest.ratings.values()) == [{"help": 3, "truth": 1}]


def lead_a_chat(page: Page, hand: Hand) -> None:
    hand.press(page.get_by_role("button", name="Request 4 responses from the model"))
    expect(page.get_by_text("The model is responding.")).to_be_visible()
    model_responses("Hens lay eggs.", "Hens fly far.")
    expect(page.locator("#candidates .candidate")).to_have_count(2)
    fits(page)
    if isinstance(hand, Keyboard):
        page.keyboard.press("1")
    else:
        hand.press(page.get_by_role("button", name="Choose response 1"))
    chosen = page.locator(".chat-turns .turn.assistant .prose").first
    expect(chosen).to_be_visible()
    expect(page.get_by_role("heading", name="Continue as the user, or submit the chat")).to_be_visible()
    hand.write(page.locator("#written"), "How many?")
    # Enter alone is a line; what is still in the box is not handed in.
    if isinstance(hand, Keyboard):
        page.keyboard.press("Control+Enter")
    else:
        hand.press(page.get_by_role("button", name="Send"))
    model_responses("One a day.", "None.")
    expect(page.locator("#candidates .candidate")).to_have_count(2)
    hand.press(page.get_by_role("button", name="Edit response 1"))
    expect(page.locator("#written")).not_to_have_value("")
    hand.write(page.locator("#written"), "!")
    hand.press(page.get_by_role("button", name="Use my response"))
    expect(page.locator(".chat-turns .turn")).to_have_count(3)
    fits(page)
    submit(page, hand)
    wait_until(lambda: Judgment.objects.filter(task__kind="chat").exists(), what="the chat")
    comparison = Judgment.objects.get(task__kind="compare").latest
    assert comparison is not None
    assert [len(tier) for tier in comparison.tiers] == [1, 1]
    edited = Demonstration.objects.latest("pk").response
    assert edited.edited_from is not None
    assert len(edited.text) > 0


def test_without_javascript_everything_is_a_form(cast: Cast, day: dict[str, Task], sign_in: SignIn) -> None:
    exam.waive(labeler=cast.labeler, project=cast.project, by=cast.manager)
    page = sign_in("labeler", java_script_enabled=False)
    page.get_by_role("link", name="Work in Kindness").click()
    page.locator(".veil > summary").click()
    page.locator("#written").fill("Tokyo")
    page.get_by_role("button", name="Submit").click()
    page.locator("#written").fill("Why is the sky blue?")
    page.get_by_role("button", name="Submit").click()
    for criterion in ("help", "truth"):
        page.locator(f'input[name$="-{criterion}"][value="2"]').check(force=True)
    page.get_by_role("button", name="Submit").click()
    page.locator("#written").fill("Hens lay eggs.")
    page.get_by_role("button", name="Use my response").click()
    page.get_by_role("button", name="Take this turn back").click()
    page.locator("#written").fill("Hens lay eggs.")
    page.get_by_role("button", name="Use my response").click()
    page.get_by_role("button", name="Hand in the chat").click()
    expect(page.get_by_role("heading", name="Nothing to do right now")).to_be_visible()
    assert set(Demonstration.objects.values_list("response__text", flat=True)) == {"Tokyo", "Hens lay eggs."}
    assert Judgment.objects.count() == 4
