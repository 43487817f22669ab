"""E-mail and webhooks on the ends of runs and rounds: signed, sent again, replayed, and never to a private address."""

import hashlib
import hmac
import json
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from django.utils import timezone
from django.utils.html import escape

from annotate.data import snapshots
from annotate.data.imports import import_file
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import Assignment, AuditEvent, Judgment, OutboxEvent, Task
from rlhf.loop import versions
from rlhf.models import Delivery, Iteration, ModelVersion, NotificationTarget, TrainingRun
from rlhf.notifications import deliveries, webhook_client
from tests.factories.cast import Cast, judge, make_comparison, response_ids
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]


class Receiver:
    """A server on loopback: `replies` are the statuses of the next requests, 0 for a connection that breaks."""

    def __init__(self) -> None:
        self.replies: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                status = receiver.replies.pop(0) if receiver.replies else 200
                if status == 0:
                    self.connection.close()
                    return
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?x=1"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.HONE_PRIVATE_WEBHOOKS = True
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


def ended(cast: Cast, status: str = "failed", **values: Any) -> TrainingRun:
    return TrainingRun.objects.create(
        project=cast.project, stage="sft", status=status, finished_at=timezone.now(),
        failure={"code": "stalled", "values": {}} if status == "failed" else {}, **values,
    )  # fmt: skip


def webhook(cast: Cast, address: str, *chosen: str) -> NotificationTarget:
    return deliveries.add(
        project=cast.project, kind="webhook", address=address, by=cast.manager,
        chosen=chosen or ("run.failed", "run.succeeded", "round.stopped"),
    )  # fmt: skip


def claimed(cast: Cast) -> Assignment:
    cast.project.refresh_from_db()
    found = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    assert found is not None
    return found


def order_of(task: Task) -> list[list[int]]:
    return [[number] for number in response_ids(task)]


def test_an_end_is_sent_once_and_its_signature_holds(cast: Cast, receiver: Receiver) -> None:
    ended(cast)  # before anybody asked
    target = webhook(cast, receiver.url)
    run = ended(cast, result={"loss": 0.5, "note": "x"})
    ended(cast, "cancelled")
    ended(cast, "succeeded", queue="live")
    assert (deliveries.collect(), deliveries.collect()) == (1, 0)
    assert (deliveries.send_due(), deliveries.send_due()) == (1, 0)
    ((headers, body),) = receiver.got
    content = json.loads(body)
    assert {name: content[name] for name in ("event", "run", "stage", "status", "metrics")} == {
        "event": "run.failed", "run": run.pk, "stage": "sft", "status": "failed", "metrics": {"loss": 0.5},
    }  # fmt: skip
    assert content["error"].startswith("Its process stopped making progress")
    key = webhook_client.key_of(target.salt)
    signed = hmac.new(key.encode(), f"{headers['X-Hone-Timestamp']}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Hone-Signature"] == f"sha256={signed}"
    assert abs(int(headers["X-Hone-Timestamp"]) - timezone.now().timestamp()) < 60
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts, headers["X-Hone-Delivery"]) == ("delivered", 1, str(delivery.uid))
    # A resumed run ends again, and that is another event.
    TrainingRun.objects.filter(pk=run.pk).update(status="succeeded", finished_at=timezone.now())
    assert deliveries.collect() == 1


def test_a_round_that_stops_at_a_gate_says_why_and_events_are_chosen(cast: Cast, receiver: Receiver) -> None:
    webhook(cast, receiver.url, "round.stopped")
    ended(cast)
    failure = {"code": "gate_kl", "values": {"value": "61", "bound": "50"}}
    Iteration.objects.create(
        project=cast.project, number=4, state="stopped", finished_at=timezone.now(), failure=failure
    )
    assert (deliveries.collect(), deliveries.send_due()) == (1, 1)
    content = json.loads(receiver.got[0][1])
    assert (content["round"], content["status"]) == (4, "stopped")
    assert content["reason"] == "The policy’s KL divergence of 61 is above the gate of 50."


