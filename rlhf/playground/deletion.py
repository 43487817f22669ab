"""A person's chats of the playground, and their address for notifications, deleted on request."""

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy

from annotate.models import PersonDeletion, User
from annotate.people import audit
from annotate.people.deletion import personal_data
from annotate.people.deletion.waiting import NotYet
from rlhf.models import NotificationTarget, PlaygroundChat, PlaygroundReply, TrainingRun
from rlhf.runs import runs


def register() -> None:
    personal_data.register(
        personal_data.Kind(
            name="notifications",
            label=gettext_lazy("E-mail addresses for notifications of projects"),
            place=35,
            remove=_remove_addresses,
            left=_addresses,
        )
    )
    personal_data.register(
        personal_data.Kind(
            name="playground",
            label=gettext_lazy("Chats of the playground"),
            place=45,
            remove=_remove_chats,
            left=_chats,
        )
    )


def _addresses(person: User) -> QuerySet[NotificationTarget]:
    found = NotificationTarget.objects.filter(kind=NotificationTarget.Kind.EMAIL, address__iexact=person.email)
    return found if person.email else found.none()


def _remove_addresses(deletion: PersonDeletion, most: int) -> int:
    targets = list(_addresses(deletion.person).select_related("project").order_by("pk")[:most])
    for target in targets:
        audit.record(
            verb="notification.removed",
            actor=deletion.requested_by,
            subject=target,
            project=target.project,
            person=deletion.person,
        )
        target.delete()
    return personal_data.count(deletion, "notifications", len(targets))


def _chats(person: User) -> QuerySet[PlaygroundChat]:
    return PlaygroundChat.objects.filter(user=person)


def _remove_chats(deletion: PersonDeletion, most: int) -> int:
    """Those in which no reply is on its way: its worker writes into it until it sees that it is cancelled."""
    going = PlaygroundReply.objects.filter(turn__chat__user=deletion.person).exclude(run__status__in=TrainingRun.ENDED)
    if uncalled := list(going.filter(run__cancel_requested_at=None).select_related("run")[:most]):
        for reply in uncalled:
            runs.request_cancel(run=reply.run, by=None)
        return len(uncalled)
    busy = going.values("turn__chat")
    removed = personal_data.remove_rows(_chats(deletion.person).exclude(pk__in=busy), most)
    if not removed and _chats(deletion.person).exists():
        raise NotYet
    personal_data.count(deletion, "playground", removed)
    return removed
