"""Versions compared by people, from the form to the decision, and tried in the playground, in both languages."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from annotate.models import Judgment, User
from rlhf.human_evaluation import evaluations, leaderboard
from rlhf.models import HumanEvaluation, PlaygroundReply
from rlhf.playground import live_replies
from rlhf.runs import runs
from rlhf.runs.queues import workers
from tests.conftest import wait_until
from tests.factories.cast import Cast, make_prompt
from tests.factories.head_to_head import make_policies
from tests.harness.browser import SignIn
from tests.journeys.board import held, press, settled, start
from tests.rlhf.human_evaluation.conftest import respond

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "send", lambda task, *arguments, queue="default": None)


def test_head_to_head_from_the_form_to_the_decision(transactional_db: None, cast: Cast, sign_in: SignIn) -> None:
    first, second = make_policies(cast.project, 2)
    for number in range(3):
        prompt = make_prompt(cast.project, f"How do I boil {number + 1} eggs?")
        respond(prompt, first, f"Boil them, all {number + 1}.")
        respond(prompt, second, f"Not at all, and {number + 1} times not.")
    manager = sign_in("manager", at="/p/kindness/evaluations/")
    manager.get_by_role("link", name="New evaluation").click()
    expect(manager.get_by_label("Policy 1")).to_be_checked()
    manager.get_by_label("Prompts", exact=True).select_option("")
    manager.get_by_label("Responses", exact=True).select_option("present")
    manager.get_by_text("Judgments and stopping rule").click()
    manager.get_by_label("Responses of each version").fill("1")
    manager.get_by_role("button", name="Start").click()
    expect(manager.get_by_role("heading", name="Evaluation 1")).to_be_visible()
    evaluation = HumanEvaluation.objects.get()
    evaluations.advance(evaluation.pk)
    # The labeler sees comparisons like any others.
    labeler = start(sign_in)
    for number in range(1, 4):
        settled(labeler)
        assignment = held(cast)
        assert assignment.is_check
        best = next(
            place
            for place, key in enumerate(assignment.presentation)
            if assignment.task.responses.get(pk=key).author == second.author
        )
        expect(labeler.locator("body")).not_to_contain_text("Policy")
        press(labeler, "1 2 Enter" if best == 0 else "2 1 Enter")
        wait_until(lambda count=number: Judgment.objects.count() == count, what="the judgment")  # type: ignore[misc]
    evaluations.advance(evaluation.pk)
    leaderboard.refresh(cast.project)
    manager.reload()
    row = manager.get_by_role("region", name="Win rates", exact=True).get_by_role("row").nth(1)
    expect(row).to_contain_text("0.0%")
    expect(row).to_contain_text("0 / 0 / 3")
    expect(manager.locator(".decision")).to_contain_text("Undecided")
    with manager.expect_download() as download:
        manager.get_by_role("link", name="CSV").first.click()
    assert download.value.suggested_filename == "kindness-evaluation-1-win-rates.csv"
    manager.goto("/p/kindness/leaderboard/")
    expect(manager.get_by_role("row").nth(1)).to_contain_text("Policy 2")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", {"begin": "Begin a chat", "send": "Send", "best": "Reply 2 is best", "kept": "Your judgment is kept."}),
        ("zh-hans", {"begin": "开始对话", "send": "发送", "best": "回复 2 最好", "kept": "您的评判已保存。"}),
    ],
)
def test_the_playground(
    transactional_db: None,
    cast: Cast,
    sign_in: SignIn,
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    words: dict[str, str],
) -> None:
    monkeypatch.setattr(workers, "listening", lambda: {"default", "live"})
    User.objects.update(language=language)
    make_policies(cast.project, 2)
    page = sign_in("manager", at="/p/kindness/playground/")
    page.locator("[name=is_blind]").check()
    page.get_by_role("button", name=words["begin"]).click()
    for number, question in enumerate(("How do I boil an egg?", "And then?"), start=1):
        page.locator("[name=message]").fill(question)
        page.get_by_role("button", name=words["send"]).click()
        expect(page.locator(".asked").nth(number - 1)).to_contain_text(question)
        stream(page, number)
        page.get_by_role("button", name=words["best"]).click()
        expect(page.get_by_text(words["kept"])).to_have_count(number)
    # The second turn goes on from the reply that was preferred in the first one.
    judgment = Judgment.objects.latest("pk")
    assert [message["content"] for message in judgment.task.prompt.messages][1].endswith("for 1 minute, by column 1")
    assert judgment.labeler == cast.manager
    names = ("Policy 1", "Policy 2") if language == "en" else ("策略 1", "策略 2")
    for name in names:
        expect(page.locator(".reply", has_text=name).first).to_be_visible()


def stream(page: Page, number: int) -> None:
    """The live worker's part: each reply grows on the page, and ends."""
    replies: Any = PlaygroundReply.objects.filter(turn__number=number).order_by("column__place").select_related("run")
    for reply in replies:
        lease = runs.claim(run_id=reply.run_id, worker="w")
        assert lease is not None
        live_replies.keep_text(reply.run, f"Cook it, by column {reply.column.place}")
        expect(page.get_by_text(f"Cook it, by column {reply.column.place}").last).to_be_visible()
        text = f"Cook it for {number} minute, by column {reply.column.place}"
        row = {"id": "1", "responses": [{"text": text, "finish_reason": "stop"}]}
        runs.succeed(lease, result=live_replies.store(reply.run, lease, row), register=lambda: None)
