"""The rolling mode: judgments reach the reward model while people label. With real children on a tiny model."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as hone
from django.utils import timezone

from annotate.data import snapshots
from annotate.models import AuditEvent, Judgment, Prompt, Snapshot, Task
from models_core.contract.rows import trained_prompts
from rlhf.loop import loop, prompts, versions
from rlhf.loop.rolling import rolling_page, training_rows, updates, version_retention
from rlhf.models import Iteration, LoopSettings, ModelVersion, RollingUpdate, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.execution import supervisor
from rlhf.runs.execution.run_files import RunFiles
from tests.factories.cast import Cast
from tests.rlhf.conftest import TINY, make_judgments

pytestmark = pytest.mark.usefixtures("nothing_sent")


@pytest.fixture
def settings_of_loop(cast: Cast, base: ModelVersion) -> LoopSettings:
    return LoopSettings.objects.create(
        project=cast.project, rolling=True, rolling_judgments=4, rolling_minutes=30, rolling_keep=2, reward_config=TINY
    )


def judge_train_prompts(cast: Cast, count: int, *, first: int) -> None:
    """Judgments of train prompts, whatever the hash of their prompts says."""
    make_judgments(cast, count, first=first)
    num_new = [f"What is {number} plus one?" for number in range(first, first + count)]
    mine = [prompt.pk for prompt in Prompt.objects.all() if prompt.messages[0]["content"] in num_new]
    Prompt.objects.filter(pk__in=mine).update(split="train")


def trained(update: RollingUpdate) -> RollingUpdate:
    """Its run, by a real child."""
    supervisor.execute(update.run_id)
    update.run.refresh_from_db()
    assert update.run.status == "succeeded", f"{update.run.error} {update.run.activity} {update.run.log}"
    updates.conclude(update)
    update.refresh_from_db()
    return update


def ids(path: Any) -> set[str]:
    return {json.loads(line)["id"] for line in path.read_text().splitlines()}


def next_update() -> RollingUpdate:
    (update,) = updates.start_due()
    return update


@pytest.mark.django_db(transaction=True)
def test_judgments_reach_the_reward_model_while_people_label(
    cast: Cast, settings_of_loop: LoopSettings, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MODELS_CORE_DISABLE_KERNELS", "all")  # compiling them takes longer than training
    judge_train_prompts(cast, 3, first=0)
    assert updates.start_due() == []  # too few
    judge_train_prompts(cast, 1, first=3)
    first = next_update()
    assert (first.source, first.new_judgments, first.run.config["seed"]) == (None, 4, 0)
    assert updates.start_due() == []  # one at a time
    make_judgments(cast, 1, first=100)  # meanwhile, and held out
    Prompt.objects.filter(pk=Task.objects.latest("pk").prompt_id).update(split="validation")
    trained(first)
    assert first.state == "in_use"
    one = first.run.produced
    assert versions.active_reward(cast.project) == one
    page = rolling_page.of(cast.project)
    newest = Judgment.objects.filter(task__prompt__split="train").latest("created_at")
    assert (page.reward, page.newest_at, page.num_new) == (one, newest.created_at, 0)

    # Warm: from the first one, on what is new to it and as much that isn't.
    judge_train_prompts(cast, 4, first=10)
    second = trained(next_update())
    assert (second.state, second.source, second.new_judgments) == ("in_use", one, 4)
    inputs = RunFiles(second.run).inputs
    new = {f"judgment-{key}" for key in Judgment.objects.order_by("-pk").values_list("pk", flat=True)[:4]}
    learned, before = ids(inputs / "rankings.jsonl"), ids(snapshots.data_file(first.run.snapshot, "train"))
    assert new <= learned <= new | before
    assert len(learned) == 8
    assert ids(inputs / "held_out.jsonl") & learned == set()
    assert len(ids(inputs / "held_out.jsonl")) == 1
    two = second.run.produced
    assert two.parents.get() == one
    assert versions.reference(two) == base
    # The prompts of both are known to PPO, and to the model's folder.
    assert prompts._trained_prompts(two) == {prompt.content_hash for prompt in Prompt.objects.filter(split="train")}
    assert len(trained_prompts.read(hone.HONE_DATA / two.folder)) == 8

    # A third one: the first one's files go, the figures stay.
    judge_train_prompts(cast, 4, first=20)
    third = trained(next_update())
    first.refresh_from_db()
    assert (third.state, one.has_files, two.has_files, first.files_removed_at is not None) == (
        "in_use",
        False,
        True,
        True,
    )
    assert first.run.result["rankings"] == 4
    assert AuditEvent.objects.filter(verb="rolling.files_removed").count() == 1
    assert version_retention.prune(cast.project) == []


def judged_once(cast: Cast, settings_of_loop: LoopSettings) -> tuple[ModelVersion, RollingUpdate]:
    """A reward model in use, and an update that is queued: no child."""
    judge_train_prompts(cast, 4, first=0)
    first = next_update()
    end(first.run, accuracy=0.7)
    updates.conclude(first)
    judge_train_prompts(cast, 4, first=10)
    return first.run.produced, next_update()


def end(run: TrainingRun, **result: Any) -> None:
    lease = runs.claim(run_id=run.pk, worker="somewhere/1/2")
    assert lease is not None
    folder = f"runs/{run.pk}/run/model"
    (hone.HONE_DATA / folder).mkdir(parents=True, exist_ok=True)
    runs.succeed(
        lease,
        result=result,
        register=lambda: versions.register(run, kind="reward", folder=folder, sha256="", metrics=result),
    )
    run.refresh_from_db()


def test_few_judgments_are_learned_from_after_some_time(cast: Cast, settings_of_loop: LoopSettings) -> None:
    judge_train_prompts(cast, 4, first=0)
    first = next_update()
    end(first.run, accuracy=0.7)
    updates.conclude(first)
    Judgment.objects.update(created_at=timezone.now() - timedelta(hours=1))
    judge_train_prompts(cast, 1, first=10)
    page = rolling_page.of(cast.project)
    judged = Judgment.objects.latest("pk").created_at
    assert (page.num_new, page.due_at) == (1, judged + timedelta(minutes=30))
    assert updates.start_due() == []
    Judgment.objects.filter(created_at=judged).update(created_at=timezone.now() - timedelta(minutes=31))
    Snapshot.objects.update(created_at=timezone.now() - timedelta(minutes=40))
    assert next_update().new_judgments == 1


@pytest.mark.parametrize(
    ("accuracy", "state", "reason"),
    [
        (0.7, "in_use", {}),
        (0.52, "rejected", {"code": "rolling_gate", "values": {"value": "0.52", "bound": "0.6"}}),
        (None, "rejected", {"code": "rolling_not_measured", "values": {}}),
    ],
)
def test_an_update_below_the_gate_is_not_put_into_use(
    cast: Cast, settings_of_loop: LoopSettings, accuracy: float | None, state: str, reason: dict[str, Any]
) -> None:
    before, update = judged_once(cast, settings_of_loop)
    LoopSettings.objects.update(gates={"newest_accuracy": 0.6, "reward_accuracy": 0.55})
    end(update.run, accuracy=accuracy)
    updates.conclude(update)
    update.refresh_from_db()
    assert (update.state, update.reason) == (state, reason)
    assert versions.active_reward(cast.project) == (update.run.produced if state == "in_use" else before)
    # The same again would bring the same.
    assert updates.start_due() == []


def test_an_update_that_a_round_has_overtaken_is_not_put_into_use(cast: Cast, settings_of_loop: LoopSettings) -> None:
    _, update = judged_once(cast, settings_of_loop)
    other = ModelVersion.objects.create(project=cast.project, kind="reward", number=9, folder="runs/x")
    versions.promote(other, by=cast.manager)
    end(update.run, accuracy=0.9)
    updates.conclude(update)
    update.refresh_from_db()
    assert (update.state, update.reason["code"], versions.active_reward(cast.project)) == (
        "rejected", "rolling_superseded", other,
    )  # fmt: skip


def test_no_update_begins_while_a_round_trains_one_or_the_loop_is_paused(
    cast: Cast, settings_of_loop: LoopSettings
) -> None:
    judge_train_prompts(cast, 4, first=0)
    iteration = Iteration.objects.create(project=cast.project, number=1, step="reward")
    assert updates.start_due() == []
    Iteration.objects.filter(pk=iteration.pk).update(step="ppo")
    loop.pause(project=cast.project, by=cast.manager)
    assert updates.start_due() == []
    loop.resume(project=cast.project, by=cast.manager)
    update = next_update()
    runs.request_cancel(run=update.run, by=cast.manager)
    assert updates.start_due() == []  # it has failed, and is not begun again at once
    update.refresh_from_db()
    assert update.state == "failed"
    judge_train_prompts(cast, 4, first=10)
    assert next_update().new_judgments == 8


def test_from_scratch_it_learns_from_all_judgments(
    cast: Cast, settings_of_loop: LoopSettings, base: ModelVersion
) -> None:
    LoopSettings.objects.update(rolling_start="scratch")
    _, update = judged_once(cast, settings_of_loop)
    inputs = {item.role: item.version for item in update.run.run_inputs.all()}
    assert (update.source, inputs, update.run.snapshot.filters) == (None, {"model": base}, {})
    assert update.run.stage == Stage.REWARD


def test_after_many_warm_starts_it_begins_from_all_judgments_again(
    cast: Cast, settings_of_loop: LoopSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "MOST_WARM", 1)
    _, second = judged_once(cast, settings_of_loop)
    assert second.source is not None
    end(second.run, accuracy=0.7)
    updates.conclude(second)
    judge_train_prompts(cast, 4, first=20)
    assert next_update().source is None


def test_old_and_new_rows_are_mixed_in_equal_numbers() -> None:
    def row(key: int, revision: int = 1) -> dict[str, object]:
        return {"id": f"judgment-{key}", "revision": revision}

    earlier = {(f"judgment-{key}", 1): row(key) for key in range(1, 9)}
    mixed = training_rows.mixed([row(8), row(9), row(10), row(3, revision=2)], earlier, seed=1)
    new, old = mixed[3:], mixed[:3]
    assert new == [row(9), row(10), row(3, revision=2)]
    assert all(each in earlier.values() for each in old)
    assert training_rows.mixed([row(8)], earlier, seed=1) == [row(8)]
    assert training_rows.recent([row(9), row(10), row(2), row(10)], most=2) == [row(9), row(10)]
