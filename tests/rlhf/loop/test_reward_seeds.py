"""Reward models of several seeds: trained alike, found again as siblings, asked together by the queue and by PPO."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from django.db import transaction

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import Snapshot
from models_core.modeling import heads, loading
from models_core.rl.rewards.reward_models import RewardModels
from rlhf.loop import active_learning, prompts, versions
from rlhf.models import AcquisitionScore, ModelVersion, RunInput, TrainingRun
from rlhf.runs import launch
from rlhf.runs.execution import run_command, supervisor
from rlhf.runs.execution.run_files import RunFiles
from tests.factories.cast import Cast, judge, make_comparison, make_prompt, response_ids
from tests.rlhf.conftest import make_judgments
from tests.rlhf.views.test_views import as_user, form_data, url


@pytest.fixture(scope="session")
def folders(tiny_model: Path) -> list[Path]:
    """Two random reward models on one random trunk, in the data folder."""
    made = []
    for seed in (1, 2):
        model = loading.new_reward_model(tiny_model, device="cpu", dtype=torch.float32, seed=seed)
        made.append(tiny_model.with_name(f"seed-{seed}"))
        loading.save_reward_model(made[-1], model, loading.load_tokenizer(tiny_model))
    return made


def snapshot_of(cast: Cast, *questions: str) -> Snapshot:
    """Of all judgments so far, and of one of each of these questions."""
    for question in questions:
        task = make_comparison(cast.project, question, ("Yes.", "No."))
        assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert assignment is not None
        judge(assignment, [[key] for key in response_ids(task)])
    return snapshots.freeze(project=cast.project, kind="rankings", by=cast.manager)


@pytest.fixture
def seeds(cast: Cast, base: ModelVersion, folders: list[Path]) -> list[ModelVersion]:
    """The models of two runs that differ in their seed alone, the first in use."""
    started = launch.start_seeds(
        project=cast.project,
        seeds=2,
        by=cast.manager,
        config={"epochs": 2},
        snapshot=snapshot_of(cast, "Is 1 prime?", "Is 2 prime?"),
    )
    return [ended(run, folder) for run, folder in zip(started, folders, strict=True)]


def prompts_of(cast: Cast, count: int) -> None:
    for number in range(count):
        make_prompt(cast.project, f"Say {number}.")


def ended(run: TrainingRun, folder: Path) -> ModelVersion:
    """As a worker leaves the run."""
    with transaction.atomic():
        version = versions.register(run, kind="reward", folder=folder.name, sha256="", metrics={"accuracy": 0.7})
    TrainingRun.objects.filter(pk=run.pk).update(status="succeeded", produced=version)
    return version


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_sent")
class TestTraining:
    def test_runs_of_several_seeds_share_all_but_the_seed(self, cast: Cast, base: ModelVersion) -> None:
        make_judgments(cast, 2)
        made = launch.start_seeds(project=cast.project, seeds=3, by=cast.manager, config={"seed": 7, "epochs": 2})
        assert [run.config for run in made] == [{"seed": seed, "epochs": 2} for seed in (7, 8, 9)]
        assert len({run.snapshot_id for run in made}) == Snapshot.objects.count() == 1
        with pytest.raises(Refused, match="Choose from 1 to 16 seeds"):
            launch.start_seeds(project=cast.project, seeds=17, by=cast.manager, config={})

    def test_siblings_differ_in_their_seed_alone(self, cast: Cast, seeds: list[ModelVersion]) -> None:
        snapshot = TrainingRun.objects.get(produced=seeds[0]).snapshot
        others: dict[str, dict[str, Any]] = {
            "other settings": {"config": {"seed": 5, "epochs": 3}, "snapshot": snapshot},
            "other data": {"config": {"seed": 5, "epochs": 2}, "snapshot": snapshot_of(cast, "Is 3 prime?")},
            "other model": {
                "config": {"seed": 5, "epochs": 2},
                "snapshot": snapshot,
                "inputs": {RunInput.Role.MODEL: versions.base(cast.project, name="another")},
            },
        }
        for given in others.values():
            ended(launch.start(project=cast.project, stage="reward", by=cast.manager, **given), Path("elsewhere"))
        waiting = launch.start(
            project=cast.project, stage="reward", by=None, config={"seed": 6, "epochs": 2}, snapshot=snapshot
        )
        assert waiting.produced is None
        assert [versions.other_seeds(version) for version in seeds] == [[seeds[1]], [seeds[0]]]

    def test_the_form_asks_for_seeds_and_the_command_too(self, cast: Cast, base: ModelVersion) -> None:
        make_judgments(cast, 2)
        client = as_user("manager", cast)
        reply = client.post(url(cast, "new_run", "reward"), form_data(cast, "reward", seeds="3"))
        assert (reply.status_code, reply["Location"]) == (302, url(cast, "training"))
        assert [run.seed for run in TrainingRun.objects.order_by("pk")] == [0, 1, 2]
        reply = client.post(url(cast, "new_run", "reward"), form_data(cast, "reward", seeds="17"))
        assert reply.status_code == 400
        call_command("train", cast.project.slug, "reward", seeds=2, stdout=(said := StringIO()), stderr=StringIO())
        assert [json.loads(line)["status"] for line in said.getvalue().splitlines()] == ["queued", "queued"]
        assert TrainingRun.objects.count() == 5
        with pytest.raises(CommandError, match="--seeds is for reward"):
            call_command("train", cast.project.slug, "sft", seeds=2)


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_sent")
class TestPPO:
    def test_all_are_named_to_the_command_in_their_order(
        self, cast: Cast, seeds: list[ModelVersion], folders: list[Path]
    ) -> None:
        prompts_of(cast, 12)
        run = launch.start(
            project=cast.project, stage="ppo", by=cast.manager, config={"batch_size": 2},
            inputs={RunInput.Role.REWARD: seeds[1]}, ensemble=[seeds[0], seeds[1], seeds[0]],
        )  # fmt: skip
        files = RunFiles(run)
        files.make()
        (files.inputs / "prompts.jsonl").unlink(missing_ok=True)
        arguments = run_command.prepare(run, files, heartbeat=lambda: None).arguments
        assert arguments[arguments.index("--reward") + 1] == f"{folders[1]},{folders[0]}"
        assert run.run_inputs.filter(role=RunInput.Role.ENSEMBLE).count() == 1

    def test_what_any_of_them_learned_from_is_not_asked(
        self, cast: Cast, seeds: list[ModelVersion], folders: list[Path]
    ) -> None:
        """The second one learned from prompts that the first one never saw."""
        other = launch.start(
            project=cast.project,
            stage="reward",
            by=None,
            config={"seed": 1},
            snapshot=snapshot_of(cast, *(f"Is {n} even?" for n in range(8))),
        )
        later = ended(other, folders[1])
        prompts_of(cast, 20)
        of_first, of_both = (
            prompts.for_ppo(cast.project, rewards=rewards, enough=1).rows for rewards in (seeds[:1], [seeds[0], later])
        )
        learned = {
            json.dumps(json.loads(line)["prompt"])
            for line in snapshots.data_file(other.snapshot, "train").read_text().splitlines()
        }
        assert learned
        assert {json.dumps(row["prompt"]) for row in of_both} == {
            json.dumps(row["prompt"]) for row in of_first
        } - learned

    def test_they_are_chosen_in_the_form_and_named_to_the_command(self, cast: Cast, seeds: list[ModelVersion]) -> None:
        client = as_user("manager", cast)
        assert "Further reward models of the ensemble" in client.get(url(cast, "new_run", "ppo")).content.decode()
        data = form_data(cast, "ppo", reward=str(seeds[0].pk), ensemble=[str(seeds[1].pk)])
        assert client.post(url(cast, "new_run", "ppo"), data).status_code == 302
        call_command(
            "train", cast.project.slug, "ppo", reward="reward-1, reward-2", stdout=StringIO(), stderr=StringIO()
        )
        for run in TrainingRun.objects.filter(stage="ppo"):
            given = {(item.role, item.version) for item in run.run_inputs.all()}
            assert {("reward", seeds[0]), ("ensemble", seeds[1])} <= given
        shown = client.get(url(cast, "run", run.pk)).content.decode()
        assert "Further reward model of the ensemble" in shown

    def test_only_reward_models_are_asked_and_only_where_one_is(
        self, cast: Cast, base: ModelVersion, seeds: list[ModelVersion]
    ) -> None:
        with pytest.raises(Refused, match="can't be the further reward model of the ensemble"):
            launch.start(project=cast.project, stage="ppo", by=None, config={}, ensemble=[base])
        with pytest.raises(Refused, match="This stage uses no reward model"):
            launch.start(project=cast.project, stage="reward", by=None, config={}, ensemble=seeds)
        with pytest.raises(CommandError, match="There is no model 'reward-9'"):
            call_command("train", cast.project.slug, "ppo", reward="reward-1,reward-9")
        assert not TrainingRun.objects.filter(stage="ppo").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
@pytest.mark.usefixtures("embedded_broker")
def test_the_queue_is_put_in_the_order_of_their_disagreement(
    cast: Cast, seeds: list[ModelVersion], folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither has heads that could disagree, but they do with each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    versions.promote(seeds[0], by=cast.manager)
    made = [
        make_comparison(cast.project, f"Is {n} prime?", ("Yes.", "No, never.", "It depends.")) for n in range(12, 24)
    ]
    client = as_user("manager", cast)
    assert (
        "1 reward model that differs in its seed alone scores with it."
        in client.get(url(cast, "active_learning")).content.decode()
    )
    run = active_learning.start(project=cast.project, by=cast.manager)
    TrainingRun.objects.filter(pk=run.pk).update(config=run.config | {"precision": "fp32"})
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == (TrainingRun.Status.SUCCEEDED, "")
    reward_models = RewardModels.load(
        ",".join(map(str, folders)), device=torch.device("cpu"), dtype=torch.float32, max_length=1024, budget=10_000
    )
    chosen = {choice.task_id: choice.disagreement for choice in AcquisitionScore.objects.all()}
    assert len(chosen) > 3
    for task in made:
        if task.pk in chosen:
            ((*scores,),) = reward_models.head_scores(
                [(task.prompt.messages, [r.text for r in task.responses.order_by("pk")])]
            )
            assert chosen[task.pk] == pytest.approx(heads.disagreement(torch.stack(scores)), rel=1e-3)


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_sent")
def test_one_without_other_seeds_says_so(cast: Cast, seeds: list[ModelVersion]) -> None:
    versions.promote(seeds[0], by=cast.manager)
    TrainingRun.objects.filter(produced=seeds[1]).update(config={"epochs": 5})
    make_comparison(cast.project, "Is 5 prime?", ("Yes.", "No."))
    assert not active_learning.can_disagree(seeds[0])
    with pytest.raises(Refused, match="several that differ in their seed alone"):
        active_learning.start(project=cast.project, by=None)
