"""Workers that drain, and the order in which waiting runs start."""

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate.errors import Refused
from annotate.models import AuditEvent
from rlhf.models import TrainingRun, WorkerHeartbeat
from rlhf.runs import runs
from rlhf.runs.execution import machine, supervisor
from rlhf.runs.queues import waiting_order, workers
from tests.factories.cast import Cast
from tests.harness.markup import markup
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]
HIGH, NORMAL, LOW = 1, 0, -1


def order() -> list[int]:
    return list(waiting_order.waiting("cpu").values_list("pk", flat=True))


@pytest.fixture
def worker() -> WorkerHeartbeat:
    return WorkerHeartbeat.objects.create(
        name="cpu@here", host="here/1", queues=["cpu"], processes=[71, 72], seen_at=timezone.now(),
        capacity={"cores": 2, "memory": 8 * 2**30, "memory_free": 3 * 2**30, "disk_free": 2**40, "processor": "P9",
                  "gpus": ["H200, 143771 MiB"]},
    )  # fmt: skip


def test_runs_start_by_priority_then_place_then_age(queued: Any, cast: Cast) -> None:
    a, b, c, d = (queued().pk for _ in range(4))
    live = queued(queue="live").pk
    assert order() == [a, b, c, d]
    waiting_order.set_priority(number=c, priority=HIGH, actor=cast.admin)
    waiting_order.set_priority(number=a, priority=LOW, actor=cast.admin)
    assert order() == [c, b, d, a]
    waiting_order.move(number=d, by=-1, actor=cast.admin)
    assert order() == [c, d, b, a]
    waiting_order.move(number=d, by=-5, actor=cast.admin)  # never past another priority
    assert order() == [c, d, b, a]
    newest = queued().pk
    assert order() == [c, d, b, newest, a]
    assert waiting_order.position(TrainingRun.objects.get(pk=b)) == (3, 5)
    assert waiting_order.position(TrainingRun.objects.get(pk=live)) == (0, 0)
    changes = AuditEvent.objects.filter(actor=cast.admin, verb__startswith="run.").order_by("pk")
    verbs = list(changes.values_list("verb", flat=True))
    assert verbs == ["run.prioritised"] * 2 + ["run.moved"] * 2


@pytest.mark.parametrize("number", [0, -1, 2**70])
def test_what_does_not_wait_is_not_ordered(number: int, queued: Any, cast: Cast) -> None:
    with pytest.raises(Refused, match="doesn’t wait any more"):
        waiting_order.move(number=number, by=1, actor=cast.admin)
    run = queued()
    runs.request_cancel(run=run, by=None)
    with pytest.raises(Refused, match="doesn’t wait any more"):
        waiting_order.set_priority(number=run.pk, priority=HIGH, actor=cast.admin)


def test_a_message_wakes_a_worker_and_the_first_run_starts(
    queued: Any, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def end(run: TrainingRun, lease: runs.Lease) -> None:
        started.append(run.pk)
        runs.finish_cancelled(lease)

    monkeypatch.setattr(supervisor, "_supervise", end)
    first, second, third = (queued().pk for _ in range(3))
    waiting_order.set_priority(number=third, priority=HIGH, actor=cast.admin)
    for message in (first, first, second, third):  # each message is worth a run; the doubled one starts none twice
        supervisor.execute(message)
    assert started == [third, first, second]
    live, other = queued(queue="gpu").pk, queued().pk
    supervisor.execute(live)
    assert started[3:] == [live]
    assert order() == [other]


def test_a_draining_worker_takes_no_run_and_is_counted_as_no_listener(
    queued: Any, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.os, "getppid", lambda: workers.os.getpid())
    run = queued()
    assert workers.record_heartbeat(name="w@here", queues=["cpu"], processes=[5]) is False
    assert workers.is_listening("cpu")
    workers.drain(name="w@here", draining=True, by=cast.admin)
    assert workers.record_heartbeat(name="w@here", queues=["cpu"]) is True
    assert not workers.is_listening("cpu")
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt) == ("queued", 0)
    workers.drain(name="w@here", draining=False, by=cast.admin)
    assert workers.is_listening("cpu")
    with pytest.raises(Refused, match="no such worker"):
        workers.drain(name="gone", draining=True, by=cast.admin)


