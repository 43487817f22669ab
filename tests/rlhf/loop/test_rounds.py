"""Moves of a round, without workers: gates, failures, what is asked twice, automatic starts; requested responses."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from annotate.data import pacing
from annotate.data.stored_messages import StoredMessage
from annotate.models import Prompt, ResponseRequest, Snapshot, Task
from rlhf.loop import loop, sampling, versions
from rlhf.loop.rounds import new_data
from rlhf.models import Iteration, LoopSettings, ModelVersion, TrainingRun
from rlhf.runs import runs
from rlhf.runs.execution import supervisor
from rlhf.runs.stages.registry import STAGE_SPECS
from tests.factories.cast import Cast
from tests.rlhf.conftest import SAMPLING, make_judgments, make_prompts


@pytest.fixture(autouse=True)
def messages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runs, "send", lambda task, *arguments, queue="default": sent.append((task, *arguments, queue)))
    return sent


@pytest.fixture
def iteration(cast: Cast, base: ModelVersion) -> Iteration:
    """A round whose snapshot is ready and whose reward run is queued."""
    make_judgments(cast, 2)
    started = loop.start(project=cast.project, rounds=2, by=cast.manager)
    Snapshot.objects.filter(pk=started.snapshot_id).update(state="ready", sha256="0" * 64, rows=2)
    loop.advance(started.pk)
    started.refresh_from_db()
    return started


def end(run: TrainingRun, **result: Any) -> ModelVersion:
    """End a run well, as a worker would."""
    lease = runs.claim(run_id=run.pk, worker="somewhere/1/2")
    assert lease is not None
    runs.succeed(
        lease,
        result=result,
        register=lambda: versions.register(
            run, kind=STAGE_SPECS[run.stage].kind or "", folder=f"runs/{run.pk}/run/model", sha256="", metrics=result
        ),
    )
    return run.project.model_versions.get(run=run)


def test_a_round_moves_once_however_often_it_is_asked(iteration: Iteration, cast: Cast) -> None:
    loop.advance(iteration.pk)
    loop.advance(iteration.pk)
    assert (iteration.step, iteration.numbers) == ("reward", {"judgments": 2})
    run = iteration.runs.get()
    reward = end(run, accuracy=0.7)
    loop.advance(iteration.pk)
    loop.advance(iteration.pk)
    assert list(iteration.runs.order_by("pk").values_list("stage", flat=True)) == ["reward", "ppo"]
    assert versions.active_reward(cast.project) == reward


def test_a_reward_model_below_the_gate_stops_the_round_before_ppo(iteration: Iteration, cast: Cast) -> None:
    LoopSettings.objects.create(project=cast.project, gates={"reward_accuracy": 0.55})
    end(iteration.runs.get(), accuracy=0.52)
    loop.advance(iteration.pk)
    iteration.refresh_from_db()
    assert (iteration.state, iteration.reason) == (
        "stopped",
        "The reward model’s accuracy of 0.52 is below the gate of 0.55.",
    )
    assert iteration.numbers["reward_accuracy"] == 0.52
    assert versions.active_reward(cast.project) is None
    assert iteration.runs.count() == 1


def test_a_policy_is_gated_by_what_was_measured_of_the_weights_that_were_kept(
    iteration: Iteration, cast: Cast, base: ModelVersion
) -> None:
    LoopSettings.objects.create(project=cast.project, gates={"kl": 10})
    end(iteration.runs.get(), accuracy=0.7)
    loop.advance(iteration.pk)
    kept = end(iteration.runs.get(stage="ppo"), kl=12.5, eval_kl=4.0, score=3.0, eval_score=2.5, reward=2.0)
    loop.advance(iteration.pk)
    iteration.refresh_from_db()
    assert (iteration.numbers["kl"], iteration.numbers["score"], iteration.numbers["reward"]) == (4.0, 2.5, 2.0)
    assert versions.active_policy(cast.project) == kept


def test_a_policy_that_went_too_far_is_not_put_into_use(iteration: Iteration, cast: Cast, base: ModelVersion) -> None:
    LoopSettings.objects.create(project=cast.project, gates={"kl": 10})
    end(iteration.runs.get(), accuracy=0.7)
    loop.advance(iteration.pk)
    end(iteration.runs.get(stage="ppo"), kl=12.5)
    loop.advance(iteration.pk)
    iteration.refresh_from_db()
    assert (iteration.state, iteration.reason) == (
        "stopped",
        "The policy’s KL divergence of 12.5 is above the gate of 10.",
    )
    assert versions.active_policy(cast.project) == base


def test_a_failed_run_ends_its_round_with_the_reason_and_no_round_follows(iteration: Iteration) -> None:
    lease = runs.claim(run_id=iteration.runs.get().pk, worker="somewhere/1/2")
    assert lease is not None
    runs.fail(lease, StoredMessage("as_written", {"sentence": "The disk is full."}))
    loop.advance(iteration.pk)
    iteration.refresh_from_db()
    reason = "A run of the round failed (Reward model): The disk is full."
    assert (iteration.state, iteration.reason) == ("failed", reason)
    assert Iteration.objects.count() == 1


def test_rounds_start_by_themselves_when_enough_was_judged(cast: Cast, base: ModelVersion) -> None:
    policy = LoopSettings.objects.create(project=cast.project, enabled=True, judgments_per_round=3)
    make_judgments(cast, 2)
    assert loop.start_due() == []
    LoopSettings.objects.filter(pk=policy.pk).update(judgments_per_round=2)
    assert [started.number for started in loop.start_due()] == [1]
    assert loop.start_due() == []  # it is under way
    Iteration.objects.update(state="failed")
    assert loop.start_due() == []  # nothing new was judged since
    assert new_data.new_judgments(cast.project) == 0


@pytest.mark.django_db(transaction=True)
def test_responses_that_were_asked_for_are_given_once(
    cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    prompts = make_prompts(cast, 2)
    requests = [
        ResponseRequest.objects.create(project=cast.project, prompt=prompt, responses_wanted=2, purpose=purpose)
        for prompt, purpose in zip(prompts, ["queue", "chat"], strict=True)
    ]
    ids = [request.pk for request in requests]
    started = sampling.fulfil(ids)
    # Who waits in a chat doesn't wait for the queue's responses.
    assert [run.options for run in started] == [{"samples": 2, "requests": [pk]} for pk in ids]
    assert sampling.fulfil(ids) == []
    for run in started:
        TrainingRun.objects.filter(pk=run.pk).update(config=SAMPLING | {"seed": 3})
        supervisor.execute(run.pk)
    assert [ResponseRequest.objects.get(pk=pk).state for pk in ids] == ["fulfilled", "fulfilled"]
    assert [prompt.responses.count() for prompt in prompts] == [2, 2]
    assert [task.prompt for task in Task.objects.all()] == [prompts[0]]  # a chat's responses are not for the queue


def test_thousands_of_requests_are_taken_in_short_transactions(
    cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processor time, which is the same on a busy machine; each request once, in the order it came."""
    prompts = [
        Prompt(project=cast.project, messages=[{"role": "user", "content": f"Question {number}?"}], language="en")
        for number in range(1200)
    ]
    for prompt in prompts:
        prompt.set_content_fields()
    Prompt.objects.bulk_create(prompts)
    requests = ResponseRequest.objects.bulk_create(
        ResponseRequest(project=cast.project, prompt=prompt, responses_wanted=2) for prompt in prompts
    )
    taken, transaction = [], pacing.Pace.transaction

    @contextmanager
    def timed(pace: pacing.Pace) -> Iterator[None]:
        with transaction(pace):
            began = time.thread_time()
            yield
            taken.append(time.thread_time() - began)

    monkeypatch.setattr(pacing.Pace, "transaction", timed)
    ids = [request.pk for request in requests]
    started = sampling.fulfil(ids)
    assert [run.options["requests"] for run in started] == [ids[:500], ids[500:1000], ids[1000:]]
    assert len(taken) == 3
    assert max(taken) < 0.2
    assert sampling.fulfil(ids) == []


def test_responses_whose_run_failed_say_why(cast: Cast, base: ModelVersion) -> None:
    request = ResponseRequest.objects.create(project=cast.project, prompt=make_prompts(cast, 1)[0], responses_wanted=2)
    (run,) = sampling.fulfil([request.pk])
    lease = runs.claim(run_id=run.pk, worker="somewhere/1/2")
    assert lease is not None
    runs.fail(lease, StoredMessage("as_written", {"sentence": "The disk is full."}))
    run.refresh_from_db()
    sampling.fail_requests(run)
    request.refresh_from_db()
    assert (request.state, request.error) == ("failed", "The disk is full.")
