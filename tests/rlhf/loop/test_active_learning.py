"""What is labeled next: an ensemble's disagreement puts the queue in order, and a share of it stays at random."""

import json
import uuid
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import AuditEvent, Project, Snapshot, Task
from models_core.modeling import heads, loading
from models_core.rl.rewards.reward_models import RewardModels
from rlhf import tasks
from rlhf.loop import active_learning, loop, versions
from rlhf.models import AcquisitionScore, LoopSettings, ModelVersion, TrainingRun
from rlhf.runs import runs
from rlhf.runs.execution import supervisor
from rlhf.runs.runs import Lease, LeaseLost
from tests.factories.cast import Cast, judge, make_comparison
from tests.rlhf.conftest import make_judgments


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runs, "send", lambda task, *arguments, queue="default": sent.append((task, *arguments, queue)))
    return sent


@pytest.fixture(scope="session")
def ensemble_folder(tiny_model: Path) -> Path:
    """Three random heads on a random trunk, in the data folder."""
    folder = tiny_model.with_name("ensemble")
    model = loading.new_reward_model(tiny_model, device="cpu", dtype=torch.float32, seed=1, head_count=3)
    heads.average(model)
    heads.calibrate(model, shifts=[0.0, 1.0, 2.0], scale=0.5)
    loading.save_reward_model(folder, model, loading.load_tokenizer(tiny_model), reward_shift=1.0, reward_scale=0.5)
    return folder


@pytest.fixture
def reward(cast: Cast, base: ModelVersion, ensemble_folder: Path) -> ModelVersion:
    """An ensemble in use."""
    return ModelVersion.objects.create(
        project=cast.project, kind="reward", number=1, folder=ensemble_folder.name, metrics={"ensemble": 3},
        active=True, promoted_at=timezone.now(),
    )  # fmt: skip


def comparisons(cast: Cast, count: int) -> list[Task]:
    texts = ("Yes.", "No, never.", "It depends on what you mean.")
    return [make_comparison(cast.project, f"Is {number} prime?", texts) for number in range(count)]


def policy(cast: Cast, **values: Any) -> LoopSettings:
    return LoopSettings.objects.create(project=cast.project, **values)


def order_of(ids: set[int]) -> list[int]:
    """In which labelers get these tasks."""
    return [pk for pk in Task.objects.order_by("position").values_list("pk", flat=True) if pk in ids]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("embedded_broker")
def test_a_run_puts_the_queue_in_the_order_of_disagreement(
    cast: Cast, reward: ModelVersion, ensemble_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    policy(cast, random_share=0.3)
    made = comparisons(cast, 30)
    places = {task.pk: Task.objects.get(pk=task.pk).position for task in made}
    run = active_learning.start(project=cast.project, by=cast.manager)
    TrainingRun.objects.filter(pk=run.pk).update(config=run.config | {"precision": "fp32"})
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == (TrainingRun.Status.SUCCEEDED, "")

    free = {
        task.pk
        for task in made
        if task.prompt.split == "train" and not active_learning.is_random(task.pk, project=cast.project, share=0.3)
    }
    assert 8 < len(free) < 26
    assert run.result["tasks"] == len(free)
    chosen = {choice.task_id: choice for choice in AcquisitionScore.objects.all()}
    assert set(chosen) == free
    assert order_of(free) == sorted(free, key=lambda pk: -chosen[pk].disagreement)
    assert [chosen[pk].place for pk in order_of(free)] == list(range(1, len(free) + 1))
    # Against the heads themselves, asked here.
    reward_models = RewardModels.load(
        str(ensemble_folder), device=torch.device("cpu"), dtype=torch.float32, max_length=1024, budget=10_000
    )
    for task in made[:6]:
        if task.pk in free:
            ((*scores,),) = reward_models.head_scores(
                [(task.prompt.messages, [r.text for r in task.responses.order_by("pk")])]
            )
            assert chosen[task.pk].disagreement == pytest.approx(heads.disagreement(torch.stack(scores)), rel=1e-3)
    # The others are where they were, and the same places are taken as before.
    now = {task.pk: Task.objects.get(pk=task.pk).position for task in made}
    assert {pk: now[pk] for pk in places if pk not in free} == {pk: places[pk] for pk in places if pk not in free}
    assert sorted(now.values()) == sorted(places.values())
    assert now != places
    event = AuditEvent.objects.get(verb="queue.rearranged")
    assert (event.actor, event.subject_id, event.detail["tasks"]) == (None, str(run.pk), len(free))

    # The worker died after it had stored all this: the next one finds it done.
    TrainingRun.objects.filter(pk=run.pk).update(status="queued")
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt) == (TrainingRun.Status.SUCCEEDED, 2)
    assert {task.pk: Task.objects.get(pk=task.pk).position for task in made} == now
    assert AuditEvent.objects.filter(verb="queue.rearranged").count() == 1


