"""Curves in a real browser: search, smoothing, zoom, tables, several runs overlaid, an address that shows the same."""

import math
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from rlhf.models import RunMetric, TrainingRun
from tests.factories.cast import Cast
from tests.harness.browser import SignIn
from tests.rlhf.views.test_views import url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def two(cast: Cast) -> list[TrainingRun]:
    found = []
    for seed in (1, 2):
        run = TrainingRun.objects.create(
            project=cast.project,
            stage="sft",
            status="succeeded",
            config={"epochs": seed},
            result={"eval_loss": 1 / seed},
        )
        rows = [("loss", step, 2 / (1 + step / 100) + math.sin(seed * step) / 8) for step in range(1, 1001)]
        rows += [("eval_loss", step, 2 / (seed + step / 100)) for step in range(100, 1001, 100)]
        rows += [("tokens_per_s", step, 1e3 + step) for step in range(1, 1001)]
        RunMetric.objects.bulk_create(
            RunMetric(run=run, name=name, step=step, value=value) for name, step, value in rows
        )
        found.append(run)
    return found


def chart(page: Page, title: str) -> Locator:
    figure = page.locator("figure[data-curves]").filter(has=page.locator("figcaption", has_text=title)).first
    figure.locator("canvas").wait_for()
    return figure


def test_two_runs_are_overlaid_and_the_address_shows_the_same_again(
    cast: Cast, two: list[TrainingRun], sign_in: SignIn
) -> None:
    page = sign_in(cast.manager.username, at=url(cast, "training"), viewport={"width": 1440, "height": 900})
    for run in two:
        page.get_by_label(f"Compare run {run.pk}", exact=True).check()
    page.get_by_role("button", name="Compare ticked runs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare runs")
    loss = chart(page, "loss")
    first = two[1].pk  # the newest is the first in the table
    last = {run.pk: 2 / 11 + math.sin(seed * 1000) / 8 for seed, run in enumerate(two, start=1)}
    said = f"step 1000: run {first} loss {last[first]:.4g} · run {first} eval loss"
    expect(loss.locator("output")).to_contain_text(said)
    expect(page.locator("#differences tbody tr, section[aria-labelledby=differences] tbody tr")).to_have_count(1)

    page.get_by_label("Search metrics").fill("tokens")
    expect(page.locator("figure[data-curves]:visible")).to_have_count(1)
    page.get_by_label("Search metrics").fill("")
    page.get_by_label("Logarithmic scale").check()
    page.get_by_label("Smoothing").fill("0.9")
    page.wait_for_load_state("networkidle")
    loss.scroll_into_view_if_needed()
    box = loss.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30, steps=4)
    page.mouse.up()
    expect(page.get_by_label("Steps from")).not_to_have_value("")
    page.wait_for_load_state("networkidle")
    low, high = (int(page.locator(f"[name={name}]").input_value()) for name in ("low", "high"))
    assert (abs(low - 250) < 20, abs(high - 500) < 20) == (True, True)
    loss.get_by_text("Table").click()
    expect(loss.locator("tbody th").first).to_have_text(str(low))
    expect(loss.locator("tbody th").last).to_have_text(str(high))

    again = page.context.new_page()
    again.goto(page.url)
    copied = chart(again, "loss")
    expect(copied.locator("output")).to_have_text(loss.locator("output").inner_text())
    expect(again.get_by_label("Logarithmic scale")).to_be_checked()
    expect(again.get_by_label("Smoothing")).to_have_value("0.9")
    box = copied.locator(".u-over").bounding_box()
    again.mouse.dblclick(box["x"] + 50, box["y"] + 30)
    expect(again.get_by_label("Steps from")).to_have_value("")
    expect(copied.locator("output")).to_contain_text(said)


def test_another_run_is_laid_over_a_runs_page(cast: Cast, two: list[TrainingRun], sign_in: SignIn) -> None:
    page = sign_in(cast.manager.username, at=url(cast, "run", two[0].pk), viewport={"width": 1280, "height": 720})
    expect(chart(page, "loss").locator("output")).to_contain_text("step 1000: loss")
    page.get_by_text("Overlay other runs").first.click()
    page.get_by_label(f"run {two[1].pk}", exact=True).check()
    page.get_by_role("button", name="Show", exact=True).click()
    expect(chart(page, "loss").locator("output")).to_contain_text(f"run {two[1].pk} loss")
    expect(page).to_have_url(re.compile(f"with={two[1].pk}"))