def test_what_does_not_arrive_is_sent_again_with_growing_pauses_until_nobody_tries_any_more(
    cast: Cast, receiver: Receiver
) -> None:
    webhook(cast, receiver.url)
    ended(cast)
    deliveries.collect()
    receiver.replies = [500, 0, 302, 404, 503, 500]
    now, said = timezone.now(), []
    for pause in (*deliveries.PAUSES, timedelta(0)):
        assert deliveries.send_due(now=now) == 0
        delivery = Delivery.objects.get()
        said.append((delivery.failure["code"], delivery.failure["values"].get("status")))
        if pause:
            assert delivery.next_attempt_at == now + pause
            assert deliveries.send_due(now=now + pause - timedelta(seconds=1)) == 0
            now += pause
    assert said == [
        ("webhook_refused", 500), ("webhook_unreachable", None), ("webhook_refused", 302), ("webhook_refused", 404),
        ("webhook_refused", 503), ("webhook_refused", 500),
    ]  # fmt: skip
    assert (delivery.state, delivery.attempts, len(receiver.got)) == ("failed", 6, 6)
    assert deliveries.send_due(now=now + timedelta(days=9)) == 0
    # Somebody mends the receiver and asks for it again.
    client = as_user("manager", cast)
    page = client.get(url(cast, "notifications")).content.decode()
    assert "The server replied with status 500." in page
    assert escape(json.dumps(delivery.payload, indent=1, ensure_ascii=False)) in page
    client.post(url(cast, "replay_delivery", delivery.pk))
    assert deliveries.send_due() == 1
    assert {headers["X-Hone-Delivery"] for headers, _body in receiver.got} == {str(delivery.uid)}
    assert AuditEvent.objects.filter(verb="notification.replayed", actor=cast.manager).count() == 1


PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "::1"]
PRIVATE += ["fe80::1", "fd00::1", "::ffff:127.0.0.1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255"]


def test_no_webhook_reaches_a_private_address_under_whatever_name(
    cast: Cast, receiver: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [address for address in PRIVATE if webhook_client.is_public(address)] == []
    assert webhook_client.is_public("93.184.215.14")
    settings.HONE_PRIVATE_WEBHOOKS = False
    webhook(cast, receiver.url)
    ended(cast)
    deliveries.collect()
    assert deliveries.send_due() == 0
    assert Delivery.objects.get().failure == {"code": "webhook_private", "values": {}}
    # A name with a public address and a private one is refused as a whole.
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("93.184.215.14", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **given: found)
    with pytest.raises(webhook_client.NotDelivered, match="webhook_private"):
        webhook_client.post("http://rebound.example/", b"{}", key="k", headers={})
    assert receiver.got == []


def test_a_certificate_that_nobody_vouches_for_is_refused(cast: Cast, receiver: Receiver) -> None:
    with pytest.raises(webhook_client.NotDelivered) as refused:
        webhook_client.post(receiver.url.replace("http:", "https:"), b"{}", key="k", headers={})
    assert refused.value.message.code == "webhook_unreachable"
    assert issubclass(ssl.SSLError, OSError)


@pytest.mark.parametrize(
    ("kind", "address", "said"),
    [
        ("webhook", "ftp://x.example/", "http:// or https:// address"),
        ("webhook", "http://user:secret@x.example/", "without a password"),
        ("webhook", "http://[", "http:// or https:// address"),
        ("webhook", "http://x.example/\r\nX: y", "http:// or https:// address"),
        ("email", "nobody", "That is no e-mail address."),
        ("fax", "123", "Choose a webhook or an e-mail address."),
    ],
)
def test_addresses_that_are_none_are_refused(cast: Cast, settings: Any, kind: str, address: str, said: str) -> None:
    settings.EMAIL_HOST = "mail.example"
    with pytest.raises(Refused, match=said):
        deliveries.add(project=cast.project, kind=kind, address=address, chosen=["run.failed"], by=None)


def test_an_e_mail_says_what_happened_where_a_server_is_named(cast: Cast, settings: Any) -> None:
    with pytest.raises(Refused, match="HONE_EMAIL_URL names no server"):
        deliveries.add(project=cast.project, kind="email", address="a@b.example", chosen=["run.failed"], by=None)
    settings.EMAIL_HOST = "mail.example"
    deliveries.add(project=cast.project, kind="email", address="a@b.example", chosen=["run.failed"], by=None)
    run = ended(cast)
    deliveries.collect()
    assert deliveries.send_due() == 1
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["a@b.example"], "[kindness] A run has failed")
    assert f"run: {run.pk}\n" in message.body


