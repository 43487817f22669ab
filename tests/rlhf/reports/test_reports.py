"""The page of a reward model's report: who sees it, what it says, what it covers, and how it asks a round to stop."""

import json
import shutil
from typing import Any

import pytest
from django.utils import translation

from annotate.models import Judgment, Prompt, Snapshot
from annotate.rendering import chart_figures
from models_core.contract.reports import verdict_messages
from models_core.reward_report import verdict
from rlhf.loop import loop, versions
from rlhf.models import Iteration, LoopSettings, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.reports import charts, page, stored
from rlhf.runs import launch
from rlhf.runs.execution import run_command
from rlhf.runs.execution.run_files import RunFiles
from tests.factories import reports
from tests.factories.cast import Cast
from tests.rlhf.conftest import make_judgments
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]


@pytest.fixture
def run(cast: Cast) -> TrainingRun:
    version = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/1/run/model")
    made = TrainingRun.objects.create(
        project=cast.project, stage=Stage.REWARD, status="succeeded", produced=version, result={"accuracy": 0.7}
    )
    # Tests share a data folder, and keys begin anew in each.
    shutil.rmtree(RunFiles(made).path, ignore_errors=True)
    return made


@pytest.mark.parametrize(
    ("user", "status"), [("manager", 200), ("researcher", 200), ("labeler", 403), ("reviewer", 403), ("outsider", 404)]
)
def test_who_trains_sees_a_report_and_nobody_else(cast: Cast, run: TrainingRun, user: str, status: int) -> None:
    reports.leave_report(run, reports.made_up(40))
    client = as_user(user, cast)
    assert client.get(url(cast, "report", run.pk)).status_code == status
    assert client.get(url(cast, "report_file", run.pk)).status_code == status


def test_the_report_is_linked_from_its_run_and_from_its_model(cast: Cast, run: TrainingRun) -> None:
    client = as_user("manager", cast)
    address = url(cast, "report", run.pk)
    for name, arguments in (("run", [run.pk]), ("models", [])):
        assert address not in client.get(url(cast, name, *arguments)).content.decode()
    path = reports.leave_report(run, reports.made_up(40))
    verdict = json.loads(path.read_text())["verdict"]["sentence"]
    shown = client.get(url(cast, "run", run.pk)).content.decode()
    assert address in shown
    assert verdict in shown
    assert address in client.get(url(cast, "models")).content.decode()


def test_the_page_says_what_the_report_says(cast: Cast, run: TrainingRun) -> None:
    path = reports.leave_report(run, reports.made_up(), newest=reports.NEWEST)
    report = json.loads(path.read_text())
    client = as_user("researcher", cast)
    shown = client.get(url(cast, "report", run.pk)).content.decode()
    assert report["verdict"]["sentence"] in shown
    for finding in report["verdict"]["findings"]:
        assert finding["sentence"] in shown
    assert f"{100 * report['accuracy']:.1f}%" in shown
    assert "<bdi>kindness/policy-1</bdi>" in shown
    assert "Its accuracy on its own held-out pairs was 74%" in shown
    assert "<strong>Ten</strong> minutes" in shown
    sent = client.get(url(cast, "report_file", run.pk))
    assert b"".join(sent.streaming_content) == path.read_bytes()  # type: ignore[attr-defined]
    assert sent.headers["Content-Disposition"].startswith("attachment")


def test_the_page_speaks_chinese_with_the_names_of_languages(cast: Cast, run: TrainingRun) -> None:
    path = reports.leave_report(run, reports.made_up(70))
    report = json.loads(path.read_text())
    with translation.override("zh-hans"):
        made = page.page_of(report, project=cast.project)
    assert made.verdict.text.startswith("可以用于 PPO")
    assert any("中文" in finding.text for finding in made.findings)
    with translation.override("en"):
        made = page.page_of(report, project=cast.project)
    assert any("are in Chinese" in finding.text for finding in made.findings)


def test_labelers_of_the_project_have_their_names_and_others_stay_pseudonyms(cast: Cast, run: TrainingRun) -> None:
    known = cast.project.pseudonym(cast.labeler.pk)
    reports.leave_report(run, reports.made_up(40, labelers=(known, "labeler-0123456789")))
    shown = as_user("manager", cast).get(url(cast, "report", run.pk)).content.decode()
    assert f"<bdi>{cast.labeler.display_name}</bdi>" in shown
    assert known not in shown
    assert "<bdi>labeler-0123456789</bdi>" in shown


