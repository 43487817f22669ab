"""What a run's page shows of PPO, what such a run is given, and what no page can name as a reward."""

import json
import shutil

import pytest
from django.template.loader import render_to_string

from annotate.errors import Refused
from annotate.models import Prompt
from rlhf.forms.stage_settings import SettingsForm
from rlhf.models import ModelVersion, RunMetric, Stage, TrainingRun
from rlhf.reports import sample_comparison, stop_reasons
from rlhf.runs import launch
from rlhf.runs.execution import run_command
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.registry import STAGE_SPECS
from tests.factories.cast import Cast, make_prompt
from tests.factories.policy_runs import leave, line
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]


@pytest.fixture
def run(cast: Cast) -> TrainingRun:
    made = TrainingRun.objects.create(project=cast.project, stage=Stage.PPO, status="succeeded", result={"score": 0.7})
    # Tests share a data folder, and keys begin anew in each.
    shutil.rmtree(RunFiles(made).path, ignore_errors=True)
    return made


def test_responses_to_the_same_prompt_stand_side_by_side(cast: Cast, run: TrainingRun) -> None:
    leave(run, *(line(step, number) for step in range(0, 21, 2) for number in range(10)))
    found = sample_comparison.compare_samples(run)
    assert found is not None
    assert (found.steps, len(found.rows), found.is_held_out) == ([0, 6, 14, 20], sample_comparison.MOST_PROMPTS, True)
    watched, cells = found.rows[3]
    assert watched.last == "Question 3?"
    assert [(cell.text, cell.score, cell.kl) for cell in cells if cell] == [
        ("response 3 at 0", 0.0, 1.5), ("response 3 at 6", 0.6, 1.5), ("response 3 at 14", 1.4, 1.5),
        ("response 3 at 20", 2.0, 1.5),
    ]  # fmt: skip
    shown = as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode()
    assert "Responses during training" in shown
    for part in ("Question 3?", "Before training", "Step 14", "response 3 at 14", "score 1.40"):
        assert part in shown
    assert "response 3 at 4" not in shown


def test_a_response_of_spaces_alone_is_called_empty(cast: Cast, run: TrainingRun) -> None:
    leave(run, line(0), line(1, response=" \n\t "))
    assert as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode().count("(empty)") == 1
    pair = {"responses": [{"text": text, "tokens": 1, "score": 0.0} for text in ("One.", " \n ")]}
    assert render_to_string("rlhf/report_example.html", {"example": pair}).count("This response is empty.") == 1


def test_the_responses_of_the_step_that_became_the_model_are_always_shown(cast: Cast, run: TrainingRun) -> None:
    TrainingRun.objects.filter(pk=run.pk).update(result={"best_step": 4})
    run.refresh_from_db()
    leave(run, *(line(step) for step in range(0, 21, 2)))
    found = sample_comparison.compare_samples(run)
    assert found is not None
    assert (found.steps, found.model_step) == ([0, 4, 14, 20], 4)
    shown = as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode()
    assert shown.count("Selected model") == 1
    TrainingRun.objects.filter(pk=run.pk).update(result={"best_step": 20})
    run.refresh_from_db()
    found = sample_comparison.compare_samples(run)
    assert found is not None
    assert found.steps == [0, 6, 14, 20]


def test_lines_that_are_no_responses_are_passed_over_and_hostile_ones_are_text(cast: Cast, run: TrainingRun) -> None:
    broken = [
        '{"step": 1, "id"', "[]", "7", line(1, response=None), line(1, prompt="text"), line(1, prompt=[{"role": 3}]),
        line(1) | {"step": "one"}, "NaN",
    ]  # fmt: skip
    assert sample_comparison.compare_samples(run) is None
    leave(run, *broken)
    assert sample_comparison.compare_samples(run) is None
    hostile = "<script>alert(1)</script>"
    asked = [{"role": "system", "content": hostile}, {"role": "user", "content": hostile}]
    leave(
        run,
        *broken,
        line(0, response=hostile, prompt=asked, score="NaN", logprob=None),
        line(2, response="", prompt=[]),
    )
    shown = as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode()
    assert hostile not in shown
    assert shown.count("&lt;script&gt;") == 3


def test_other_stages_have_no_responses_to_compare(cast: Cast, run: TrainingRun) -> None:
    leave(run, line(0))
    run.stage = Stage.SFT
    assert sample_comparison.compare_samples(run) is None


def test_the_chart_has_score_over_the_root_of_the_divergence(cast: Cast, run: TrainingRun) -> None:
    values = {
        "kl": {1: -0.1, 2: 4.0, 3: 1.0}, "score": {1: 0.5, 2: 0.75, 4: 9.0}, "eval_kl": {0: 0.0, 2: 2.25},
        "eval_score": {0: 0.25, 2: 0.5},
    }  # fmt: skip
    RunMetric.objects.bulk_create(
        RunMetric(run=run, name=name, step=step, value=value)
        for name, points in values.items()
        for step, value in points.items()
    )
    found = as_user("manager", cast).get(url(cast, "metrics", run.pk)).json()
    assert found["reward_kl"] == {
        "iterations": [[0.0, 2.0], [0.5, 0.75]], "held_out": [[0.0, 1.5], [0.25, 0.5]],
    }  # fmt: skip
    TrainingRun.objects.filter(pk=run.pk).update(stage=Stage.SFT)
    assert "reward_kl" not in as_user("manager", cast).get(url(cast, "metrics", run.pk)).json()