def test_the_page_adds_tests_and_removes_an_address(cast: Cast, receiver: Receiver) -> None:
    client = as_user("manager", cast)
    form = {"kind": "webhook", "address": receiver.url, "events": ["run.failed"]}
    assert client.post(url(cast, "notifications"), form | {"address": "x"}).status_code == 400
    client.post(url(cast, "notifications"), form)
    target = NotificationTarget.objects.get()
    assert webhook_client.key_of(target.salt) in client.get(url(cast, "notifications")).content.decode()
    client.post(url(cast, "test_notification", target.pk))
    assert deliveries.send_due() == 1
    assert json.loads(receiver.got[0][1])["test"] is True
    client.post(url(cast, "remove_notification", target.pk))
    assert not Delivery.objects.exists()
    assert as_user("researcher", cast).get(url(cast, "notifications")).status_code == 403
    verbs = AuditEvent.objects.filter(verb__startswith="notification.").order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["notification.added", "notification.removed"]


def told(receiver: Receiver) -> list[dict[str, Any]]:
    """What came, once everything is collected and sent."""
    before = len(receiver.got)
    deliveries.collect()
    deliveries.send_due()
    return [json.loads(body) for _headers, body in receiver.got[before:]]


def test_judgments_are_told_together_and_checks_are_not(cast: Cast, receiver: Receiver) -> None:
    before = make_comparison(cast.project, "Before?")
    judge(claimed(cast), order_of(before))
    assert not OutboxEvent.objects.exists()  # nobody hears of it
    webhook(cast, receiver.url, "judgments.submitted")
    for number in range(2):
        task = make_comparison(cast.project, f"Question {number}?")
        judge(claimed(cast), order_of(task))
    first, second = Judgment.objects.order_by("pk")[1:]
    (content,) = told(receiver)
    assert (content["event"], content["project"], content["count"]) == ("judgments.submitted", "kindness", 2)
    assert [{name: each[name] for name in ("judgment", "kind", "revision")} for each in content["judgments"]] == [
        {"judgment": judgment.pk, "kind": "compare", "revision": 1} for judgment in (first, second)
    ]
    queue.withdraw(assignment_id=second.assignment_id, labeler=cast.labeler, draft={})
    assert told(receiver)[0]["judgments"][0] | {"at": ""} == {
        "judgment": second.pk,
        "task": second.task_id,
        "kind": "compare",
        "revision": 2,
        "adjudication": False,
        "withdrawn": True,
        "at": "",
    }
    assert (told(receiver), OutboxEvent.objects.count()) == ([], 0)
    Judgment.objects.filter(pk=first.pk).update(is_check=True)
    first.refresh_from_db()
    judge(first.assignment, order_of(first.task))
    assert told(receiver) == []


def test_nothing_is_told_of_what_was_rolled_back(cast: Cast, receiver: Receiver) -> None:
    webhook(cast, receiver.url, "judgments.submitted")
    task = make_comparison(cast.project)
    with transaction.atomic():
        judge(claimed(cast), order_of(task))
        transaction.set_rollback(True)
    assert not Judgment.objects.exists()
    assert told(receiver) == []


