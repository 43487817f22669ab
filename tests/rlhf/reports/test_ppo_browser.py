"""A PPO run's page in a real browser: the curve over the divergence, and responses side by side."""

import json
import math
import re

import pytest
from playwright.sync_api import expect

from rlhf.models import TrainingRun
from rlhf.runs.storage import run_artefacts
from tests.factories import policy_runs
from tests.factories.cast import Cast
from tests.harness.browser import SignIn
from tests.rlhf.views.test_views import url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(cast: Cast) -> TrainingRun:
    return policy_runs.made(cast.project)


def test_score_over_the_divergence_comes_first_and_responses_can_be_compared(
    cast: Cast, run: TrainingRun, sign_in: SignIn
) -> None:
    page = sign_in(cast.manager.username, at=url(cast, "run", run.pk), viewport={"width": 1280, "height": 900})
    figure = page.locator(".curves figure").first
    figure.locator("canvas").wait_for()
    assert "Score over √KL" in figure.inner_text()
    assert [entry.inner_text() for entry in figure.locator(".key span").all()] == [
        "held-out prompts",
        "during training",
    ]
    titles = [text.split("\n")[0] for text in page.locator("figure[data-curves] figcaption").all_inner_texts()]
    assert titles == ["Reward and its terms", "KL", "entropy"]
    figure.scroll_into_view_if_needed()
    box = figure.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 20)
    assert figure.locator("output").inner_text() == f"√KL {math.sqrt(16**1.5 / 3):.4g}: 1.2"
    cells = page.locator(".watched").first.locator(".columns > section")
    assert cells.count() == 4
    places = [cell.bounding_box() for cell in cells.all()]
    assert len({round(place["y"]) for place in places if place}) == 1
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    with page.expect_download() as download:
        page.get_by_role("link", name="Score over √KL (SVG)").click()
    assert download.value.suggested_filename == f"reward-kl-run-{run.pk}.svg"


def test_curves_tell_their_values_in_the_readers_language(cast: Cast, run: TrainingRun, sign_in: SignIn) -> None:
    cast.manager.language = "zh-hans"
    cast.manager.save()
    page = sign_in(cast.manager.username, at=url(cast, "run", run.pk), viewport={"width": 1280, "height": 900})
    figure = page.locator("figure[data-searched*=entropy]")
    figure.locator("canvas").wait_for()
    figure.scroll_into_view_if_needed()
    box = figure.locator(".u-over").bounding_box()
    assert box is not None
    expect(figure.locator("output")).to_have_text("第 16 步：1")
    page.mouse.move(box["x"] + 1, box["y"] + 20)
    expect(figure.locator("output")).to_have_text("第 1 步：1.938")


def test_a_page_left_open_shows_what_the_run_made_once_it_ends(cast: Cast, run: TrainingRun, sign_in: SignIn) -> None:
    TrainingRun.objects.filter(pk=run.pk).update(status="queued", result={})
    samples = run_artefacts.shown(run).samples
    lines = samples.read_text(encoding="utf-8").splitlines(keepends=True)
    samples.write_text("".join(line for line in lines if json.loads(line)["step"] == 0), encoding="utf-8")
    page = sign_in(cast.manager.username, at=url(cast, "run", run.pk))
    made = page.locator("#made")
    expect(made).to_contain_text("Before training")
    expect(made).not_to_contain_text("Step 16")
    samples.write_text("".join(lines), encoding="utf-8")
    TrainingRun.objects.filter(pk=run.pk).update(status="succeeded", result=run.result)
    expect(made).to_contain_text("Step 16")
    expect(made).not_to_have_attribute("hx-get", re.compile(""))
