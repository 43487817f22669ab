"""A researcher measures a run, starts it from a preset, cancels, resumes and clones it; in both languages."""

import pytest
from playwright.sync_api import Route, expect

from annotate.models import Snapshot, User
from rlhf.models import TrainingRun
from rlhf.runs import runs
from tests.factories.cast import Cast
from tests.harness.browser import SignIn
from tests.journeys.board import until_held_back

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WORDS = {
    "en": {
        "start": "Start", "cancel": "Cancel", "resume": "Resume", "clone": "Clone with changes", "queued": "Queued",
        "cancelled": "Cancelled", "preset": "Quick try", "place": "Place 1 of 1 in the queue cpu.",
        "same": "None yet: this would be the same run again.", "find": "Find a setting", "changes": "Changes from run",
        "measure": "Measure first", "waits": "The measurement waits for a worker.",
        "measured": "0.25 s a step, measured",
    },
    "zh-hans": {
        "start": "开始", "cancel": "取消", "resume": "恢复", "clone": "克隆并修改", "queued": "排队中",
        "cancelled": "已取消", "preset": "快速试验", "place": "在队列 cpu 中排第 1 位，共 1 个。",
        "same": "尚无差异：这将是同样的运行。", "find": "查找设置", "changes": "与运行",
        "measure": "先测量", "waits": "测量正在等待工作进程。", "measured": "每步 0.25 秒（实测）",
    },
}  # fmt: skip


@pytest.mark.parametrize("language", WORDS)
def test_start_from_a_preset_cancel_resume_and_clone(
    language: str, without_workers: None, cast: Cast, sign_in: SignIn
) -> None:
    User.objects.filter(pk=cast.researcher.pk).update(language=language)
    words = WORDS[language]
    page = sign_in("researcher", at="/p/kindness/training/new/sft")
    page.get_by_role("link", name=words["preset"]).click()
    expect(page.locator("a[aria-current][href='?preset=quick_try']")).to_be_visible()
    expect(page.locator("[name=set_method]")).to_have_value("lora")

    # A setting of another method is hidden; the search opens the group of one that has an effect.
    page.get_by_label(words["find"]).fill("rank")
    expect(page.locator("[name=set_lora_rank]")).to_be_visible()
    page.get_by_label(words["find"]).fill("lora_rank")
    expect(page.locator("[name=set_lora_rank]")).to_be_visible()
    page.get_by_label(words["find"]).fill("last_layers")
    expect(page.locator("[name=set_last_layers]")).to_be_hidden()
    page.get_by_label(words["find"]).fill("")
    page.locator("[name=set_epochs]").fill("0")
    expect(page.locator("#estimate a[href='#id_set_epochs']")).to_be_visible()
    page.locator("[name=set_epochs]").fill("3")
    expect(page.locator("#estimate a[href='#id_set_epochs']")).to_have_count(0)

    # The panel follows a measurement by itself, while the form stays as it is.
    page.get_by_role("button", name=words["measure"]).click()
    expect(page.locator("#estimate")).to_contain_text(words["waits"])
    lease = runs.claim(run_id=TrainingRun.objects.get(stage="measure").pk, worker="w")
    assert lease is not None
    runs.succeed(lease, result={"seconds_per_step": 0.25, "peak_memory": 2**30}, register=lambda: None)
    expect(page.locator("#estimate")).to_contain_text(words["measured"])
    expect(page.locator("[name=set_epochs]")).to_have_value("3")
    page.get_by_role("button", name=words["start"]).click()
    expect(page.locator(".badge.queued")).to_have_text(words["queued"])
    expect(page.locator("#live")).to_contain_text(words["place"])
    first = TrainingRun.objects.get(stage="sft")
    assert (first.preset, first.config) == (
        "quick_try",
        {"method": "lora", "epochs": 3, "max_length": 256} | rate(first),
    )

    page.locator("#live").get_by_role("button", name=words["cancel"]).click()
    expect(page.locator(".badge.cancelled")).to_have_text(words["cancelled"])
    page.get_by_role("button", name=words["resume"]).click()
    expect(page.locator(".badge.queued")).to_have_text(words["queued"])
    page.locator("#live").get_by_role("button", name=words["cancel"]).click()

    Snapshot.objects.update(state=Snapshot.State.READY, sha256="0" * 64, rows=12)
    page.get_by_role("link", name=words["clone"]).click()
    expect(page.locator("#estimate")).to_contain_text(words["same"])
    page.locator("[name=set_batch_size]").fill("8")
    expect(page.locator("#estimate tbody tr")).to_have_count(1)
    expect(page.locator("#estimate tbody td")).to_have_text(["16", "8"])
    page.get_by_role("button", name=words["start"]).click()
    expect(page.locator("main")).to_contain_text(words["changes"])
    clone = TrainingRun.objects.latest("pk")
    assert (clone.cloned_from, clone.config) == (first, first.config | {"batch_size": 8})


def test_what_is_typed_before_the_page_listens_is_estimated_once_it_does(cast: Cast, sign_in: SignIn) -> None:
    page = sign_in("researcher")
    held_back: list[Route] = []
    page.route("**/htmx*.js", lambda route: held_back.append(route))
    page.goto("/p/kindness/training/new/sft", wait_until="commit")
    until_held_back(page, held_back)
    page.locator("[name=set_epochs]").fill("0")
    held_back[0].continue_()
    expect(page.locator("#estimate a[href='#id_set_epochs']")).to_be_visible()


def rate(run: TrainingRun) -> dict[str, float]:
    """The form sends the learning rate that it shows: ten times the default, for LoRA."""
    assert run.config["learning_rate"] == pytest.approx(2e-4)
    return {"learning_rate": run.config["learning_rate"]}
