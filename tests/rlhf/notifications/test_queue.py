"""The queue of deliveries while receivers are down or slow: bounded in rows and in time, and fair to the others."""

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.utils import timezone

from rlhf.models import Delivery, NotificationTarget
from rlhf.notifications import deliveries, webhook_client
from rlhf.notifications.webhook_client import NotDelivered
from tests.factories.cast import Cast
from tests.rlhf.notifications.test_deliveries import ended, webhook
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases, pytest.mark.usefixtures("nothing_sent")]
URL = "https://x.example/"
Answer = Callable[[str, dict[str, str]], None]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    """The last of these replies to requests: by address and headers, raising NotDelivered."""
    found: list[Answer] = []

    def post(address: str, body: bytes, *, key: str, headers: dict[str, str]) -> int:
        found[-1](address, headers)
        return 200

    monkeypatch.setattr(webhook_client, "post", post)
    return found


def refuse(*_given: Any) -> None:
    raise NotDelivered("webhook_refused", status=400)


def hang(*_given: Any) -> None:
    raise NotDelivered("webhook_unreachable", error="no complete reply within 10 s")


def queued(target: NotificationTarget, key: str, event: str = "run.failed", **values: Any) -> Delivery:
    values = {"next_attempt_at": timezone.now(), "payload": {"project": "kindness"}} | values
    return Delivery.objects.create(target=target, key=key, event=event, **values)


def test_a_dead_receiver_ends_its_queue_and_one_refused_event_takes_no_others_with_it(
    cast: Cast, answers: list[Answer]
) -> None:
    target = webhook(cast, URL)
    now = timezone.now()
    rows = [queued(target, f"k{number}", next_attempt_at=now) for number in range(3)]
    asked: list[str] = []

    def down(_address: str, headers: dict[str, str]) -> None:
        asked.append(headers["X-Hone-Delivery"])
        refuse()

    answers.append(down)
    for pause in deliveries.PAUSES:
        assert deliveries.send_due(now=now) == 0
        now += pause
    assert list(target.deliveries.values_list("state", "attempts")) == [("waiting", 5)] * 3
    assert asked == [str(rows[number].uid) for number in (0, 1, 0, 1, 0)]

    def poisoned(_address: str, headers: dict[str, str]) -> None:
        if headers["X-Hone-Delivery"] == str(rows[0].uid):
            refuse()

    answers.append(poisoned)
    assert deliveries.send_due(now=now) == 2
    assert list(target.deliveries.order_by("pk").values_list("state", "attempts")) == [
        ("failed", 6), ("delivered", 6), ("delivered", 6),
    ]  # fmt: skip


def test_all_that_is_due_fails_together_in_the_end(cast: Cast, answers: list[Answer]) -> None:
    target = webhook(cast, URL)
    now = timezone.now()
    for number in range(2):
        queued(target, f"k{number}", next_attempt_at=now, attempts=5)
    later = queued(target, "later", next_attempt_at=now + timedelta(minutes=1))
    answers.append(refuse)
    assert deliveries.send_due(now=now) == 0
    assert Delivery.objects.filter(state="failed", attempts=6, failure__code="webhook_refused").count() == 2
    later.refresh_from_db()
    assert (later.state, later.attempts) == ("waiting", 0)


def test_events_that_a_receiver_refuses_starve_no_others(cast: Cast, answers: list[Answer]) -> None:
    target = webhook(cast, URL, "judgments.submitted", "run.failed")
    now = timezone.now()
    for number in range(deliveries.AT_ONCE + 10):
        queued(target, f"j{number}", "judgments.submitted", next_attempt_at=now - timedelta(minutes=1))
    run = queued(target, "run", next_attempt_at=now)

    def picky(_address: str, headers: dict[str, str]) -> None:
        if headers["X-Hone-Event"] == "judgments.submitted":
            refuse()

    answers.append(picky)
    assert [deliveries.send_due(now=now + timedelta(seconds=15) * tick) for tick in range(2)] == [0, 1]
    run.refresh_from_db()
    assert run.state == "delivered"
    assert set(target.deliveries.exclude(pk=run.pk).values_list("attempts", flat=True)) == {1}


def test_a_receiver_that_hangs_has_one_attempt_for_all_its_events(cast: Cast, answers: list[Answer]) -> None:
    target = webhook(cast, URL)
    now = timezone.now()
    queued(target, "a", "round.stopped", next_attempt_at=now)
    queued(target, "b", next_attempt_at=now)
    answers.append(hang)
    assert deliveries.send_due(now=now) == 0
    pause = deliveries.PAUSES[0]
    assert list(target.deliveries.order_by("pk").values_list("attempts", "next_attempt_at")) == [
        (1, now + pause), (1, now + pause - deliveries.TURN),
    ]  # fmt: skip


