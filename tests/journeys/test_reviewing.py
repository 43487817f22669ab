"""A reviewer's work: from the queue to the board, by keys, with and without the labelers' orders, in both languages."""

import pytest
from playwright.sync_api import Page, expect

from annotate.models import Adjudication, Judgment, JudgmentReturn, TaskConsensus, User
from annotate.quality import consensus
from tests.annotate.quality.test_adjudication import task_of
from tests.factories.cast import Cast
from tests.harness.browser import SignIn
from tests.journeys.board import latest_tiers, press, settled
from tests.journeys.test_managers_morning import assert_accessible

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
QUEUE = "/p/kindness/review/queue/"
WORDS = {
    "en": ("Adjudicate the next one", "Decided: this order counts from now on.", "Show the labelers’ orders"),
    "zh-hans": ("裁定下一个", "已裁定：从现在起以此排序为准。", "显示标注员的排序"),
}


@pytest.fixture
def tasks(transactional_db: None, cast: Cast) -> None:
    """Three tasks on which the labelers contradict each other, the first one most."""
    cast.project.overlap = 2
    cast.project.save()
    for number, order in enumerate(("C > B > A", "C > A > B", "B > C > A")):
        task_of(cast, number, "A > B > C", order)
    consensus.refresh_due()


def at_hand() -> Adjudication:
    return Adjudication.objects.get(pk=Adjudication.objects.filter(state="reviewing").latest("opened_at").pk)


def receipt(page: Page) -> str:
    return page.locator("#receipt .done").inner_text()


@pytest.mark.parametrize("language", WORDS)
def test_adjudicating_by_keys_undoing_and_asking_for_the_orders(
    cast: Cast, tasks: None, sign_in: SignIn, language: str
) -> None:
    User.objects.update(language=language)
    following, decided, show = WORDS[language]
    page = sign_in("reviewer", at=QUEUE)
    assert_accessible(page)
    page.get_by_role("link", name=following).click()
    settled(page)
    assert_accessible(page)
    first = at_hand()
    assert "labeler" not in page.locator("#work").inner_text().replace("labelers’ orders", "")
    page.get_by_role("link", name=show).click()
    expect(page.locator("#labeler-orders li")).to_have_count(2)
    page.locator("h1").focus()
    press(page, "2 1 3")
    with page.expect_response("**/submit"):
        press(page, "Enter")
    expect(page.locator("#receipt .done")).to_have_text(decided)
    a, b, c = first.presentation
    assert latest_tiers() == [[b], [a], [c]]
    expect(page.locator(f'#work:not([data-task="{first.pk}"])')).to_be_attached()
    settled(page)
    press(page, "z")
    expect(page.locator(f'#work[data-task="{first.pk}"]')).to_be_attached()
    assert Judgment.objects.get(is_adjudication=True).latest is None
    settled(page)
    press(page, "Enter")
    expect(page.locator("#receipt .done")).to_have_text(decided)
    assert Judgment.objects.filter(Judgment.ADJUDICATED).count() == 1


def test_returning_a_judgment_from_the_board_leads_on(cast: Cast, tasks: None, sign_in: SignIn) -> None:
    cast.project.adjudication_view = "shown"
    cast.project.save()
    page = sign_in("reviewer", at="/p/kindness/review/board/")
    task = at_hand().task
    page.locator("#labeler-orders li").first.get_by_role("link").click()
    page.get_by_label("What should be different?").fill("Read the second one again.")
    page.get_by_role("button", name="Return to the labeler").click()
    expect(page.locator(".notice.success, .notice.ok").first).to_contain_text("Returned")
    assert JudgmentReturn.objects.get().judgment.task == task
    assert not TaskConsensus.objects.get(task=task).for_review
    page.goto("/p/kindness/review/board/")
    assert at_hand().task != task
