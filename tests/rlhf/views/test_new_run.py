"""The form of a new run: presets, clones, what it says before the start, and what a started run remembers of it."""

import dataclasses
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from models_core.contract.errors import BadInput
from models_core.contract.settings import STAGES, parse, presets, subjects
from rlhf.forms.run_form import RunForm
from rlhf.models import ModelVersion, TrainingRun, WorkerHeartbeat
from rlhf.runs import launch
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.planning import differences
from rlhf.runs.runs import Origin
from rlhf.runs.stages import pretrain
from tests.factories.cast import Cast
from tests.harness.markup import markup
from tests.rlhf.conftest import make_judgments
from tests.rlhf.views.test_views import as_user, form_data, url

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]
ESTIMATE = {"HX-Request": "true", "HX-Target": "estimate"}


@pytest.fixture
def reward(cast: Cast, base: ModelVersion) -> ModelVersion:
    return ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/1/run/model")


@pytest.mark.parametrize("stage", STAGES)
def test_every_setting_has_one_subject(stage: str) -> None:
    names = list(STAGES[stage].__dataclass_fields__)
    found = [name for _subject, members in subjects.grouped(names) for name in members]
    assert sorted(found) == sorted(names)


def test_a_setting_without_effect_is_told_by_the_value_of_another() -> None:
    assert subjects.has_effect("lora_rank", {"method": "qlora"})
    assert not subjects.has_effect("lora_rank", {"method": "full"})
    assert subjects.has_effect("margin_scale", {})
    for name, (other, values) in subjects.ONLY_WITH.items():
        for settings in STAGES.values():
            if name in (fields := settings.__dataclass_fields__):
                assert set(values) <= set(fields[other].metadata["choices"])


def test_every_preset_can_be_started(cast: Cast, base: ModelVersion) -> None:
    for name, stage in [(preset, each) for each in STAGES for preset in presets.for_stage(each)]:
        parsed = parse(STAGES[stage], presets.of(name, stage))
        sent = RunForm(project=cast.project, stage=stage, preset=name).sent_as_it_is()
        assert sent.is_valid(), sent.errors
        assert differences.resolved(stage, sent.config()) == dataclasses.asdict(parsed)


def test_a_preset_says_what_it_does_for_the_stage_alone() -> None:
    said = {stage: [preset.help for preset in presets.for_stage(stage).values()] for stage in STAGES}
    for training in ("Trains a few percent", "fine-tuning"):
        assert any(training in text for text in said["reward"])
        assert not any(training in text for stage in ("evaluate", "pretrain") for text in said[stage])


def test_an_input_that_is_missing_takes_no_other_ones_default_away(cast: Cast, base: ModelVersion) -> None:
    fields = RunForm(project=cast.project, stage="ppo").fields
    assert {name: fields[name].empty_label for name in ("model", "reference", "reward")} == {
        "model": "Base model 1 (default)",
        "reference": "Base model 1 (default)",
        "reward": "None yet: train one first",
    }


def test_instructgpt_is_what_the_paper_says() -> None:
    ppo = parse(STAGES["ppo"], presets.of("instructgpt", "ppo"))
    assert (ppo.episodes, ppo.batch_size, ppo.batch_size // ppo.minibatches) == (256_000, 512, 64)  # type: ignore[attr-defined]
    assert (ppo.kl_coef, ppo.clip_range, ppo.ptx_coef, ppo.ptx_ratio) == (0.02, 0.2, 27.8, 8.0)  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match="no preset 'x' for reward; there are instructgpt, quick_try, laptop, one_gpu"):
        presets.of("x", "reward")


def test_one_click_fills_in_a_preset_and_the_run_remembers_it(cast: Cast, base: ModelVersion) -> None:
    client = as_user("manager", cast)
    page = markup(client.get(url(cast, "new_run", "reward") + "?preset=instructgpt"))
    assert '<a class="card" href="?preset=instructgpt" aria-current="true">' in page
    assert page.count('aria-current="true"') == 1
    assert 'name="set_batch_size" value="64" min="1" max="65536"' in page
    assert '<th scope="row">' in page.split('id="estimate"')[1]
    form = RunForm(project=cast.project, stage="reward", preset="instructgpt").sent_as_it_is()
    client.post(url(cast, "new_run", "reward"), form.data)
    run = TrainingRun.objects.get()
    assert (run.preset, run.config["batch_size"], run.config["learning_rate"]) == ("instructgpt", 64, 9e-6)
    assert "<dt>Preset</dt><dd>InstructGPT</dd>" in markup(client.get(url(cast, "run", run.pk)))