@pytest.mark.parametrize(("user", "status"), [("manager", 200), ("labeler", 403), ("outsider", 404)])
def test_the_picture_is_for_those_who_train(cast: Cast, run: TrainingRun, user: str, status: int) -> None:
    address = url(cast, "reward_kl_plot", run.pk)
    assert as_user("manager", cast).get(address).status_code == 404
    assert address not in as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode()
    RunFiles(run).reward_kl_plot.parent.mkdir(parents=True, exist_ok=True)
    RunFiles(run).reward_kl_plot.write_text("<svg/>")
    assert as_user(user, cast).get(address).status_code == status
    if user == "manager":
        reply = as_user(user, cast).get(address)
        assert (reply["Content-Type"], b"".join(reply)) == ("image/svg+xml", b"<svg/>")
        assert reply["Content-Disposition"].startswith("attachment")
        assert address in as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode()


@pytest.mark.parametrize("setting", list(stop_reasons.REASONS))
def test_a_run_that_stopped_itself_says_why_and_which_model_it_left(cast: Cast, run: TrainingRun, setting: str) -> None:
    run.result = {"stopped_by": setting, "stopped_early": "in English"}
    assert stop_reasons.sentence(run).endswith(" The model has the last weights within the bounds.")
    run.result["best_step"] = 15
    run.save()
    sentence = f"{stop_reasons.REASONS[setting]} The model has the weights of step 15, the best on held-out prompts."
    assert sentence in as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode()


def test_a_run_that_went_to_its_end_says_nothing_of_that(run: TrainingRun) -> None:
    run.result = {"stopped_by": None, "best_step": 15}
    assert stop_reasons.sentence(run) == ""


@pytest.mark.parametrize("name", ["os:system", "http://127.0.0.1:8000/v1", "https://judge.example/v1"])
def test_a_function_or_a_server_is_no_reward_of_a_page(cast: Cast, base: ModelVersion, name: str) -> None:
    """Whoever gets such a name into the database does not get it onto a command line."""
    reward = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, base_model=name)
    make_prompt(cast.project, "What is one plus one?")
    Prompt.objects.filter(project=cast.project).update(split="train")
    run = launch.start(
        project=cast.project, stage="ppo", by=cast.manager, config={}, inputs={"reward": reward, "model": base}
    )
    files = RunFiles(run)
    files.make()
    with pytest.raises(Refused, match="names no model"):
        run_command.prepare(run, files, heartbeat=lambda: None)


def test_a_form_has_no_settings_of_judges() -> None:
    form = SettingsForm(stage="ppo")
    assert "set_reward_clip" in form.fields
    assert not {name for name in form.fields if "judge" in name or "server" in name or "served" in name}
    filled = {f"set_{field.name}": form.initial[f"set_{field.name}"] for field in form._shown()}
    asked = SettingsForm(filled | {"set_reward_clip": 2, "set_judge_rubric": "Pass."}, stage="ppo")
    assert asked.is_valid(), asked.errors
    assert asked.config() == {"reward_clip": 2.0}


def test_the_policy_is_measured_on_validation_prompts(cast: Cast, base: ModelVersion) -> None:
    prompts = [make_prompt(cast.project, f"What is {number} plus one?") for number in range(12)]
    ids = [prompt.pk for prompt in prompts]
    Prompt.objects.filter(pk__in=ids[:6]).update(split="train")
    Prompt.objects.filter(pk__in=ids[6:11]).update(split="validation")
    Prompt.objects.filter(pk=ids[11]).update(split="test")
    reward = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/0/run/model")
    run = launch.start(
        project=cast.project, stage="ppo", by=cast.manager, config={"batch_size": 2}, inputs={"reward": reward}
    )
    files = RunFiles(run)
    shutil.rmtree(files.path, ignore_errors=True)
    files.make()
    given = STAGE_SPECS["ppo"].data(run, files, lambda: None).files
    asked = {flag: [json.loads(row)["id"] for row in path.read_text().splitlines()] for flag, path in given.items()}
    assert asked == {"--data": [str(pk) for pk in ids[:6]], "--eval": [str(pk) for pk in ids[6:11]]}

    Prompt.objects.filter(pk=ids[10]).update(split="test")
    shutil.rmtree(files.path)
    files.make()
    assert list(STAGE_SPECS["ppo"].data(run, files, lambda: None).files) == ["--data"]


def test_what_a_run_made_is_sent_again_where_there_is_more(cast: Cast, run: TrainingRun) -> None:
    TrainingRun.objects.filter(pk=run.pk).update(status="queued", result={})
    leave(run, line(0), line(4))
    client, address = as_user("manager", cast), url(cast, "run", run.pk)
    headers = {"HX-Target": "made"}
    assert client.get(f"{address}?step=4", headers=headers).status_code == 204
    more = client.get(f"{address}?step=0", headers=headers).content.decode()
    assert ("Step 4" in more, "<h1" in more, 'hx-get="?step=4"' in more) == (True, False, True)
    TrainingRun.objects.filter(pk=run.pk).update(status="succeeded")
    ended = client.get(f"{address}?step=4", headers=headers)
    assert (ended.status_code, b"hx-get" in ended.content) == (200, False)
    assert client.get(address, headers={"HX-Target": "live"})["HX-Trigger"] == "run-ended"
