"""A PPO run's page in a real browser: the curve over the divergence, and answers side by side."""

import math
import shutil

import pytest

from rlhf.models import RunMetric, Stage, TrainingRun
from rlhf.run_files import RunFiles
from tests.browser import SignIn
from tests.cast import Cast

from .test_ppo_page import leave, line
from .test_views import url

pytestmark = pytest.mark.django_db(transaction=True)

QUESTIONS = ("What is a good name for a bakery on a hill?", "Explain in two sentences why the sky is blue.")
ANSWERS = (
    "A good name for a bakery says bakery. You could take the name of the hill, or of the street.",
    "Hilltop Bread. It says where you are and what you sell.",
    "Hilltop Bread! It is a wonderful, wonderful, wonderful name.",
)


@pytest.fixture
def run(cast: Cast) -> TrainingRun:
    made = TrainingRun.objects.create(
        project=cast.project,
        stage=Stage.PPO,
        status="succeeded",
        result={"score": 1.2, "stopped_by": "kl_ceiling", "best_step": 10},
    )
    shutil.rmtree(RunFiles(made).path, ignore_errors=True)
    points = []
    for step in range(1, 17):
        values = {
            "kl": step**1.5 / 3,
            "score": math.log1p(step),
            "reward/length": -step / 50,
            "entropy": 2.0 - step / 16,
        }
        points += [RunMetric(run=made, name=name, step=step, value=value) for name, value in values.items()]
    for step, score in ((0, 0.0), (5, 1.4), (10, 1.9), (16, 1.2)):
        points.append(RunMetric(run=made, name="eval_kl", step=step, value=step**1.5 / 3))
        points.append(RunMetric(run=made, name="eval_score", step=step, value=score))
    RunMetric.objects.bulk_create(points)
    rows = []
    for step in (0, 5, 10, 16):
        for number, question in enumerate(QUESTIONS):
            asked = [{"role": "user", "content": question}]
            reason = "length" if step == 0 else "stop"
            text = ANSWERS[min(step // 5, 2)]
            rows.append(line(step, number, prompt=asked, response=text, finish_reason=reason))
    leave(made, *rows)
    RunFiles(made).frontier.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return made


def test_score_over_the_divergence_comes_first_and_answers_can_be_compared(
    cast: Cast, run: TrainingRun, sign_in: SignIn
) -> None:
    page = sign_in(cast.manager.username, at=url(cast, "run", run.pk), viewport={"width": 1280, "height": 900})
    figure = page.locator(".curves figure").first
    figure.locator("canvas").wait_for()
    assert "Score over √KL" in figure.inner_text()
    assert [entry.inner_text() for entry in figure.locator(".key span").all()] == [
        "held-out prompts",
        "while it learned",
    ]
    assert page.locator(".curves canvas").count() == 1 + 6
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
        page.get_by_role("link", name="Score over √KL as a file (SVG)").click()
    assert download.value.suggested_filename == f"reward-kl-run-{run.pk}.svg"