def test_the_page_says_what_each_worker_is_and_does(queued: Any, cast: Cast, worker: WorkerHeartbeat) -> None:
    run = queued()
    assert runs.claim(run_id=run.pk, worker="here/1/72") is not None
    waiting = queued()
    address = reverse("rlhf:workers")
    page = markup(as_user("manager", cast).get(address))
    for part in ("cpu@here", "H200, 143771 MiB", "P9 (2 cores)", "3.0 GB / 8.0 GB", ">listening</span>"):
        assert part in page
    assert f'<a href="{url(cast, "run", run.pk)}">Sampling responses {run.pk}</a>' in page
    assert f'<a href="{url(cast, "run", waiting.pk)}">{waiting.pk}</a>' in page
    assert 'value="drain"' not in page
    run_page = markup(as_user("manager", cast).get(url(cast, "run", waiting.pk)))
    assert "Place 1 of 1 in the queue cpu." in run_page
    WorkerHeartbeat.objects.update(seen_at=timezone.now() - workers.ALIVE)
    page = markup(as_user("manager", cast).get(address))
    assert ">silent</span>" in page
    assert "No worker consumes the queue" in page


def test_a_worker_of_served_models_is_shown_with_all_its_replies(
    queued: Any, cast: Cast, worker: WorkerHeartbeat
) -> None:
    """One process holds as many runs as servers are asked at once."""
    replies = [queued() for _ in range(3)]
    for run in replies:
        assert runs.claim(run_id=run.pk, worker="here/1/72") is not None
    page = markup(as_user("manager", cast).get(reverse("rlhf:workers")))
    for run in replies:
        assert f'<a href="{url(cast, "run", run.pk)}">Sampling responses {run.pk}</a>' in page
    assert ">nothing</span>" not in page


def test_another_projects_run_is_no_more_than_a_number(queued: Any, cast: Cast) -> None:
    run = queued()
    cast.other_project.memberships.create(user=cast.second_labeler, role="researcher")
    page = as_user("second_labeler", cast).get(reverse("rlhf:workers")).content.decode()
    assert "another project" in page
    assert cast.project.name not in page
    assert url(cast, "run", run.pk) not in page


def test_administrators_alone_drain_and_order(queued: Any, cast: Cast, worker: WorkerHeartbeat) -> None:
    first, second = queued(), queued()
    address = reverse("rlhf:workers")
    for name, status in (("labeler", 403), ("manager", 403), ("researcher", 403)):
        assert as_user(name, cast).post(address, {"action": "up", "run": second.pk}).status_code == status
    assert as_user("labeler", cast).get(address).status_code == 403
    assert order() == [first.pk, second.pk]
    admin = as_user("admin", cast)
    assert admin.post(address, {"action": "up", "run": second.pk}).status_code == 302
    assert order() == [second.pk, first.pk]
    assert admin.post(address, {"action": "priority", "run": first.pk, "priority": "1"}).status_code == 302
    assert order() == [first.pk, second.pk]
    assert admin.post(address, {"action": "drain", "worker": "cpu@here"}).status_code == 302
    assert 'value="undrain"' in admin.get(address).content.decode()
    for wrong, status in [
        ({"action": "no"}, 400),
        ({"action": "drain", "worker": "no"}, 404),
        ({"action": "up", "run": "x"}, 409),
        ({"action": "priority", "run": first.pk, "priority": "7"}, 400),
    ]:
        assert admin.post(address, wrong).status_code == status


def test_this_machine_tells_its_devices() -> None:
    found = machine.capacity(machine.PROC)
    assert found["processor"]
    assert found["memory_free"] is None or 0 < found["memory_free"] <= (found["memory"] or 2**63)
    assert all("," in gpu for gpu in found["gpus"])
