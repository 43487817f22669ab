"""A whole round from the page: started, followed to its promotion by hand, and taken back; in both languages."""

import pytest
from playwright.sync_api import expect

from annotate.models import User
from rlhf.loop import loop, versions
from rlhf.models import Iteration
from tests.factories.cast import Cast
from tests.harness.browser import SignIn
from tests.rlhf.conftest import make_judgments
from tests.rlhf.loop.test_steps import do_the_work

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WORDS = {
    "en": {"reward": "Train the reward model", "promote": "Promote the policy by hand", "done": "Succeeded"},
    "zh-hans": {"reward": "训练奖励模型", "promote": "人工启用策略", "done": "成功"},
}


@pytest.mark.parametrize("language", WORDS)
def test_a_round_is_started_followed_promoted_and_rolled_back(
    language: str, without_workers: None, cast: Cast, sign_in: SignIn
) -> None:
    User.objects.filter(pk=cast.manager.pk).update(language=language)
    words = WORDS[language]
    make_judgments(cast, 2)
    base = versions.base(cast.project)

    page = sign_in("manager", at="/p/kindness/loop/")
    page.locator("details:has([name=promotion]) > summary").click()
    page.locator("[name=promotion]").select_option("hand")
    page.locator("form[action$='/loop/settings'] button[type=submit]").click()
    page.locator("form[action$='/loop/start'] [name=rounds]").fill("1")
    page.locator("form[action$='/loop/start'] button").click()
    now = page.locator("li[aria-current=step] .step-title")
    expect(now).to_be_visible()
    iteration = Iteration.objects.get()

    # What others do shows by itself: the page asks again every five seconds.
    do_the_work(cast)
    loop.advance(iteration.pk)
    expect(now).to_have_text(words["reward"], timeout=20_000)
    for _ in range(2):  # the runs of reward model and policy
        do_the_work(cast)
        loop.advance(iteration.pk)
    page.reload()
    expect(now).to_have_text(words["promote"])
    page.locator("form[action$='/loop/1/promote'] button").click()
    do_the_work(cast)
    loop.advance(iteration.pk)
    page.reload()
    expect(page.locator("tbody .badge.ok")).to_have_text(words["done"])
    policy = versions.active_policy(cast.project)
    assert (policy.kind, policy.run.iteration_id) == ("policy", iteration.pk)

    # Its lineage leads from the registry to its page; rolled back, the base model is in use again.
    page.goto(page.url.replace("/loop/", "/models/"))
    page.locator(f".lineage a[href$='/models/{policy.pk}/']").click()
    expect(page.locator(".lineage a[aria-current=page]")).to_be_visible()
    page.go_back()
    page.locator(f"a[href$='/models/{policy.pk}/roll-back']").click()
    page.locator("form[action$='/roll-back'] button[type=submit]").click()
    page.wait_for_url("**/models/")
    assert versions.active_policy(cast.project) == base