def test_an_example_whose_prompt_may_upset_is_covered(cast: Cast, run: TrainingRun) -> None:
    make_judgments(cast, 4)
    judgments = list(Judgment.objects.order_by("pk"))
    ids = [f"judgment-{judgment.pk}" for judgment in judgments]
    path = reports.leave_report(run, reports.made_up(4, labelers=("ann",), ids=ids, noise=9.0))
    shown = [item["id"] for items in json.loads(path.read_text())["examples"].values() for item in items]
    marked = next(judgment for judgment in judgments if f"judgment-{judgment.pk}" in shown)
    client = as_user("manager", cast)
    assert client.get(url(cast, "report", run.pk)).content.decode().count('<details class="veil"') == 0
    Prompt.objects.filter(pk=marked.task.prompt_id).update(sensitive=True)
    covered = shown.count(f"judgment-{marked.pk}")
    assert client.get(url(cast, "report", run.pk)).content.decode().count('<details class="veil"') == covered >= 1


def test_hostile_names_are_shown_and_do_nothing(cast: Cast, run: TrainingRun) -> None:
    hostile = "<script>window.pwned=1</script>%(x)s"
    reports.leave_report(run, reports.made_up(80, labelers=(hostile, "bob")))
    shown = as_user("manager", cast).get(url(cast, "report", run.pk)).content.decode()
    assert "<script>window" not in shown
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;%(x)s" in shown


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99}', "\xff"])
def test_a_report_that_can_not_be_read_is_none(cast: Cast, run: TrainingRun, text: str) -> None:
    path = reports.leave_report(run, reports.made_up(4))
    path.write_bytes(text.encode("latin-1"))
    client = as_user("manager", cast)
    assert stored.load(run) is None
    for name in ("report", "report_file"):
        reply = client.get(url(cast, name, run.pk))
        assert reply.status_code == 404
    assert client.get(url(cast, "run", run.pk)).status_code == 200


def test_a_report_without_a_pair_says_only_that(cast: Cast, run: TrainingRun) -> None:
    reports.leave_report(run, [])
    shown = as_user("manager", cast).get(url(cast, "report", run.pk)).content.decode()
    assert "Nothing can be said: no held-out judgment puts two responses in an order." in shown


def test_a_run_of_another_project_or_stage_has_no_report(cast: Cast, run: TrainingRun) -> None:
    reports.leave_report(run, reports.made_up(4))
    other = TrainingRun.objects.create(project=cast.project, stage=Stage.SFT, status="succeeded")
    client = as_user("manager", cast)
    assert client.get(url(cast, "report", other.pk)).status_code == 404
    assert client.get(url(cast, "report", 10**9)).status_code == 404


def test_subsets_and_sections_of_a_benchmark_are_tables_with_intervals_and_a_file(cast: Cast, run: TrainingRun) -> None:
    subsets = ("mt-bench-easy", "mt-bench-hard", "donotanswer", "math-prm", "hep-go")
    report = json.loads(reports.leave_report(run, reports.made_up(50, subsets=subsets)).read_text())
    client = as_user("researcher", cast)
    page = " ".join(client.get(url(cast, "report", run.pk)).content.decode().split())
    assert f"mean accuracy over 5 subsets </dt> <dd> {100 * report['subsets']['mean']:.1f}%" in page
    assert f"mean of the four sections</dt> <dd> {100 * report['subsets']['score']:.1f}%" in page
    sections = report["by"]["section"]
    assert [row["name"] for row in sections] == ["Chat", "Chat Hard", "Safety", "Reasoning"]
    for row in sections + report["by"]["subset"]:
        assert f'<bdi>{row["name"]}</bdi></th> <td class="number"> {100 * row["accuracy"]:.1f}%' in page
        assert f"{100 * row['low']:.0f}% – {100 * row['high']:.0f}%" in page
    sent = client.get(url(cast, "report", run.pk), {"csv": "groups"})
    assert sent["Content-Disposition"] == f'attachment; filename="kindness-run-{run.pk}-groups.csv"'
    by, name, accuracy, low, high, pairs, prompts = sent.content.decode().splitlines()[4].split(",")
    assert (by, name, int(pairs), int(prompts)) == ("section", "Reasoning", sections[3]["pairs"], 20)
    assert float(accuracy) == pytest.approx(sections[3]["accuracy"], abs=1e-5)
    assert float(low) == pytest.approx(sections[3]["low"], abs=1e-5)
    assert float(high) == pytest.approx(sections[3]["high"], abs=1e-5)
    assert client.get(url(cast, "report", run.pk), {"csv": "nothing"}).status_code == 404


