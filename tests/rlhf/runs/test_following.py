"""Following a run in a real browser: live numbers, curves in the page's theme, no more questions once it has ended."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from annotate.data.stored_messages import StoredMessage
from rlhf.models import TrainingRun
from rlhf.runs import runs
from tests.factories.cast import Cast
from tests.harness.browser import SignIn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser, pytest.mark.usefixtures("embedded_broker")]
SECONDS = 30_000
INK = {"light": "rgb(18, 89, 95)", "dark": "rgb(124, 196, 198)"}


def ink_of_first_curve(page: Page) -> str:
    """Colour of the most frequent opaque, saturated pixel of a curve's canvas."""
    return page.evaluate("""() => {
        const canvas = document.querySelector(".curves canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const counts = new Map();
        for (let i = 0; i < data.length; i += 4) {
            if (data[i + 3] < 255 || Math.abs(data[i] - data[i + 2]) < 30) continue;
            const name = `rgb(${data[i]}, ${data[i + 1]}, ${data[i + 2]})`;
            counts.set(name, (counts.get(name) ?? 0) + 1);
        }
        return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "";
    }""")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_run_is_followed_to_its_end_without_reloading(sign_in: SignIn, queued: Any, cast: Cast, scheme: str) -> None:
    run: TrainingRun = queued()
    page = sign_in("manager", color_scheme=scheme)
    page.wait_for_url(lambda address: "login" not in address)
    page.goto(f"/p/{cast.project.slug}/runs/{run.pk}/")
    expect(page.get_by_text("No worker consumes the queue")).to_be_visible()
    page.evaluate("window.stayed = true")

    lease = runs.claim(run_id=run.pk, worker="somewhere/1/2")
    assert lease is not None
    runs.record_metrics(lease, [(step, "loss", 1 / step) for step in range(1, 40)])
    runs.renew(lease, progress=0.4, activity="writing responses", log="40/100 responses\n")
    expect(page.get_by_text("Writing responses")).to_be_visible(timeout=SECONDS)
    expect(page.get_by_text("40%")).to_be_visible()
    expect(page.locator(".curves figure")).to_have_count(1, timeout=SECONDS)
    expect(page.locator(".curves output")).to_have_text("step 39: 0.02564")
    assert ink_of_first_curve(page) == INK[scheme]
    page.get_by_text("Log", exact=True).click()
    runs.record_metrics(lease, [(40, "loss", 0.025)])
    expect(page.locator(".curves output")).to_have_text("step 40: 0.025", timeout=SECONDS)
    expect(page.get_by_text("40/100 responses")).to_be_visible()  # an opened log stays open

    runs.fail(lease, StoredMessage("as_written", {"sentence": "The disk is full."}))
    expect(page.get_by_role("alert")).to_have_text("The disk is full.", timeout=SECONDS)
    assert page.evaluate("window.stayed") is True
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2_500)  # longer than the two seconds between questions
    assert asked == []


def test_cancel_and_launch_work_without_javascript(sign_in: SignIn, queued: Any, cast: Cast) -> None:
    run: TrainingRun = queued()
    page = sign_in("manager", java_script_enabled=False)
    page.goto(f"/p/{cast.project.slug}/runs/{run.pk}/")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#live .badge")).to_have_text("Cancelled")
    page.goto(f"/p/{cast.project.slug}/training/new/reward")
    page.get_by_label("epochs").fill("2")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Reward model")
    assert TrainingRun.objects.get(stage="reward").config == {"epochs": 2}
