"""A run's row: who may write it, and when."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import AuditEvent
from rlhf.models import RunMetric, TrainingRun, WorkerHeartbeat
from rlhf.runs import runs
from rlhf.runs.queues import workers
from rlhf.runs.runs import Lease, LeaseLost
from tests.factories.cast import Cast

Status = TrainingRun.Status
Queued = Callable[..., TrainingRun]
ELSEWHERE = "other-host/1/77"


@pytest.fixture(autouse=True)
def messages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The messages that would go out, in order; what a worker makes of them is tested with real ones elsewhere."""
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runs, "send", lambda task, *arguments, queue="default": sent.append((task, *arguments, queue)))
    return sent


def claimed(run: TrainingRun, *, worker: str = ELSEWHERE) -> Lease:
    lease = runs.claim(run_id=run.pk, worker=worker)
    assert lease is not None
    return lease


def reloaded(run: TrainingRun) -> TrainingRun:
    return TrainingRun.objects.get(pk=run.pk)


def test_a_queued_run_keeps_the_settings_as_typed_values_and_wakes_a_worker(
    queued: Queued, cast: Cast, messages: list[Any]
) -> None:
    run = queued(config={"temperature": "0.5", "seed": "7"})
    assert (run.status, run.queue, run.seed) == (Status.QUEUED, "cpu", 7)
    assert run.config == {"temperature": 0.5, "seed": 7}
    assert messages == [("rlhf.execute_run", run.pk, "cpu")]
    event = AuditEvent.objects.get(verb="run.queued")
    assert (event.actor, event.subject_id) == (cast.manager, str(run.pk))


def test_a_setting_that_the_stage_does_not_have_is_refused_by_name(queued: Queued) -> None:
    with pytest.raises(Refused, match="temprature"):
        queued(config={"temprature": 1})
    assert not TrainingRun.objects.exists()


def test_a_run_is_claimed_once_however_many_messages_there_are(queued: Queued) -> None:
    run = queued()
    assert runs.claim(run_id=run.pk, worker="a") is not None
    assert runs.claim(run_id=run.pk, worker="b") is None
    assert (reloaded(run).worker, reloaded(run).attempt) == ("a", 1)