# ---- charts


def test_the_reliability_curve_lies_where_its_figures_say() -> None:
    row = {"confidence": 0.75, "right": 0.5, "low": 0.25, "high": 1.0, "pairs": 9}
    found = charts.reliability([row, row | {"confidence": 1.0, "right": 1.0, "pairs": 36}])
    middle = (charts.LEFT + charts.WIDTH - charts.RIGHT) / 2
    bottom = charts.HEIGHT - charts.BOTTOM
    first, last = found.points
    assert (float(first.x), float(first.y)) == (middle, (charts.TOP + bottom) / 2)
    assert (float(first.low), float(first.high)) == (bottom - (bottom - charts.TOP) / 4, charts.TOP)
    assert (float(last.x), float(last.y)) == (charts.WIDTH - charts.RIGHT, charts.TOP)
    # A quarter of the pairs, half of what their number adds to the radius.
    assert float(last.radius) - 2.5 == pytest.approx(2 * (float(first.radius) - 2.5), abs=0.1)


def test_histogram_bars_stand_on_the_floor_and_the_tallest_fills_it() -> None:
    found = charts.histogram({"edges": [-1.0, 0.0, 1.0], "best": [1, 4], "worst": [2, 0]})
    bottom = charts.HEIGHT - charts.BOTTOM
    for bar in (*found.best, *found.worst):
        assert float(bar.y) + float(bar.height) == pytest.approx(bottom, abs=0.11)
    assert float(found.best[1].y) == charts.TOP
    assert [tick.text for tick in found.ticks] == ["-1", "-0.5", "0", "0.5", "1"]


def test_coordinates_have_points_in_every_language() -> None:
    with translation.override("de"):
        strip = chart_figures.strip(0.655, 0.6, 0.7)
    assert strip == chart_figures.Strip(at="78.6", low="72.0", width="12.0")
    assert chart_figures.strip(None, None, None) is None


# ---- the reward model before, and the gate


def test_a_reward_model_is_measured_beside_the_one_in_use(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 2)
    first = launch.start(project=cast.project, stage=Stage.REWARD, by=cast.manager, config={})
    assert dict(first.run_inputs.values_list("role", "version")) == {"model": base.pk}
    old = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/1/run/model")
    newer = ModelVersion.objects.create(project=cast.project, kind="reward", number=2, folder="runs/2/run/model")
    second = launch.start(project=cast.project, stage=Stage.REWARD, by=cast.manager, config={})
    assert second.run_inputs.get(role="previous").version == newer
    versions.promote(old, by=None)
    third = launch.start(project=cast.project, stage=Stage.REWARD, by=cast.manager, config={})
    assert third.run_inputs.get(role="previous").version == old
    made = versions.register(third, kind="reward", folder="runs/3/run/model", sha256="", metrics={})
    assert list(made.parents.all()) == [base]


def prepared(cast: Cast, base: ModelVersion, version: ModelVersion) -> run_command.Command:
    make_judgments(cast, 3)
    snapshot = Snapshot.objects.filter(project=cast.project).first()
    run = launch.start(
        project=cast.project, stage=Stage.REWARD, by=cast.manager, config={}, snapshot=snapshot,
        inputs={RunInput.Role.PREVIOUS: version},
    )  # fmt: skip
    files = RunFiles(run)
    files.make()
    return run_command.prepare(run, files, heartbeat=lambda: None)


def test_the_model_before_is_named_in_the_command(cast: Cast, base: ModelVersion, settings: Any) -> None:
    folder = settings.HONE_DATA / "models" / "before"
    folder.mkdir(parents=True, exist_ok=True)
    version = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="models/before")
    arguments = prepared(cast, base, version).arguments
    assert arguments[arguments.index("--previous") + 1] == str(folder)


