"""The queue of notifications. Rows are the truth: a job collects what happened, another sends what is due.

One job at a time sends to a target. An attempt is claimed by moving the time of the next one, so that two jobs don't
send the same; one that dies in between is made again. So a receiver may get an event twice, and knows it by
X-Hone-Delivery.

A receiver that is down gets one attempt for all that is due of an event, which counts for all of it. So its queue ends
as fast as one delivery does, and the time that it takes others is one attempt's.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Case, F, Min, Q, QuerySet, Value, When
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data.stored_messages import StoredMessage, refusal
from annotate.errors import Refused
from annotate.models import Project, User
from annotate.people import audit, event_outbox
from rlhf.models import Delivery, NotificationTarget
from rlhf.notifications import events, webhook_client
from rlhf.notifications.webhook_client import NotDelivered

Kind, State = NotificationTarget.Kind, Delivery.State
PAUSES = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""After each failed attempt; after the last one nobody tries any more."""
OVERLAP = timedelta(hours=1)
"""By which ends of runs are looked at again: clocks of workers differ, and a transaction may commit late."""
KEPT = timedelta(days=30)
FAILED_KEPT = KEPT + timedelta(days=7)
"""Longer, so that what ended for its age can be seen and sent again."""
MOST_TARGETS = 20
AT_ONCE = 50
"""Deliveries of an event to a target."""
MOST_SECONDS = 12.0
"""In which one pass begins attempts: less than the pause between passes."""
LEASE = timedelta(seconds=60)
"""After which a job that sends to a target is taken for dead: longer than a pass with its last attempt."""
TURN = timedelta(milliseconds=1)
"""By which what was not tried itself comes first the next time, so that one refused event takes no others with it."""
MOST_BATCHES = 20
"""Of the outbox of a project in one go."""


def add(*, project: Project, kind: str, address: str, chosen: Iterable[str], by: User | None) -> NotificationTarget:
    """Add a target. Raises Refused (400) for an address or events that there are not."""
    names = [str(name) for name in NotificationTarget.Event.values if name in set(chosen)]
    if not names:
        raise Refused(_("Choose at least one event."), status=400)
    if kind == Kind.WEBHOOK:
        try:
            webhook_client.split(address)
        except NotDelivered as error:
            raise refusal(error.message.code, status=400, **error.message.values) from None
    elif kind == Kind.EMAIL:
        if not settings.EMAIL_HOST:
            raise Refused(_("This site sends no e-mail: HONE_EMAIL_URL names no server."), status=400)
        try:
            validate_email(address)
        except ValidationError:
            raise Refused(_("That is no e-mail address."), status=400) from None
    else:
        raise Refused(_("Choose a webhook or an e-mail address."), status=400)
    if kind == Kind.EMAIL and NotificationTarget.Event.JUDGMENTS_SUBMITTED in names:
        raise Refused(
            _("Judgments are told to webhooks alone: an e-mail every quarter of a minute helps nobody."), status=400
        )
    with transaction.atomic():
        _lock(project)
        if NotificationTarget.objects.filter(project=project).count() >= MOST_TARGETS:
            raise Refused(_("A project has at most %(most)s addresses.") % {"most": MOST_TARGETS})
        target = NotificationTarget.objects.create(
            project=project, kind=kind, address=address, events=names, salt=secrets.token_hex(32), created_by=by
        )
        _listen(project)
        audit.record(verb="notification.added", actor=by, subject=target, project=project, kind=kind, address=address)
    return target


def remove(target: NotificationTarget, *, by: User | None) -> None:
    """Remove a target with all that was sent to it."""
    with transaction.atomic():
        _lock(target.project)
        audit.record(
            verb="notification.removed", actor=by, subject=target, project=target.project, address=target.address
        )
        target.delete()
        _listen(target.project)


def _lock(project: Project) -> None:
    """One change of a project's targets at a time."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)


def _listen(project: Project) -> None:
    """Have the outbox filled with what the project's targets hear of."""
    chosen = NotificationTarget.objects.filter(project=project).values_list("events", flat=True)
    event_outbox.listen(project, {name for names in chosen for name in names} & set(events.OF_OUTBOX))