def test_what_waits_for_too_long_ends_as_failed_and_says_so(cast: Cast, answers: list[Answer]) -> None:
    target = webhook(cast, URL)
    now = timezone.now()
    ages = {"young": 29, "old": 31, "resent": 31, "untried": 31, "forgotten": 38, "arrived": 31}
    rows = {name: queued(target, name, next_attempt_at=now - timedelta(days=1), attempts=1) for name in ages}
    for name, days in ages.items():
        Delivery.objects.filter(pk=rows[name].pk).update(created_at=now - timedelta(days=days))
    rows_of = Delivery.objects.filter
    rows_of(key="resent").update(attempts=0)
    rows_of(key="untried").update(attempts=0, next_attempt_at=now - timedelta(days=31))
    rows_of(key="forgotten").update(state="failed")
    rows_of(key="arrived").update(state="delivered")
    deliveries.collect(now=now)
    assert dict(Delivery.objects.values_list("key", "state")) == {
        "young": "waiting", "old": "failed", "resent": "waiting", "untried": "failed",
    }  # fmt: skip
    page = as_user("manager", cast).get(url(cast, "notifications")).content.decode()
    assert page.count("It did not arrive within 30 days, and nobody tries any more.") == 2
    # What a person sends again has its attempt, and then ends.
    deliveries.replay(rows["old"], by=cast.manager)
    deliveries.collect()
    answers.append(refuse)
    deliveries.send_due()
    assert Delivery.objects.get(key="old").state == "waiting"
    deliveries.collect()
    assert Delivery.objects.get(key="old").state == "failed"


def test_a_pass_begins_no_attempt_after_its_time_and_goes_on_where_it_was(
    cast: Cast, answers: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]
    monkeypatch.setattr(deliveries.time, "monotonic", lambda: passed[0])
    asked: list[str] = []

    def slow(address: str, _headers: dict[str, str]) -> None:
        asked.append(address)
        passed[0] += 10
        hang()

    answers.append(slow)
    now = timezone.now()
    addresses = [f"https://{number}.example/" for number in range(4)]
    for number, address in enumerate(addresses):
        queued(webhook(cast, address), "k", next_attempt_at=now - timedelta(seconds=number))
    deliveries.send_due(now=now)
    assert asked == [addresses[3], addresses[2]]
    deliveries.send_due(now=now)
    assert asked == [addresses[3], addresses[2], addresses[1], addresses[0]]


def test_one_job_sends_to_a_target_until_it_is_taken_for_dead(cast: Cast, answers: list[Answer]) -> None:
    target = webhook(cast, URL)
    now = timezone.now()
    for number in range(2):
        queued(target, f"k{number}", next_attempt_at=now)
    inner: list[int] = []

    def ask_another(*_given: Any) -> None:
        inner.append(deliveries.send_due(now=now))

    answers.append(ask_another)
    assert (deliveries.send_due(now=now), inner) == (2, [0, 0])
    target.refresh_from_db()
    assert target.sending_until is None
    queued(target, "k2", next_attempt_at=now)
    NotificationTarget.objects.update(sending_until=now + deliveries.LEASE)
    assert deliveries.send_due(now=now) == 0
    assert deliveries.send_due(now=now + deliveries.LEASE + timedelta(seconds=1)) == 1


def test_the_pause_begins_at_the_attempt_not_at_the_beginning_of_the_pass(
    cast: Cast, answers: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [timezone.now()]
    monkeypatch.setattr(deliveries.timezone, "now", lambda: clock[0])
    for name in "ab":
        queued(webhook(cast, f"https://{name}.example/"), "k", next_attempt_at=clock[0])
    next_attempts = []

    def slow(address: str, _headers: dict[str, str]) -> None:
        row = Delivery.objects.get(target__address=address)
        assert row.next_attempt_at is not None
        next_attempts.append(row.next_attempt_at - clock[0])
        clock[0] += timedelta(seconds=31)

    answers.append(slow)
    assert deliveries.send_due() == 2
    assert next_attempts == [deliveries.PAUSES[0]] * 2


def test_an_upgrade_sends_nothing_again_whose_delivery_was_removed(cast: Cast) -> None:
    """Before it a target had no time up to which ends were queued, and the log kept 30 days."""
    now = timezone.now()
    old, young = webhook(cast, URL), webhook(cast, "https://young.example/")
    NotificationTarget.objects.filter(pk=old.pk).update(created_at=now - timedelta(days=90))
    NotificationTarget.objects.filter(pk=young.pk).update(created_at=now - timedelta(hours=1))
    for age in (timedelta(days=80), timedelta(days=40), timedelta(hours=2)):
        run = ended(cast)
        type(run).objects.filter(pk=run.pk).update(finished_at=now - age)
    import_module("rlhf.migrations.0024_webhook_events").leave_what_was_sent(apps, None)
    for target in (old, young):
        target.refresh_from_db()
    assert young.collected_until == young.created_at
    assert old.collected_until is not None
    assert timedelta(0) <= old.collected_until - (now - timedelta(days=1)) < timedelta(minutes=1)
    assert deliveries.collect() == 1
    assert Delivery.objects.get().payload["run"] == run.pk


def test_the_log_shows_the_first_judgments_of_a_delivery_and_how_many_more_there_are(cast: Cast) -> None:
    target = webhook(cast, URL, "judgments.submitted")
    for key, count in (("many", 500), ("few", 20)):
        judgments = [{"judgment": f"{key}-{number}"} for number in range(count)]
        payload = {"project": "kindness", "count": count, "judgments": judgments}
        queued(target, key, "judgments.submitted", payload=payload)
    page = as_user("manager", cast).get(url(cast, "notifications")).content.decode()
    assert ("many-19" in page, "many-20" in page, "few-19" in page) == (True, False, True)
    assert "480 more items are not shown." in " ".join(page.split())
    assert page.count("more item") == 1