def test_a_model_before_whose_files_are_gone_stops_no_training(cast: Cast, base: ModelVersion) -> None:
    version = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="models/no-such")
    command = prepared(cast, base, version)
    assert "--previous" not in command.arguments
    assert any(note.code == "previous_reward_model_missing" for note in command.notes)


@pytest.mark.parametrize(
    ("gate", "is_ready", "stops"),
    [
        ("", False, False),
        ("no", False, True), ("no", None, False), ("no", True, False),
        ("unsure", False, True), ("unsure", None, True), ("unsure", True, False),
    ],
)  # fmt: skip
def test_a_round_stops_where_the_report_says_so(
    cast: Cast, base: ModelVersion, run: TrainingRun, gate: str, is_ready: bool | None, stops: bool
) -> None:
    LoopSettings.objects.create(project=cast.project, gates={"reward_report": gate} if gate else {})
    make_judgments(cast, 2)
    iteration = loop.start(project=cast.project, rounds=1, by=cast.manager)
    Iteration.objects.filter(pk=iteration.pk).update(step=Iteration.Step.REWARD)
    said = {"accuracy": 0.6, "ready_for_ppo": is_ready, "verdict": "Not good enough for PPO yet."}
    TrainingRun.objects.filter(pk=run.pk).update(iteration=iteration, result=said)
    loop.advance(iteration.pk)
    iteration.refresh_from_db()
    if stops:
        assert (iteration.state, iteration.reason) == ("stopped", "Not good enough for PPO yet.")
    else:
        assert (iteration.state, iteration.step) == ("active", "ppo")


def test_why_a_round_stopped_is_said_in_the_readers_language(cast: Cast, base: ModelVersion, run: TrainingRun) -> None:
    """With the names that the language has for what the verdict names, and though nobody kept the run's folder."""
    path = reports.leave_report(run, reports.made_up(40))
    shares = {"accuracy": 0.6, "low": 0.55, "high": 0.64, "bar": 0.65, "group_accuracy": 0.5}
    found = verdict.Finding("weak_in", shares | {"group": "zh"}, is_ready=False)
    english = verdict_messages.sentence(found.code, found.values)
    written = {"ready": False, "code": found.code, "values": found.values, "sentence": english, "findings": []}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"verdict": written}))
    LoopSettings.objects.create(project=cast.project, gates={"reward_report": "no"})
    make_judgments(cast, 2)
    iteration = loop.start(project=cast.project, rounds=1, by=cast.manager)
    Iteration.objects.filter(pk=iteration.pk).update(step=Iteration.Step.REWARD)
    said = {"accuracy": 0.6, "ready_for_ppo": False, "verdict": english}
    TrainingRun.objects.filter(pk=run.pk).update(iteration=iteration, result=said)
    loop.advance(iteration.pk)
    shutil.rmtree(RunFiles(run).path)
    iteration.refresh_from_db()
    assert (iteration.state, iteration.reason) == ("stopped", english)

    client = as_user("manager", cast)
    shown = client.get(url(cast, "loop"), headers={"accept-language": "zh-hans"}).content.decode()
    assert "它在中文上最弱（50%）" in shown
    assert english not in shown
    shown = client.get(url(cast, "loop"), headers={"accept-language": "en"}).content.decode()
    assert "It is weakest in Chinese (50%)" in shown


def test_the_gate_is_chosen_on_the_page_of_the_loop(cast: Cast, base: ModelVersion) -> None:
    from rlhf.forms.loop_forms import LoopSettingsForm

    form = LoopSettingsForm(instance=LoopSettings(project=cast.project))
    data = {field.html_name: field.value() for group in [form, *form.stage_forms.values()] for field in group}
    data = {name: value for name, value in data.items() if value is not None and value is not False}
    client = as_user("manager", cast)
    assert client.post(url(cast, "loop_settings"), data | {"gate_reward_report": "maybe"}).status_code == 400
    assert client.post(url(cast, "loop_settings"), data | {"gate_reward_report": "unsure"}).status_code == 302
    assert LoopSettings.objects.get().gates == {"reward_report": "unsure"}
    assert client.post(url(cast, "loop_settings"), data | {"gate_reward_report": ""}).status_code == 302
    assert LoopSettings.objects.get().gates == {}