def replay(delivery: Delivery, *, by: User | None) -> None:
    """Send a delivery again, now, whatever became of it."""
    with transaction.atomic():
        Delivery.objects.filter(pk=delivery.pk).update(
            state=State.WAITING, attempts=0, next_attempt_at=timezone.now(), failure={}
        )
        audit.record(
            verb="notification.replayed", actor=by, subject=delivery, project=delivery.target.project, key=delivery.key
        )


def replay_failed(target: NotificationTarget, *, by: User | None) -> int:
    """Send again, now, all that did not arrive and nobody tries any more; returns how many there are."""
    with transaction.atomic():
        failed = target.deliveries.filter(state=State.FAILED)
        count: int = failed.update(state=State.WAITING, attempts=0, next_attempt_at=timezone.now(), failure={})
        if count:
            audit.record(
                verb="notification.replayed", actor=by, subject=target, project=target.project, deliveries=count
            )
    return count


def collect(*, now: datetime | None = None) -> int:
    """Queue what has happened since targets were added, each event once. Returns how many."""
    now = now or timezone.now()
    made = sum(_collect_ends(target, now) for target in NotificationTarget.objects.select_related("project"))
    made += sum(_collect_outbox(project, now) for project in event_outbox.projects())
    _remove_old(now)
    return made


def _remove_old(now: datetime) -> None:
    """What waits for too long ends as failed; what was sent again by a person gets its attempt first."""
    old = Delivery.objects.filter(created_at__lt=now - KEPT)
    tried = Q(attempts__gt=0) | Q(next_attempt_at__lt=now - KEPT)
    failure = StoredMessage("delivery_expired", {"days": KEPT.days}).as_json()
    old.filter(tried, state=State.WAITING).update(state=State.FAILED, failure=failure)
    old.filter(state=State.DELIVERED).delete()
    Delivery.objects.filter(created_at__lt=now - FAILED_KEPT, state=State.FAILED).delete()


def _collect_ends(target: NotificationTarget, now: datetime) -> int:
    """Runs and rounds. However long nobody collected, it goes on where it was."""
    since = target.created_at
    if target.collected_until is not None:
        since = max(since, target.collected_until - OVERLAP)
    found = events.since(target.project, since)
    known = set(target.deliveries.filter(created_at__gte=since).values_list("key", flat=True))
    new = [each for each in found if each.event in target.events and each.key not in known]
    # More than are looked at once go on behind the last of them.
    until = found[-1].at + OVERLAP if len(found) == events.MOST else now
    with transaction.atomic():
        _queue(target, new, now)
        NotificationTarget.objects.filter(pk=target.pk).update(collected_until=until)
    return len(new)


def _collect_outbox(number: int, now: datetime) -> int:
    """Each event is taken out in the transaction that queues its deliveries."""
    made = 0
    for _batch in range(MOST_BATCHES):
        with transaction.atomic():
            rows = event_outbox.take(number)
            project = Project.objects.get(pk=number)
            happened = events.of_outbox(rows, project)
            for target in NotificationTarget.objects.filter(project=project):
                heard = [each for each in happened if each.event in target.events and each.at >= target.created_at]
                _queue(target, heard, now)
                made += len(heard)
        if len(rows) < event_outbox.BATCH:
            break
    return made


def _queue(target: NotificationTarget, happened: Sequence[events.Happened], now: datetime) -> None:
    Delivery.objects.bulk_create(
        [
            Delivery(target=target, key=each.key, event=each.event, payload=each.payload, next_attempt_at=now)
            for each in happened
        ],
        ignore_conflicts=True,
    )