@pytest.mark.usefixtures("messages")
class TestWhatCanBeAsked:
    def test_without_a_reward_model_there_is_nobody_to_ask(self, cast: Cast, base: ModelVersion) -> None:
        comparisons(cast, 3)
        with pytest.raises(Refused, match="has no reward model in use"):
            active_learning.start(project=cast.project, by=None)
        with pytest.raises(CommandError, match="has no reward model in use"):
            call_command("active_learning", cast.project.slug)

    def test_one_head_can_not_disagree(self, cast: Cast, reward: ModelVersion) -> None:
        comparisons(cast, 3)
        ModelVersion.objects.filter(pk=reward.pk).update(metrics={"accuracy": 0.7})
        with pytest.raises(Refused, match="is no ensemble"):
            active_learning.start(project=cast.project, by=None)

    def test_where_all_is_judged_or_random_there_is_nothing_to_choose(self, cast: Cast, reward: ModelVersion) -> None:
        with pytest.raises(Refused, match="Fewer than two open comparisons"):
            active_learning.start(project=cast.project, by=None)
        comparisons(cast, 8)
        policy(cast, random_share=1.0)
        with pytest.raises(Refused, match="Fewer than two open comparisons"):
            active_learning.start(project=cast.project, by=None)

    def test_no_more_are_asked_about_than_a_transaction_bears(self, cast: Cast, reward: ModelVersion) -> None:
        comparisons(cast, 8)
        for number in (1, 2001):
            with pytest.raises(Refused, match="from 2 to 2000"):
                active_learning.start(project=cast.project, by=None, tasks=number)

    def test_the_next_ones_of_the_queue_are_asked_about(self, cast: Cast, reward: ModelVersion) -> None:
        comparisons(cast, 30)
        policy(cast, random_share=0.0)
        out = StringIO()
        call_command("active_learning", cast.project.slug, "--tasks", "5", stdout=out, stderr=StringIO())
        run = TrainingRun.objects.get(pk=json.loads(out.getvalue())["run"])
        rows = active_learning.rows_of(run)
        train = set(Task.objects.filter(prompt__split="train").values_list("pk", flat=True))
        assert {int(row["id"]) for row in rows} == set(order_of(train)[:5])
        assert [item["text"] for item in rows[0]["responses"]] == ["Yes.", "No, never.", "It depends on what you mean."]


def test_a_share_of_tasks_stays_at_random_for_ever(cast: Cast) -> None:
    ids = range(1, 4001)
    drawn = {
        share: {pk for pk in ids if active_learning.is_random(pk, project=cast.project, share=share)}
        for share in (0, 0.2, 0.5, 1)
    }
    assert (len(drawn[0]), len(drawn[1])) == (0, 4000)
    assert len(drawn[0.2]) == pytest.approx(800, abs=80)
    assert drawn[0.2] < drawn[0.5]
    elsewhere = {pk for pk in ids if active_learning.is_random(pk, project=cast.other_project, share=0.2)}
    assert len(elsewhere & drawn[0.2]) == pytest.approx(160, abs=50)  # nobody can tell without the project's key


