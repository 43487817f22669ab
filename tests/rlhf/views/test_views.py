"""Pages of training, models and the loop: who may open them, and what their buttons do."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import AuditEvent
from rlhf.forms.run_form import RunForm
from rlhf.forms.stage_settings import SettingsForm
from rlhf.loop import versions
from rlhf.models import Iteration, LoopSettings, ModelVersion, Stage, TrainingRun
from rlhf.runs import failures, launch, runs
from tests.factories.cast import Cast
from tests.harness.markup import markup
from tests.rlhf.conftest import make_judgments

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def messages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runs, "send", lambda task, *arguments, queue="default": sent.append((task, *arguments, queue)))
    return sent


@pytest.fixture
def reward(cast: Cast, base: ModelVersion) -> ModelVersion:
    return ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/1/run/model")


def as_user(name: str, cast: Cast) -> Client:
    client = Client()
    client.force_login(getattr(cast, name), backend="annotate.people.backends.PasswordBackend")
    return client


def url(cast: Cast, name: str, *arguments: Any) -> str:
    return reverse(f"rlhf:{name}", args=[cast.project.slug, *arguments])


PAGES = [
    ("training",),
    ("checkpoints",),
    ("models",),
    ("loop",),
    ("new_run", "reward"),
    ("new_run", "ppo"),
    ("new_run", "sft"),
]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("user", "status"),
    [("manager", 200), ("researcher", 200), ("admin", 200), ("labeler", 403), ("reviewer", 403), ("outsider", 404)],
)
def test_researchers_and_managers_see_the_pages_and_nobody_else(
    cast: Cast, base: ModelVersion, page: tuple[str, ...], user: str, status: int
) -> None:
    assert as_user(user, cast).get(url(cast, *page)).status_code == status


@pytest.mark.parametrize(("user", "status"), [("labeler", 403), ("outsider", 404)])
def test_what_changes_something_is_refused_to_others(
    queued: Any, cast: Cast, base: ModelVersion, user: str, status: int
) -> None:
    run = queued()
    for name, arguments in [
        ("new_run", ["reward"]), ("cancel_run", [run.pk]), ("resume_run", [run.pk]), ("sample", []),
        ("promote", [base.pk]), ("roll_back", [base.pk]), ("start_loop", []), ("loop_settings", []),
        ("cancel_round", [1]),
    ]:  # fmt: skip
        assert as_user(user, cast).post(url(cast, name, *arguments)).status_code == status
    run.refresh_from_db()
    assert run.status == "queued"
    assert TrainingRun.objects.count() == 1


def test_a_run_of_another_project_is_not_found_through_ones_own(queued: Any, cast: Cast) -> None:
    run = queued()
    client = as_user("outsider", cast)
    for name in ("run", "metrics", "cancel_run", "resume_run"):
        address = reverse(f"rlhf:{name}", args=[cast.other_project.slug, run.pk])
        assert (client.post if name.endswith("_run") else client.get)(address).status_code == 404


def test_a_failed_run_is_read_in_chinese_with_its_settings_and_numbers(queued: Any, cast: Cast) -> None:
    cast.manager.__class__.objects.filter(pk=cast.manager.pk).update(language="zh-hans")
    client = as_user("manager", cast)
    pages = []
    for reason in (
        failures.of_exception(OSError("no such disk")),
        failures.of_child(returncode=2, failure={"message": "There is no model folder /no/where."}),
    ):
        run = queued()
        lease = runs.claim(run_id=run.pk, worker="w/1/2")
        assert lease is not None
        runs.record_metrics(lease, [(2, "gradient_norm", 0.5)])
        runs.fail(lease, reason)
        pages.append(markup(client.get(url(cast, "run", run.pk))))
    known, unknown = pages
    assert "无法读取或写入文件：no such disk。" in known
    assert "There is no model folder /no/where." in unknown
    assert '<dt>最多新词元数<code lang="en">max_new_tokens</code></dt><dd>4</dd>' in known
    assert "<dt>梯度范数</dt><dd>0.5</dd>" in known
    # The figures that a run is known by stand first, and the others behind a fold once it has ended.
    result = {"kl": 1.5, "accuracy": 0.75, "loss": 0.5, "eval_loss": 0.25, "tau_b": 0.125}
    TrainingRun.objects.filter(pk=run.pk).update(result=result)
    first, _, folded = markup(client.get(url(cast, "run", run.pk))).partition('id="numbers"')
    assert [value in first for value in ("0.75", "1.5", "0.5<", "0.25", "0.125")] == [True, True, True, False, False]
    assert "0.25" in folded
    assert "0.125" in folded
    form = client.get(url(cast, "new_run", "reward")).content.decode()
    assert '批大小 <code lang="en">batch_size</code>' in form


def test_runs_of_live_chats_are_listed_apart(queued: Any, cast: Cast) -> None:
    training, turn = queued(), queued(queue="live", options={"samples": 2, "requests": [1]})
    page = as_user("manager", cast).get(url(cast, "training")).content.decode()
    assert url(cast, "run", training.pk) in page
    assert url(cast, "run", turn.pk) not in page
    assert '<a href="?show=live">1 live chat turn</a>' in markup(page)
    page = as_user("manager", cast).get(url(cast, "training") + "?show=live").content.decode()
    assert url(cast, "run", training.pk) not in page
    assert url(cast, "run", turn.pk) in page
    assert "Responses for a live chat." in as_user("manager", cast).get(url(cast, "run", turn.pk)).content.decode()


def test_the_list_is_looked_at_again_while_a_run_goes_on(queued: Any, cast: Cast) -> None:
    run = queued()
    assert 'hx-trigger="every 5s"' in as_user("manager", cast).get(url(cast, "training")).content.decode()
    runs.request_cancel(run=run, by=cast.manager)
    assert 'hx-trigger="every 5s"' not in as_user("manager", cast).get(url(cast, "training")).content.decode()


def form_data(cast: Cast, stage: str, **changes: Any) -> dict[str, Any]:
    form = RunForm(project=cast.project, stage=stage)
    data = {name: form.initial.get(name, "") for name in form.fields}
    return {name: value for name, value in (data | changes).items() if value is not None and value is not False}


def test_a_run_is_launched_with_only_the_settings_that_were_changed(
    cast: Cast, base: ModelVersion, messages: list[Any]
) -> None:
    reply = as_user("manager", cast).post(url(cast, "new_run", "reward"), form_data(cast, "reward", set_epochs="3"))
    run = TrainingRun.objects.get()
    assert (reply.status_code, reply["Location"]) == (302, url(cast, "run", run.pk))
    assert (run.stage, run.config, run.created_by) == ("reward", {"epochs": 3}, cast.manager)
    assert [item.version for item in run.run_inputs.all()] == [base]
    assert run.snapshot is not None
    assert ("rlhf.execute_run", run.pk, "cpu") in messages


def test_a_setting_out_of_range_is_told_at_its_field_and_starts_nothing(cast: Cast, base: ModelVersion) -> None:
    reply = as_user("manager", cast).post(url(cast, "new_run", "reward"), form_data(cast, "reward", set_epochs="0"))
    assert reply.status_code == 400
    assert "greater than or equal to 1" in reply.content.decode()
    assert not TrainingRun.objects.exists()


def test_ppo_without_a_reward_model_says_what_to_do_first(cast: Cast, base: ModelVersion) -> None:
    reply = as_user("manager", cast).post(url(cast, "new_run", "ppo"), form_data(cast, "ppo"))
    assert reply.status_code == 400
    assert "Kindness has no reward model yet. Train one first." in reply.content.decode()


def test_another_projects_model_can_not_be_chosen(cast: Cast, base: ModelVersion) -> None:
    foreign = versions.base(cast.other_project)
    reply = as_user("manager", cast).post(url(cast, "new_run", "reward"), form_data(cast, "reward", model=foreign.pk))
    assert reply.status_code == 400


@pytest.mark.parametrize("stage", ["sft", "reward", "ppo", "sample", "evaluate"])
def test_every_setting_of_every_stage_has_its_field_and_the_defaults_are_valid(stage: str) -> None:
    form = SettingsForm(stage=stage)
    data = {name: value for name, value in form.initial.items() if value is not False}
    bound = SettingsForm(data, stage=stage)
    assert bound.is_valid(), bound.errors
    assert bound.config() == {}
    assert len(bound.first_settings()) + len(bound.further_settings()) == len(bound.fields)


def test_a_run_is_followed_as_a_page_as_a_fragment_and_as_numbers(queued: Any, cast: Cast) -> None:
    run = queued()
    client = as_user("researcher", cast)
    page = client.get(url(cast, "run", run.pk)).content.decode()
    assert "No worker consumes the queue" in page
    assert 'hx-trigger="every 2s"' in page
    assert '<noscript><meta http-equiv="refresh"' in markup(page)

    lease = runs.claim(run_id=run.pk, worker="w/1/2")
    assert lease is not None
    runs.record_metrics(lease, [(1, "loss", 0.7), (2, "loss", 0.6), (2, "accuracy", 0.5)])
    runs.renew(lease, progress=0.5, activity="learning", log="step 2\n")
    fragment = client.get(
        url(cast, "run", run.pk), headers={"HX-Request": "true", "HX-Target": "live"}
    ).content.decode()
    assert "<html" not in fragment
    assert "50%" in fragment
    numbers = client.get(url(cast, "metrics", run.pk)).json()
    assert numbers == {
        "series": {str(run.pk): {"loss": [[1, 2], [0.7, 0.6]], "accuracy": [[2], [0.5]]}},
        "names": ["loss", "accuracy"],
        "ended": False,
    }

    runs.fail(lease, StoredMessage("process_message", {"message": "rankings.jsonl, line 3: <b>not</b> valid JSON."}))
    page = client.get(url(cast, "run", run.pk)).content.decode()
    assert "line 3: &lt;b&gt;not&lt;/b&gt; valid JSON." in page
    assert 'hx-trigger="every' not in page.split('id="live"')[1]
    assert client.get(url(cast, "metrics", run.pk)).json()["ended"] is True


def test_cancel_by_button(queued: Any, cast: Cast) -> None:
    run = queued()
    client = as_user("manager", cast)
    assert client.get(url(cast, "cancel_run", run.pk)).status_code == 405
    client.post(url(cast, "cancel_run", run.pk))
    run.refresh_from_db()
    assert run.status == "cancelled"
    again = client.post(url(cast, "cancel_run", run.pk), follow=True)
    assert "This run has ended already" in again.content.decode()


def in_use_now(cast: Cast) -> dict[str, str]:
    """What the page that asks for a confirmation holds."""
    return {"instead_of": str(versions.active_policy(cast.project).pk)}


def test_promote_and_roll_back_by_button_are_audited(cast: Cast, base: ModelVersion) -> None:
    policies = [
        ModelVersion.objects.create(project=cast.project, kind="policy", number=n, folder=f"runs/{n}") for n in (1, 2)
    ]
    client = as_user("researcher", cast)
    for policy in policies:
        client.post(url(cast, "promote", policy.pk), in_use_now(cast))
        assert versions.active_policy(cast.project) == policy
    for expected in (policies[0], base):
        client.post(url(cast, "roll_back", versions.active_policy(cast.project).pk), in_use_now(cast))
        assert versions.active_policy(cast.project) == expected
    said = client.post(url(cast, "roll_back", base.pk), follow=True).content.decode()
    assert "No other model was in use before base 1." in said
    verbs = list(AuditEvent.objects.filter(subject_type="modelversion").order_by("pk").values_list("verb", "actor"))
    researcher = cast.researcher.pk
    assert verbs == [("model.promoted", researcher)] * 2 + [("model.rolled_back", researcher)] * 2


def test_the_versions_of_a_promotion_are_links(cast: Cast, base: ModelVersion) -> None:
    policy = ModelVersion.objects.create(
        project=cast.project, kind="policy", number=1, folder="runs/1", metrics={"score": 0.5}
    )
    client = as_user("researcher", cast)
    links = [f'href="{url(cast, "model", version.pk)}">{version.label}</a>' for version in (policy, base)]
    question = client.get(url(cast, "promote", policy.pk)).content.decode()
    assert [question.count(link) for link in links] == [1, 1]
    client.post(url(cast, "promote", policy.pk), in_use_now(cast))
    page = client.get(url(cast, "models")).content.decode()
    history = page[page.index('id="history"') :]
    # The base model was put into use before.
    assert [history.count(link) for link in links] == [1, 2]


def test_a_reward_model_is_promoted_beside_the_policy(cast: Cast, base: ModelVersion, reward: ModelVersion) -> None:
    as_user("manager", cast).post(url(cast, "promote", reward.pk), {"instead_of": ""})
    assert (versions.active_policy(cast.project), versions.active_reward(cast.project)) == (base, reward)


def test_sample_by_button(cast: Cast, base: ModelVersion) -> None:
    client = as_user("manager", cast)
    client.post(url(cast, "sample"), {"prompts": 5, "samples": 3})
    run = TrainingRun.objects.get()
    assert (run.stage, run.options, list(run.inputs.all())) == ("sample", {"samples": 3, "prompts": 5}, [base])
    said = client.post(url(cast, "sample"), {"prompts": 5, "samples": 1}, follow=True).content.decode()
    assert "Responses per prompt:" in said
    assert TrainingRun.objects.count() == 1


def test_sample_by_the_form_of_a_run_with_all_settings(cast: Cast, base: ModelVersion, reward: ModelVersion) -> None:
    """Its seed is the next one, so that the same prompts get new responses; a clone begins with the same one."""
    launch.start(project=cast.project, stage="sample", by=None, config={})
    sent = RunForm(project=cast.project, stage="sample", preset="quick_try").sent_as_it_is().data.dict()
    assert (sent["set_seed"], sent["samples"], sent["prompts"]) == ("1", "4", "64")
    client = as_user("manager", cast)
    changed = {"prompts": "3", "order": "random", "reward": str(reward.pk), "set_best_of": "2"}
    reply = client.post(url(cast, "new_run", "sample"), sent | changed)
    run = TrainingRun.objects.latest("pk")
    assert reply.headers["Location"] == url(cast, "run", run.pk)
    assert run.options == {"samples": 4, "prompts": 3, "order": "random"}
    settings = {"seed": 1, "best_of": 2, "max_new_tokens": 32, "max_length": 256, "batch_size": 16}
    assert (run.preset, run.config) == ("quick_try", settings)
    assert {item.role: item.version for item in run.run_inputs.all()} == {"model": base, "reward": reward}
    page = client.get(url(cast, "new_run", "sample") + f"?clone={run.pk}").content.decode()
    assert "None yet: this would be the same run again." in page
    assert f"?clone={run.pk}" in client.get(url(cast, "run", run.pk)).content.decode()
    live = runs.enqueue(
        project=cast.project, stage="sample", config={}, options={"requests": [1]}, inputs={"model": base}, by=None
    )
    assert client.get(url(cast, "new_run", "sample") + f"?clone={live.pk}").status_code == 404
    assert "?clone=" not in client.get(url(cast, "run", live.pk)).content.decode()


def test_candidates_are_chosen_from_by_the_reward_model_in_use(cast: Cast, base: ModelVersion) -> None:
    start = {"project": cast.project, "stage": "sample", "by": None}
    with pytest.raises(Refused, match="has no reward model yet"):
        launch.start(config={"best_of": 2}, **start)
    with pytest.raises(Refused, match="no such order of prompts"):
        launch.start(config={}, order="oldest", **start)
    with pytest.raises(Refused, match="are for sampling"):
        launch.start(config={}, prompts=4, **(start | {"stage": "sft"}))
    model = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/1/run/model")
    call_command("train", "kindness", "sample", "--prompts", "7", "--set", "best_of=2", stdout=StringIO())
    run = TrainingRun.objects.get()
    assert (run.options["prompts"], run.run_inputs.get(role="reward").version) == (7, model)
    other = ModelVersion.objects.create(project=cast.project, kind="reward", number=2, folder="runs/2/run/model")
    ensemble = launch.start(config={"best_of": 2}, inputs={"reward": model}, ensemble=[other], **start)
    assert ensemble.run_inputs.get(role="ensemble").version == other


def test_a_running_run_says_when_it_ends(cast: Cast, queued: Any) -> None:
    run = queued()
    assert runs.claim(run_id=run.pk, worker="w") is not None
    client = as_user("manager", cast)
    assert "Expected to end" not in client.get(url(cast, "run", run.pk)).content.decode()
    TrainingRun.objects.update(progress=0.25, started_at=timezone.now() - timedelta(minutes=10))
    assert "Expected to end in about 30 minutes." in client.get(url(cast, "run", run.pk)).content.decode()


def test_rounds_are_started_once_and_cancelled(cast: Cast, base: ModelVersion) -> None:
    client = as_user("manager", cast)
    said = client.post(url(cast, "start_loop"), {"rounds": 1}, follow=True).content.decode()
    assert "There are no judgments to train on yet. Rank some responses first." in said
    make_judgments(cast, 2)
    client.post(url(cast, "start_loop"), {"rounds": 2})
    said = client.post(url(cast, "start_loop"), {"rounds": 1}, follow=True).content.decode()
    assert "A round is in progress." in said
    iteration = Iteration.objects.get()
    assert (iteration.number, iteration.rounds_left, iteration.started_by) == (1, 1, cast.manager)
    client.post(url(cast, "cancel_round", 1))
    iteration.refresh_from_db()
    assert (iteration.state, iteration.reason) == ("cancelled", "Cancelled manually.")
    assert "has ended already" in client.post(url(cast, "cancel_round", 1), follow=True).content.decode()


def test_the_rules_of_the_loop_are_saved_whole_or_not_at_all(cast: Cast, base: ModelVersion) -> None:
    from rlhf.forms.loop_forms import LoopSettingsForm

    form = LoopSettingsForm(instance=LoopSettings(project=cast.project))
    data = {field.html_name: field.value() for group in [form, *form.stage_forms.values()] for field in group}
    data = {name: value for name, value in data.items() if value is not None and value is not False}
    changed = {"judgments_per_round": 50, "gate_reward_accuracy": "0.6", "ppo_config-set_episodes": "128"}
    client = as_user("manager", cast)
    assert client.post(url(cast, "loop_settings"), data | changed | {"ppo_config-set_episodes": "0"}).status_code == 400
    for name in ("judgments_per_round", "prompts_per_round"):
        refused = client.post(url(cast, "loop_settings"), data | changed | {name: "0"})
        assert refused.status_code == 400
        assert "Ensure this value is greater than or equal to 1." in refused.content.decode()
    assert not LoopSettings.objects.exists()
    assert client.post(url(cast, "loop_settings"), data | changed).status_code == 302
    policy = LoopSettings.objects.get()
    assert (policy.judgments_per_round, policy.gates, policy.enabled) == (50, {"reward_accuracy": 0.6}, False)
    assert (policy.reward_config, policy.ppo_config, policy.sampling) == ({}, {"episodes": 128}, {})


def test_the_rules_say_what_stops_a_round(cast: Cast, base: ModelVersion) -> None:
    said = as_user("manager", cast).get(url(cast, "loop")).content.decode()
    assert "A round stops at the first gate that it fails" in said
    cast.manager.language = "zh-hans"
    cast.manager.save()
    assert "一轮在未满足界限的第一个门槛处停止" in as_user("manager", cast).get(url(cast, "loop")).content.decode()


def test_labeler_weights_that_cannot_be_read_are_refused_where_they_are_entered(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 2)
    for text in ("anna", "anna=much", "anna=-1", "=2", "anna=1,anna=2"):
        with pytest.raises(Refused, match=r"The setting labeler_weights (takes NAME=WEIGHT|names 'anna' twice)"):
            launch.start(project=cast.project, stage="reward", by=None, config={"labeler_weights": text})
    form = RunForm({"set_labeler_weights": "anna"}, project=cast.project, stage="reward")
    assert not form.is_valid()
    assert not TrainingRun.objects.exists()


def test_the_command_names_the_stages_that_there_are(cast: Cast, base: ModelVersion) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("train", cast.project.slug, "nostage")
    assert "'nostage' (choose from 'pretrain', 'sft', 'reward', 'ppo', 'dpo', 'distil', 'evaluate', 'sample')" in str(
        caught.value
    )
    with pytest.raises(
        Refused, match="no stage 'score' to start; there are pretrain, sft, reward, ppo, dpo, distil, evaluate, sample"
    ):
        launch.start(project=cast.project, stage=Stage.SCORE, by=None, config={})


def test_a_version_that_there_is_not_becomes_no_base_model_of_that_name(cast: Cast, base: ModelVersion) -> None:
    with pytest.raises(CommandError, match="There is no model 'policy-7' in"):
        call_command("train", cast.project.slug, "sft", "--model", "policy-7")
    assert list(cast.project.model_versions.all()) == [base]


def test_the_notice_of_the_base_model_shows_how_far_it_is_and_goes(cast: Cast, settings: Any) -> None:
    import fcntl
    import json

    settings.HONE_BASE_MODEL = "smollm2-135m-instruct"
    store = settings.HONE_DATA / "models"
    store.mkdir(exist_ok=True)
    client = as_user("labeler", cast)
    address = reverse("rlhf:model_status")
    assert Client().get(address).status_code == 302
    assert client.get(address).content.strip() == b""
    progress = store / "smollm2-135m-instruct.progress.json"
    progress.write_text(json.dumps({"state": "downloading", "done": 43, "total": 100, "error": ""}))
    with (store / ".smollm2-135m-instruct.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = client.get(address).content.decode()
    assert "Downloading the base model, 43%" in said
    assert 'hx-trigger="every 2s"' in said
    assert "could not be downloaded: The fetch was interrupted." in client.get(address).content.decode()
    progress.unlink()


def test_admin_shows_runs_and_models_and_changes_none(queued: Any, cast: Cast) -> None:
    run = queued()
    client = as_user("admin", cast)
    for model in ("trainingrun", "modelversion", "runmetric", "iteration", "loopsettings", "workerheartbeat"):
        assert client.get(reverse(f"admin:rlhf_{model}_changelist"), {"q": "kind"}).status_code == 200
        assert client.get(reverse(f"admin:rlhf_{model}_add")).status_code == 403
    assert client.get(reverse("admin:rlhf_trainingrun_change", args=[run.pk])).status_code == 200
    assert (
        client.post(reverse("admin:rlhf_trainingrun_change", args=[run.pk]), {"status": "succeeded"}).status_code == 403
    )