def test_the_preset_of_a_method_shows_the_learning_rate_that_the_run_will_have(cast: Cast, base: ModelVersion) -> None:
    form = RunForm(project=cast.project, stage="sft", preset="laptop")
    assert form["set_learning_rate"].value() == pytest.approx(2e-4)
    assert form["set_method"].value() == "lora"


@pytest.mark.parametrize("query", ["preset=no", "clone=x", "clone=9", f"clone={2**64}"])
def test_what_is_not_there_begins_no_form(query: str, cast: Cast, base: ModelVersion) -> None:
    assert as_user("manager", cast).get(url(cast, "new_run", "reward") + "?" + query).status_code == 404


def test_a_clone_begins_with_the_settings_models_and_data_and_shows_what_is_changed(
    cast: Cast, base: ModelVersion, reward: ModelVersion
) -> None:
    source = launch.start(
        project=cast.project, stage="ppo", by=None, config={"kl_coef": 0.1, "episodes": 64}, ptx=pretrain.PROJECT_TEXTS
    )
    client = as_user("manager", cast)
    address = url(cast, "new_run", "ppo") + f"?clone={source.pk}"
    assert "None yet: this would be the same run again." in client.get(address).content.decode()
    sent = RunForm(project=cast.project, stage="ppo", clone=source).sent_as_it_is().data.dict()
    sent |= {"set_kl_coef": "0.2", "set_whiten_rewards": "on", "ptx": ""}
    estimate = client.post(url(cast, "new_run", "ppo"), sent, headers=ESTIMATE)
    rows = [
        "<td>0.1</td><td>0.2</td>",
        "<td>no</td><td>yes</td>",
        "<td>project</td><td>–</td>",
    ]
    assert estimate.status_code == 200
    assert [row for row in rows if row not in markup(estimate)] == []
    assert TrainingRun.objects.count() == 1

    client.post(url(cast, "new_run", "ppo"), sent)
    run = TrainingRun.objects.latest("pk")
    assert (run.cloned_from, run.options) == (source, {})
    assert run.config == {"kl_coef": 0.2, "episodes": 64, "whiten_rewards": True}
    page = markup(client.get(url(cast, "run", run.pk)))
    assert f"<h3>Changes from run {source.pk}</h3>" in page
    assert [row for row in rows if row not in page] == []
    assert [item.role for item in run.run_inputs.order_by("role")] == ["model", "reference", "reward"]


def test_a_clone_of_a_run_whose_data_are_not_frozen_yet_asks_for_a_new_snapshot(cast: Cast, base: ModelVersion) -> None:
    source = launch.start(project=cast.project, stage="reward", by=None, config={})
    form = RunForm(project=cast.project, stage="reward", clone=source).sent_as_it_is()
    assert form.is_valid(), form.errors
    assert [row.after for row in form.changes_from_clone() or []] == ["A new snapshot of the current data"]


def test_a_run_of_another_project_or_stage_is_not_cloned(queued: Any, cast: Cast, base: ModelVersion) -> None:
    run = queued()
    client = as_user("manager", cast)
    assert client.get(url(cast, "new_run", "reward") + f"?clone={run.pk}").status_code == 404
    assert client.get(url(cast, "new_run", "sample") + f"?clone={run.pk}").status_code == 200
    reply = client.post(url(cast, "new_run", "reward"), form_data(cast, "reward", cloned_from=run.pk))
    assert (reply.status_code, TrainingRun.objects.count()) == (400, 1)