def test_exports_imports_and_promotions_are_told(cast: Cast, receiver: Receiver, tmp_path: Path) -> None:
    webhook(cast, receiver.url, "snapshot.ready", "snapshot.failed", "import.finished", "model.promoted")
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "What is a hen?"}\n', encoding="utf-8")
    import_file(project=cast.project, path=path, by=cast.manager)
    snapshot = snapshots.freeze(project=cast.project, kind="prompts", by=cast.manager)
    base = versions.base(cast.project)
    ModelVersion.objects.filter(pk=base.pk).update(active=False)
    versions.promote(base, by=cast.manager)
    imported, ready, *promotions = told(receiver)
    promoted = promotions[-1]  # the base model was put into use when it was made
    assert (imported["event"], imported["state"], imported["created"]["prompts"]) == ("import.finished", "done", 1)
    assert imported["file"] == "in.jsonl"
    assert (ready["event"], ready["snapshot"], ready["sha256"]) == ("snapshot.ready", snapshot.pk, snapshot.sha256)
    assert {file["name"] for file in ready["files"]} == set(snapshot.files)
    assert (promoted["event"], promoted["model"], promoted["rolled_back"]) == ("model.promoted", str(base), False)
    broken = snapshots.request(project=cast.project, kind="prompts", by=cast.manager)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(snapshots, "_write", lambda *_arguments: (_ for _ in ()).throw(OSError(28, "full")))
        snapshots.build(broken.pk)
    (failed,) = told(receiver)
    assert (failed["event"], failed["snapshot"], bool(failed["error"])) == ("snapshot.failed", broken.pk, True)


def test_ends_are_told_however_long_nobody_collected(cast: Cast, receiver: Receiver, settings: Any) -> None:
    """Weeks, and more of them than are looked at at once."""
    now = timezone.now()
    target = webhook(cast, receiver.url)
    NotificationTarget.objects.filter(pk=target.pk).update(created_at=now - timedelta(days=60))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deliveries.events, "MOST", 2)
        for days in (50, 49, 48, 20, 19):
            run = ended(cast)
            TrainingRun.objects.filter(pk=run.pk).update(finished_at=now - timedelta(days=days))
        made = [deliveries.collect() for _ in range(5)]
    assert (sum(made), made[0]) == (5, 2)
    assert Delivery.objects.count() == 5
    assert deliveries.collect() == 0


def test_a_receiver_that_fails_holds_up_nobody_else(cast: Cast, receiver: Receiver) -> None:
    """It is asked once in a pass, for all that is due; when it is well again, all that failed is sent by one click."""
    dead = webhook(cast, "http://127.0.0.1:1/")
    webhook(cast, receiver.url)
    for _ in range(3):
        ended(cast)
    deliveries.collect()
    assert deliveries.send_due() == 3
    assert list(dead.deliveries.values_list("attempts", flat=True)) == [1, 1, 1]
    dead.deliveries.update(state="failed")
    NotificationTarget.objects.filter(pk=dead.pk).update(address=receiver.url)
    client = as_user("manager", cast)
    assert "Send all that failed again" in client.get(url(cast, "notifications")).content.decode()
    client.post(url(cast, "replay_failed", dead.pk))
    assert deliveries.send_due() == 3
    assert "Send all that failed again" not in client.get(url(cast, "notifications")).content.decode()
    page = client.get(url(cast, "notifications"), {"state": "failed"})
    assert page.context["page"].rows == []


def test_what_is_written_follows_the_targets(cast: Cast, receiver: Receiver, settings: Any) -> None:
    first = webhook(cast, receiver.url, "judgments.submitted", "run.failed")
    second = webhook(cast, receiver.url, "snapshot.ready")
    cast.project.refresh_from_db()
    assert cast.project.outbox_events == ["judgments.submitted", "snapshot.ready"]
    deliveries.remove(first, by=cast.manager)
    cast.project.refresh_from_db()
    assert cast.project.outbox_events == ["snapshot.ready"]
    deliveries.remove(second, by=cast.manager)
    cast.project.refresh_from_db()
    assert cast.project.outbox_events == []
    settings.EMAIL_HOST = "mail.example"
    with pytest.raises(Refused, match="webhooks alone"):
        deliveries.add(
            project=cast.project, kind="email", address="a@b.example", chosen=["judgments.submitted"], by=None
        )
