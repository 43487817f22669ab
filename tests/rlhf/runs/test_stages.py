"""What a run of a stage is given: a fine-tuning with its child process, on demonstrations from the database."""

import json
from pathlib import Path
from typing import Any

import pytest

from annotate.data import imports, snapshots
from annotate.errors import Refused
from annotate.models import Prompt, Response, Snapshot
from rlhf.models import ModelVersion, TrainingRun
from rlhf.runs import launch
from rlhf.runs.execution import supervisor
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.registry import STAGE_SPECS
from tests.factories.cast import Cast
from tests.models_core import recipe_runs
from tests.rlhf.conftest import TINY, assert_labeled, make_judgments

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("embedded_broker"),
    pytest.mark.any_database,
]


def snapshot_of(cast: Cast, tmp_path: Path, *, count: int, **filters: object) -> Snapshot:
    """Demonstrations as a manager imports them, frozen."""
    rows = [
        {"id": str(n), "prompt": recipe_runs.chat(f"say {n}"), "response": "ab" * (n % 4 + 1)} for n in range(count)
    ]
    imports.import_file(project=cast.project, path=recipe_runs.write(tmp_path / "rows.jsonl", rows), by=cast.manager)
    return snapshots.freeze(project=cast.project, kind="demonstrations", by=cast.manager, filters=filters)


def sft_run(cast: Cast, snapshot: Snapshot) -> TrainingRun:
    return launch.start(project=cast.project, stage="sft", by=cast.manager, config=dict(TINY), snapshot=snapshot)