def send_due(*, now: datetime | None = None) -> int:
    """Make the attempts that are due, what has waited longest first; returns how many arrived.

    A target that fails is left for the next time, so that one that hangs holds up nobody but itself. now: of tests, in
    which no time passes.
    """
    clock: Callable[[], datetime] = timezone.now if now is None else lambda: now
    began = time.monotonic()
    due = Delivery.objects.filter(state=State.WAITING, next_attempt_at__lte=clock())
    groups = due.order_by().values_list("target", "event").annotate(first=Min("next_attempt_at"), oldest=Min("pk"))
    failed: set[int] = set()
    arrived = 0
    for target, event, _first, _oldest in groups.order_by("first", "oldest"):
        if target in failed:
            continue
        with _only_sender(target, clock) as is_only:
            if not is_only:
                continue
            own = due.filter(target=target, event=event).select_related("target__project")
            for delivery in list(own.order_by("next_attempt_at", "pk")[:AT_ONCE]):
                if time.monotonic() - began >= MOST_SECONDS:
                    return arrived
                result = _attempt(delivery, clock)
                if result is False:
                    failed.add(target)
                    break
                arrived += result is True
    return arrived


@contextmanager
def _only_sender(target: int, clock: Callable[[], datetime]) -> Iterator[bool]:
    """Whether nobody else sends to the target, and until the end of the block nobody does."""
    until = clock() + LEASE
    rows = NotificationTarget.objects.filter(pk=target)
    free = rows.filter(Q(sending_until=None) | Q(sending_until__lt=clock()))
    is_only = free.update(sending_until=until) == 1
    try:
        yield is_only
    finally:
        if is_only:
            rows.filter(sending_until=until).update(sending_until=None)


def _attempt(delivery: Delivery, clock: Callable[[], datetime]) -> bool | None:
    """Whether it arrived; None where somebody else has made the attempt."""
    at = clock()  # not the beginning of the pass: earlier attempts of it took their time
    pause = PAUSES[min(delivery.attempts, len(PAUSES) - 1)]
    unclaimed = Delivery.objects.filter(
        pk=delivery.pk, state=State.WAITING, attempts=delivery.attempts, next_attempt_at=delivery.next_attempt_at
    )
    if unclaimed.update(attempts=F("attempts") + 1, next_attempt_at=at + pause) != 1:
        return None
    sent = Delivery.objects.filter(pk=delivery.pk, state=State.WAITING)
    try:
        _send(delivery)
    except NotDelivered as error:
        is_last = delivery.attempts >= len(PAUSES)
        sent.update(failure=error.message.as_json(), state=State.FAILED if is_last else State.WAITING)
        others = Delivery.objects.filter(target=delivery.target, state=State.WAITING, next_attempt_at__lte=clock())
        if error.message.code != "webhook_unreachable":  # this event may be all that it refuses
            others = others.filter(event=delivery.event)
        _count_attempt(others.exclude(pk=delivery.pk), at, error.message)
        return False
    sent.update(state=State.DELIVERED, delivered_at=timezone.now(), failure={}, next_attempt_at=None)
    return True


def _count_attempt(others: QuerySet[Delivery], at: datetime, failure: StoredMessage) -> None:
    """What was due together has failed together."""
    pauses = [When(attempts=number, then=Value(at + pause - TURN)) for number, pause in enumerate(PAUSES)]
    others.update(
        attempts=F("attempts") + 1,
        next_attempt_at=Case(*pauses, default=Value(at + PAUSES[-1])),
        state=Case(When(attempts__gte=len(PAUSES), then=Value(State.FAILED)), default=Value(State.WAITING)),
        failure=failure.as_json(),
    )


def _send(delivery: Delivery) -> None:
    """Raises NotDelivered."""
    target = delivery.target
    if target.kind == Kind.WEBHOOK:
        body = json.dumps({"event": delivery.event, **delivery.payload}, ensure_ascii=False).encode()
        headers = {"X-Hone-Event": delivery.event, "X-Hone-Delivery": str(delivery.uid)}
        webhook_client.post(target.address, body, key=webhook_client.key_of(target.salt), headers=headers)
        return
    lines = [f"{name}: {value}" for name, value in delivery.payload.items() if value not in (None, {})]
    message = EmailMessage(
        subject=f"[{target.project.slug}] {delivery.get_event_display()}",
        body="\n".join(lines) + "\n",
        to=[target.address],
        headers={"X-Hone-Delivery": str(delivery.uid)},
    )
    try:
        message.send()
    except (OSError, ValueError) as error:
        raise NotDelivered("email_not_sent", error=" ".join(str(error).split())[:200]) from None