def test_what_cannot_start_is_said_while_one_types_and_starts_nothing(cast: Cast, base: ModelVersion) -> None:
    client = as_user("manager", cast)
    address = url(cast, "new_run", "reward")
    said = markup(client.post(address, form_data(cast, "reward", set_epochs="0"), headers=ESTIMATE))
    assert '<a href="#id_set_epochs">' in said
    assert "Ensure this value is greater than or equal to 1." in said
    WorkerHeartbeat.objects.create(
        name="w", queues=["cpu"], seen_at=timezone.now(), capacity={"cores": 2, "memory": 2**30, "disk_free": 2**40}
    )
    said = client.post(address, form_data(cast, "reward", set_processes="3"), headers=ESTIMATE).content.decode()
    assert "3 processes are more than the 2 processor cores of the workers’ machine." in said
    said = client.post(address, form_data(cast, "reward"), headers=ESTIMATE).content.decode()
    assert "1.0\xa0GB of memory" in said
    # Without scripts the button asks for the same.
    page = client.post(address, form_data(cast, "reward", set_processes="3", estimate="1")).content.decode()
    assert "3 processes are more than" in page
    assert not TrainingRun.objects.exists()


def test_nobody_who_may_not_train_gets_an_estimate(cast: Cast, base: ModelVersion) -> None:
    for name, status in (("labeler", 403), ("outsider", 404)):
        reply = as_user(name, cast).post(url(cast, "new_run", "reward"), {}, headers=ESTIMATE)
        assert reply.status_code == status


def test_ptx_text_is_of_the_project_or_a_corpus_file_and_for_ppo_alone(
    cast: Cast, base: ModelVersion, reward: ModelVersion, settings: Any
) -> None:
    from annotate.errors import Refused

    make_judgments(cast, 2)
    run = launch.start(project=cast.project, stage="ppo", by=None, config={}, ptx=pretrain.PROJECT_TEXTS)
    files = RunFiles(run)
    files.make()
    path = pretrain.text_file(run, files, name=run.options["ptx"])
    train = cast.project.prompts.filter(split="train").order_by("pk")
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert texts == ["\n\n".join(message["content"] for message in prompt.messages) for prompt in train]
    with pytest.raises(Refused, match="Text for PPO-ptx is for PPO"):
        launch.start(project=cast.project, stage="reward", by=None, config={}, ptx="project")
    with pytest.raises(Refused, match=r"There is no \.txt or \.jsonl file \.\./hone\.sqlite3"):
        launch.start(project=cast.project, stage="ppo", by=None, config={}, ptx="../hone.sqlite3")


def test_train_begins_with_a_preset_or_a_run_and_set_changes_it(cast: Cast, base: ModelVersion, capsys: Any) -> None:
    slug = cast.project.slug
    call_command("train", slug, "reward", "--preset", "quick_try", "--set", "seed=7", "--priority", "high")
    first = TrainingRun.objects.get()
    assert first.config == {"method": "lora", "epochs": 1, "max_length": 256, "seed": 7}
    assert (first.preset, first.priority) == ("quick_try", TrainingRun.Priority.HIGH)
    call_command("train", slug, "reward", "--clone", str(first.pk), "--set", "epochs=3")
    second = TrainingRun.objects.latest("pk")
    assert second.config == first.config | {"epochs": 3}
    assert (second.cloned_from, second.snapshot) == (first, first.snapshot)
    for arguments, said in [
        (["reward", "--clone", "99999"], "There is no run 99999 in Kindness."),
        (["sft", "--clone", str(first.pk)], f"Run {first.pk} is of the stage reward, not sft."),
        (["evaluate", "--preset", "instructgpt"], "no preset 'instructgpt' for evaluate"),
    ]:
        with pytest.raises(CommandError, match=said):
            call_command("train", slug, *arguments)


def test_a_run_shows_what_repeats_it(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 2)
    run = launch.start(project=cast.project, stage="reward", by=None, config={"seed": 5}, origin=Origin())
    files = RunFiles(run)
    files.make()
    files.run.mkdir()
    (files.run / "run.json").write_text(json.dumps({"versions": {"torch": "2.13.0"}, "revision": "a1b2", "threads": 2}))
    page = markup(as_user("manager", cast).get(url(cast, "run", run.pk)))
    for label, value in (("Seed", "5"), ("Libraries", "torch 2.13.0"), ("Git revision", "a1b2"), ("Threads", "2")):
        assert f"<dt>{label}</dt><dd>{value}</dd>" in page