def test_a_stale_token_writes_nothing(queued: Queued) -> None:
    run = queued()
    lease = claimed(run)
    stale = Lease(run_id=run.pk, token=uuid.uuid4())
    for write in (
        lambda: runs.renew(stale, progress=0.5),
        lambda: runs.record_metrics(stale, [(1, "loss", 9.0)]),
        lambda: runs.succeed(stale, result={}, register=lambda: None),
        lambda: runs.fail(stale, StoredMessage("out_of_memory")),
        lambda: runs.finish_cancelled(stale),
        lambda: runs.release(stale),
        lambda: runs.is_cancel_requested(stale),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert (reloaded(run).status, reloaded(run).progress, reloaded(run).error) == (Status.RUNNING, 0.0, "")
    assert not RunMetric.objects.exists()
    runs.renew(lease, progress=0.25)
    assert reloaded(run).progress == 0.25


def test_metrics_of_a_step_that_is_reported_again_are_replaced(queued: Queued) -> None:
    lease = claimed(queued())
    runs.record_metrics(lease, [(1, "loss", 0.7), (2, "loss", 0.6)])
    runs.record_metrics(lease, [(2, "loss", 0.5), (3, "loss", 0.4)])
    assert list(RunMetric.objects.values_list("step", "value").order_by("step")) == [(1, 0.7), (2, 0.5), (3, 0.4)]


def test_an_expired_lease_is_lost_and_queued_again_until_the_attempts_are_used_up(
    queued: Queued, messages: list[Any]
) -> None:
    run = queued()
    for attempt in (1, 2, 3):
        claimed(run)
        assert runs.reap() == 0
        later = timezone.now() + runs.LEASE + timedelta(seconds=1)
        messages.clear()
        assert runs.reap(now=later) == 1
        assert reloaded(run).attempt == attempt
        expected = Status.QUEUED if attempt < 3 else Status.FAILED
        assert reloaded(run).status == expected
        assert messages == [
            ("rlhf.execute_run" if attempt < 3 else "rlhf.after_run", run.pk, "cpu" if attempt < 3 else "default")
        ]
    assert reloaded(run).error == f"Its worker went silent 3 times; the last one was {ELSEWHERE}."
    assert AuditEvent.objects.filter(verb="run.lost").count() == 3


def test_a_worker_that_was_a_process_of_this_machine_and_is_gone_needs_no_waiting(queued: Queued) -> None:
    run = queued()
    claimed(run, worker=f"{workers.host()}/999999999")
    assert runs.reap() == 1
    assert reloaded(run).status == Status.QUEUED


def test_a_worker_of_this_machine_that_lives_keeps_its_run(queued: Queued) -> None:
    claimed(queued(), worker=workers.lease_holder())
    assert runs.reap() == 0


def test_a_lost_run_that_was_to_be_cancelled_is_cancelled(queued: Queued, cast: Cast) -> None:
    run = queued()
    claimed(run)
    runs.request_cancel(run=run, by=cast.manager)
    assert reloaded(run).status == Status.RUNNING
    runs.reap(now=timezone.now() + runs.LEASE * 2)
    assert reloaded(run).status == Status.CANCELLED


def test_cancelling_a_queued_run_ends_it_and_a_second_time_says_so(queued: Queued, cast: Cast) -> None:
    run = queued()
    runs.request_cancel(run=run, by=cast.manager)
    assert reloaded(run).status == Status.CANCELLED
    assert runs.claim(run_id=run.pk, worker="a") is None
    with pytest.raises(Refused, match="ended already"):
        runs.request_cancel(run=run, by=cast.manager)
    assert AuditEvent.objects.filter(verb="run.cancelled").count() == 1


def test_cancelling_a_running_run_twice_asks_its_worker_once(queued: Queued, cast: Cast) -> None:
    run = queued()
    lease = claimed(run)
    assert not runs.is_cancel_requested(lease)
    runs.request_cancel(run=run, by=cast.manager)
    runs.request_cancel(run=run, by=cast.manager)
    assert runs.is_cancel_requested(lease)
    assert AuditEvent.objects.filter(verb="run.cancelled").count() == 1


def test_a_released_run_goes_on_later_without_counting_as_an_attempt(queued: Queued) -> None:
    run = queued()
    runs.release(claimed(run))
    assert (reloaded(run).status, reloaded(run).attempt, reloaded(run).lease_token) == (Status.QUEUED, 0, None)


def test_a_run_that_is_to_be_cancelled_is_not_queued_again_by_its_stopping_worker(queued: Queued, cast: Cast) -> None:
    run = queued()
    lease = claimed(run)
    runs.request_cancel(run=run, by=cast.manager)
    runs.release(lease)
    assert (reloaded(run).status, reloaded(run).lease_token) == (Status.CANCELLED, None)


def test_waiting_runs_are_sent_again_where_somebody_listens(queued: Queued, messages: list[Any]) -> None:
    run = queued()
    messages.clear()
    later = timezone.now() + runs.RESEND_AFTER * 2
    assert runs.resend(now=later) == 0
    WorkerHeartbeat.objects.create(name="w", queues=["cpu"], seen_at=timezone.now())
    assert runs.resend() == 0  # it has hardly waited
    assert runs.resend(now=later) == 1
    assert messages == [("rlhf.execute_run", run.pk, "cpu")]
    # Queued while the clock was an hour fast.
    TrainingRun.objects.filter(pk=run.pk).update(queued_at=timezone.now() + timedelta(hours=1))
    assert runs.resend() == 1


def test_a_run_that_nobody_listened_to_for_a_day_fails_with_the_reason(queued: Queued) -> None:
    run = queued()
    runs.resend(now=timezone.now() + runs.NO_WORKER_LIMIT * 2)
    assert (reloaded(run).status, reloaded(run).error) == (
        Status.FAILED,
        "No worker consumed the queue cpu for 24 hours.",
    )


def test_a_heartbeat_that_is_old_is_no_listener(db: None) -> None:
    workers.record_heartbeat(name="w@host", queues=["cpu", "default"])
    assert workers.listening() == {"cpu", "default"}
    WorkerHeartbeat.objects.update(seen_at=timezone.now() - workers.ALIVE * 2)
    assert workers.listening() == set()


def test_success_and_the_model_are_stored_together_or_not_at_all(queued: Queued) -> None:
    run = queued()
    lease = claimed(run)

    def breaks() -> None:
        raise RuntimeError("the folder is gone")

    with pytest.raises(RuntimeError):
        runs.succeed(lease, result={"a": 1}, register=breaks)
    assert (reloaded(run).status, reloaded(run).result) == (Status.RUNNING, {})
    runs.succeed(lease, result={"a": 1}, register=lambda: None)
    assert (reloaded(run).status, reloaded(run).progress, reloaded(run).lease_token) == (Status.SUCCEEDED, 1.0, None)