def test_fine_tuning_learns_from_the_train_prompts_and_is_measured_on_the_others(
    cast: Cast, base: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = sft_run(cast, snapshot_of(cast, tmp_path, count=30))
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == (TrainingRun.Status.SUCCEEDED, "")
    in_training = Prompt.objects.filter(project=cast.project, split="train").count()
    result = RunFiles(run).result()["metrics"]
    assert (result["demonstrations"], result["held_out"]) == (in_training, 30 - in_training)
    assert 0 < in_training < 30
    assert result["eval_loss"] > 0
    assert ModelVersion.objects.get(run=run).metrics["eval_loss"] == result["eval_loss"]
    assert_labeled(run)


def test_where_no_prompt_is_held_out_yet_the_run_says_what_it_measures_on(
    cast: Cast, base: ModelVersion, tmp_path: Path
) -> None:
    snapshot = snapshot_of(cast, tmp_path, count=30, splits=["train"])
    run = sft_run(cast, snapshot)
    files = RunFiles(run)
    files.make()
    command = STAGE_SPECS["sft"].data(run, files, lambda: None)
    assert list(command.files) == ["--data"]
    assert [note.code for note in command.notes] == ["no_held_out_demonstration"]
    assert json.loads(command.files["--data"].read_text().splitlines()[0])["response"].startswith("ab")


def test_a_reward_model_is_given_the_responses_that_put_its_scores_on_a_scale(
    cast: Cast, base: ModelVersion, tmp_path: Path
) -> None:
    """Train prompts' alone, once there are enough; a resumed run gets the same files."""
    make_judgments(cast, 3)
    judgments = snapshots.freeze(project=cast.project, kind="rankings", by=cast.manager)
    run = launch.start(project=cast.project, stage="reward", by=cast.manager, config=dict(TINY), snapshot=judgments)
    files = RunFiles(run)
    files.make()
    assert not {"--demonstrations", "--samples"} & set(STAGE_SPECS["reward"].data(run, files, lambda: None).files)

    snapshot_of(cast, tmp_path, count=40)
    train = Prompt.objects.filter(project=cast.project, split="train", demonstrations__isnull=False)
    for prompt in Prompt.objects.filter(project=cast.project, demonstrations__isnull=False):
        Response.objects.create(prompt=prompt, text="sampled", author=base.author)
    second = launch.start(project=cast.project, stage="reward", by=cast.manager, config=dict(TINY), snapshot=judgments)
    files = RunFiles(second)
    files.make()
    given = STAGE_SPECS["reward"].data(second, files, lambda: None).files
    rows = {
        flag: list(map(json.loads, given[flag].read_text().splitlines())) for flag in ("--demonstrations", "--samples")
    }
    asked = {prompt.messages[0]["content"] for prompt in train}
    assert {row["prompt"][0]["content"] for row in rows["--demonstrations"]} == asked
    assert {row["prompt"][0]["content"] for row in rows["--samples"]} == asked
    assert {response["text"] for row in rows["--samples"] for response in row["responses"]} == {"sampled"}
    Response.objects.create(prompt=train[0], text="later", author=base.author)
    assert "later" not in STAGE_SPECS["reward"].data(second, files, lambda: None).files["--samples"].read_text()


def test_ppo_is_told_to_keep_prompts_that_its_reward_model_knows_where_others_are_too_few(
    cast: Cast, base: ModelVersion
) -> None:
    """Chosen on purpose, and said; else the recipe would leave them out by itself."""
    make_judgments(cast, 3)
    Prompt.objects.filter(project=cast.project).update(split="train")
    judgments = snapshots.freeze(project=cast.project, kind="rankings", by=cast.manager)
    trained = launch.start(project=cast.project, stage="reward", by=cast.manager, config=dict(TINY), snapshot=judgments)
    files = RunFiles(trained)
    files.make()
    STAGE_SPECS["reward"].data(trained, files, lambda: None)
    reward = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/0/run/model")
    TrainingRun.objects.filter(pk=trained.pk).update(produced=reward)
    found = {}
    for batch_size in (1, 64):
        imports.import_file(
            project=cast.project,
            path=recipe_runs.write(
                files.inputs / "new.jsonl", [{"id": "n", "prompt": recipe_runs.chat("something new")}]
            ),
            by=cast.manager,
        )
        Prompt.objects.filter(project=cast.project).update(split="train")
        run = launch.start(
            project=cast.project, stage="ppo", by=cast.manager, config={"batch_size": batch_size},
            inputs={"reward": reward},
        )  # fmt: skip
        own = RunFiles(run)
        own.make()
        data = STAGE_SPECS["ppo"].data(run, own, lambda: None)
        found[batch_size] = (len(data.files["--data"].read_text().splitlines()), data.settings, bool(data.notes))
    assert found == {1: (1, {}, False), 64: (4, {"reward_train_overlap": "keep"}, True)}


def test_the_operator_names_the_server_for_rollouts_and_no_run_does(
    cast: Cast, base: ModelVersion, settings: Any
) -> None:
    make_judgments(cast, 3)
    reward = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/0/run/model")
    common: dict[str, Any] = {"project": cast.project, "stage": "ppo", "by": cast.manager, "inputs": {"reward": reward}}
    for config in ({"rollout_server": "http://10.0.0.1/v1"}, {"rollout_server_folder": "/"}, {"rollouts_ahead": 1}):
        with pytest.raises(Refused, match="HONE_ROLLOUT_SERVER"):
            launch.start(**common, config=config)
    settings.HONE_ROLLOUT_SERVER = "http://gpu1:8000/v1"
    run = launch.start(**common, config={"batch_size": 1, "rollouts_ahead": 1})
    files = RunFiles(run)
    files.make()

    def given() -> dict[str, Any]:
        return dict(STAGE_SPECS["ppo"].data(run, files, lambda: None).settings)

    assert given() == {"rollout_server": "http://gpu1:8000/v1", "rollout_server_folder": ""}
    settings.HONE_ROLLOUT_SERVER_FOLDER = "/mnt/hone"
    assert given()["rollout_server_folder"] == f"/mnt/hone/runs/{run.pk}/run"
    settings.HONE_ROLLOUT_SERVER = ""
    run.config["rollout_server"] = "http://10.0.0.1/v1"  # as of a loop, whose settings were stored by another way
    assert given() == {"rollout_server": ""}