def scored(run: TrainingRun, folder: Path, disagreement: dict[int, float | None]) -> Path:
    path = folder / "scores.jsonl"
    rows = [{"id": str(pk), "scores": [0.0], "disagreement": value} for pk, value in disagreement.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.usefixtures("messages")
def test_a_worker_that_lost_the_run_changes_nothing(cast: Cast, reward: ModelVersion, tmp_path: Path) -> None:
    made = comparisons(cast, 12)
    run = active_learning.start(project=cast.project, by=None)
    assert runs.claim(run_id=run.pk, worker="a") is not None
    path = scored(run, tmp_path, {task.pk: float(number) for number, task in enumerate(made)})
    order = order_of({task.pk for task in made})
    with pytest.raises(LeaseLost):
        active_learning.store(run, Lease(run_id=run.pk, token=uuid.uuid4()), path)
    assert order_of({task.pk for task in made}) == order
    assert not AcquisitionScore.objects.exists()


@pytest.mark.usefixtures("messages")
def test_what_was_too_long_or_judged_meanwhile_stays_where_it_was(
    cast: Cast, reward: ModelVersion, tmp_path: Path
) -> None:
    # By the default share five of six may keep random positions, and one alone has no order.
    policy(cast, random_share=0.0)
    made = comparisons(cast, 6)
    run = active_learning.start(project=cast.project, by=None)
    lease = runs.claim(run_id=run.pk, worker="a")
    assert lease is not None
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    assert assignment is not None
    judge(assignment, [[response] for response in assignment.presentation])
    too_long = next(task for task in made if task.pk != assignment.task_id)
    still = {pk: Task.objects.get(pk=pk).position for pk in (too_long.pk, assignment.task_id)}
    values = {task.pk: None if task == too_long else float(number) for number, task in enumerate(made)}
    result = active_learning.store(run, lease, scored(run, tmp_path, values))
    assert (result["tasks"], result["not_scored"]) == (5, 1)
    assert {pk: Task.objects.get(pk=pk).position for pk in still} == still
    rest = {task.pk for task in made} - set(still)
    assert order_of(rest) == sorted(rest, reverse=True)


def finish(run: TrainingRun, **result: Any) -> None:
    lease = runs.claim(run_id=run.pk, worker="a")
    assert lease is not None
    runs.succeed(lease, result=result, register=lambda: None)


@pytest.mark.usefixtures("messages")
def test_it_happens_by_itself_once_for_every_reason(cast: Cast, reward: ModelVersion, queued: Any) -> None:
    comparisons(cast, 12)
    assert active_learning.start_due() == []  # nobody asked for it
    policy(cast, uncertain_first=True)
    (first,) = active_learning.start_due()
    finish(first)
    assert active_learning.start_due() == []  # nothing is new
    sample = queued()
    finish(sample)
    tasks.after_run(sample.pk)
    second = TrainingRun.objects.filter(stage="score").latest("pk")
    assert second != first
    finish(queued())
    assert active_learning.start_due() == []  # one is under way, which doesn't know of these responses
    finish(second)
    (again,) = active_learning.start_due()
    finish(again)
    versions.promote(reward, by=cast.manager)
    assert active_learning.start_due() == []  # it was in use already
    other = ModelVersion.objects.create(
        project=cast.project, kind="reward", number=2, folder=reward.folder, metrics={"ensemble": 3}
    )
    versions.promote(other, by=cast.manager)
    (third,) = active_learning.start_due()
    finish(third)
    ModelVersion.objects.filter(pk=reward.pk).update(metrics={})
    versions.promote(reward, by=cast.manager)
    assert active_learning.start_due() == []  # one head has nothing to say
    assert TrainingRun.objects.filter(stage="score").count() == 4


@pytest.mark.usefixtures("messages")
@pytest.mark.parametrize(("config", "wanted"), [({}, 5), ({"ensemble": 2}, 2)])
def test_the_loop_trains_several_heads_and_asks_them_before_ppo_begins(
    cast: Cast, base: ModelVersion, config: dict[str, Any], wanted: int
) -> None:
    make_judgments(cast, 2)
    comparisons(cast, 12)
    policy(cast, uncertain_first=True, reward_config=config)
    iteration = loop.start(project=cast.project, rounds=1, by=cast.manager)
    Snapshot.objects.filter(pk=iteration.snapshot_id).update(state="ready", sha256="0" * 64, rows=2)
    loop.advance(iteration.pk)
    run = iteration.runs.get()
    assert run.config["ensemble"] == wanted
    lease = runs.claim(run_id=run.pk, worker="a")
    assert lease is not None
    result = {"accuracy": 0.7, "ensemble": wanted}
    runs.succeed(
        lease,
        result=result,
        register=lambda: versions.register(run, kind="reward", folder="x", sha256="", metrics=result),
    )
    loop.advance(iteration.pk)
    stages = list(TrainingRun.objects.order_by("pk").values_list("stage", flat=True))
    assert stages == ["reward", "score", "ppo"]


def as_user(name: str, cast: Cast) -> Client:
    client = Client()
    client.force_login(getattr(cast, name), backend="annotate.people.backends.PasswordBackend")
    return client


@pytest.mark.usefixtures("messages")
class TestThePage:
    def url(self, project: Project, name: str = "active_learning") -> str:
        return reverse(f"rlhf:{name}", args=[project.slug])

    @pytest.mark.parametrize(
        ("user", "status"),
        [("manager", 200), ("researcher", 200), ("labeler", 403), ("reviewer", 403), ("outsider", 404)],
    )
    def test_who_sees_it(self, cast: Cast, reward: ModelVersion, user: str, status: int) -> None:
        assert as_user(user, cast).get(self.url(cast.project)).status_code == status

    @pytest.mark.parametrize(("user", "status"), [("labeler", 403), ("outsider", 404)])
    def test_who_may_not_ask(self, cast: Cast, reward: ModelVersion, user: str, status: int) -> None:
        comparisons(cast, 8)
        assert as_user(user, cast).post(self.url(cast.project, "score_tasks")).status_code == status
        assert not TrainingRun.objects.exists()

    def test_it_says_how_many_and_why(self, cast: Cast, reward: ModelVersion, tmp_path: Path) -> None:
        made = comparisons(cast, 30)
        policy(cast, random_share=0.4)
        manager = as_user("manager", cast)
        assert "The queue is not ordered yet" in manager.get(self.url(cast.project)).content.decode()
        reply = manager.post(self.url(cast.project, "score_tasks"))
        run = TrainingRun.objects.get(stage="score")
        assert reply["Location"] == reverse("rlhf:run", args=[cast.project.slug, run.pk])
        free = [int(row["id"]) for row in active_learning.rows_of(run)]
        lease = runs.claim(run_id=run.pk, worker="a")
        assert lease is not None
        active_learning.store(run, lease, scored(run, tmp_path, {pk: float(pk) for pk in free[:-1]}))
        summary = active_learning.queue_summary(cast.project)
        assert (summary.scored, summary.random, summary.unscored) == (len(free) - 1, len(made) - len(free), 1)
        assert [choice.task_id for choice in summary.first] == sorted(free[:-1], reverse=True)[:20]
        page = manager.get(self.url(cast.project)).content.decode()
        assert f"<dd>{len(free) - 1}</dd>" in page
        assert f"{max(free[:-1]):.2f}" in page

    def test_without_several_heads_it_says_what_to_do(self, cast: Cast, base: ModelVersion) -> None:
        manager = as_user("manager", cast)
        assert "No reward model is in use yet" in manager.get(self.url(cast.project)).content.decode()
        page = manager.post(self.url(cast.project, "score_tasks"), follow=True).content.decode()
        assert "has no reward model in use" in page
