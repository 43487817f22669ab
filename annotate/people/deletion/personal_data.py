"""The kinds of data that name a person, and how each is deleted.

Every kind deletes a bounded number of records in one transaction and is asked again until nothing is left, so a job
that died is simply followed by another one. Other apps register the kinds that are theirs in `ready()`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.data import user_conversations
from annotate.labeling import queue
from annotate.models import (
    ApiToken,
    Assignment,
    Author,
    ChatTurn,
    ExamAnswer,
    GatewayCompletion,
    IdempotentRequest,
    Invitation,
    Judgment,
    JudgmentExclusion,
    Membership,
    PersonDeletion,
    Project,
    User,
)
from annotate.people import members
from annotate.people.audit import name_erasure
from annotate.people.audit.name_erasure import Names
from annotate.quality.review import exclusions

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

MOST_COUNTED = 10_000
IMPORTED = "imported:"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Data of one kind. `place` orders the kinds: the names go last, as other kinds look for them.

    remove: deletes at most so many records, inside a transaction, and returns how many; 0 where nothing is left. It
    counts them by `count`.
    left: the records that there are, for the preview; None for a kind that has no number.
    """

    name: str
    label: "StrOrPromise"
    place: int
    remove: Callable[[PersonDeletion, int], int]
    left: Callable[[User], QuerySet] | None = None


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    _kinds[kind.name] = kind


def kinds() -> list[Kind]:
    """In the order in which they are deleted."""
    return sorted(_kinds.values(), key=lambda kind: kind.place)


def remove_rows(rows: QuerySet, most: int) -> int:
    """Delete at most so many of these rows; how many of them, without what is deleted with them."""
    keys = list(rows.order_by("pk").values_list("pk", flat=True)[:most])
    rows.model._default_manager.filter(pk__in=keys).delete()
    return len(keys)


def tombstone(person: User) -> str:
    """The user name of the account when its owner's is gone.

    One that stands for somebody in a file of a project keeps that part: it says whose judgments these are not.
    """
    name = f"deleted-{person.pk}"
    if person.username.startswith(IMPORTED):
        return ":".join([*person.username.split(":", 2)[:2], name])
    return name if not User.objects.filter(username__iexact=name).exclude(pk=person.pk).exists() else f"{name}-{name}"


def _memberships(person: User) -> "QuerySet[Membership]":
    return Membership.objects.filter(user=person)


def _leave_project(deletion: PersonDeletion, most: int) -> int:
    """One role at a time: the tasks that the person holds go back to the queue."""
    membership = _memberships(deletion.person).select_related("project").first()
    if membership is None:
        return 0
    released = members.take_role(
        user=deletion.person, project=membership.project, role=membership.role, by=deletion.requested_by
    )
    if released is not None:
        transaction.on_commit(lambda: queue.begin_task_change(released))
    return count(deletion, "memberships", 1)


def _tokens(person: User) -> "QuerySet[ApiToken]":
    return ApiToken.objects.filter(user=person)


def _api_requests(person: User) -> "QuerySet[IdempotentRequest]":
    return IdempotentRequest.objects.filter(user=person)


def _own_conversations(person: User) -> "QuerySet[GatewayCompletion]":
    """Of the gateway, in which a token of the person is the user: what their program said of itself is theirs."""
    users = [user_conversations.end_user_of(token) for token in _tokens(person).select_related("project")]
    return GatewayCompletion.objects.filter(end_user__in=users).exclude(metadata={})


def _kept_conversations(person: User) -> "QuerySet[GatewayCompletion]":
    return GatewayCompletion.objects.filter(asked_by=person)


def _invitations(person: User) -> "QuerySet[Invitation]":
    return Invitation.objects.filter(accepted_by=person).exclude(label="")


def _drafts(person: User) -> "QuerySet[Assignment]":
    return Assignment.objects.filter(labeler=person, draft__isnull=False)


def _chat_turns(person: User) -> "QuerySet[ChatTurn]":
    """Of chats that were never handed in."""
    unfinished = ChatTurn.objects.filter(assignment__labeler=person)
    return unfinished.exclude(assignment__state=Assignment.State.SUBMITTED)


def _exam_drafts(person: User) -> "QuerySet[ExamAnswer]":
    return ExamAnswer.objects.filter(attempt__labeler=person, draft__isnull=False)


def _leave_out(deletion: PersonDeletion, most: int) -> int:
    """One project at a time, as a manager does it; each is carried out by a job of its own."""
    if deletion.judgments != PersonDeletion.Judgments.LEAVE_OUT:
        return 0
    done = JudgmentExclusion.objects.filter(
        labeler=deletion.person, undone_at=None, created_at__gte=deletion.created_at
    )
    counted = Judgment.objects.filter(Judgment.COUNTED, labeler=deletion.person).exclude(
        project__in=done.values("project")
    )
    first = counted.order_by("created_at").first()
    if first is None:
        return 0
    exclusions.plan(
        project=Project.objects.get(pk=first.project_id),
        labeler=deletion.person,
        since=_earliest(deletion.person, first.project_id),
        reason=_("The person asked for the deletion of their data."),
        by=deletion.requested_by,
    )
    return count(deletion, "left_out", 1)


def _earliest(person: User, project: int) -> datetime:
    own = Judgment.objects.filter(labeler=person, project=project).order_by("created_at")
    return own.values_list("created_at", flat=True)[0]


def _erase_names(deletion: PersonDeletion, most: int) -> int:
    """Names in events of the audit log that an earlier version wrote, or in a text; a batch of events at a time."""
    last, erased = name_erasure.erase(
        person=deletion.person, names=Names.of(deletion.person), subject=deletion, after=deletion.last_event, most=most
    )
    looked_at = last > deletion.last_event
    deletion.last_event = last
    PersonDeletion.objects.filter(pk=deletion.pk).update(last_event=last)
    count(deletion, "audit", erased)
    return int(looked_at)


def _erase_account(deletion: PersonDeletion, most: int) -> int:
    person = deletion.person
    if person.deleted_at is not None:
        return 0
    blank = {"first_name": "", "last_name": "", "email": "", "language": "", "time_zone": "", "keys": {}}
    values = {
        **blank,
        "username": tombstone(person),
        "theme": User.Theme.SYSTEM,
        "sensitive_choice": "",
        "notices_seen_at": None,
        "last_login": None,
        "created_by": None,
        "deleted_at": timezone.now(),
    }
    Author.objects.filter(user=person).update(name=str(values["username"]))
    User.objects.filter(pk=person.pk).update(**values)
    person.refresh_from_db()
    return count(deletion, "account", 1)


def count(deletion: PersonDeletion, kind: str, number: int) -> int:
    """Write down that so many records of a kind are deleted; the same number."""
    if number:
        deletion.removed[kind] = deletion.removed.get(kind, 0) + number
        PersonDeletion.objects.filter(pk=deletion.pk).update(removed=deletion.removed)
    return number


def register_rows(
    name: str,
    label: "StrOrPromise",
    place: int,
    left: Callable[[User], QuerySet],
) -> None:
    """A kind of rows that are deleted."""

    def remove(deletion: PersonDeletion, most: int) -> int:
        return count(deletion, name, remove_rows(left(deletion.person), most))

    register(Kind(name=name, label=label, place=place, remove=remove, left=left))


def register_columns(
    name: str,
    label: "StrOrPromise",
    place: int,
    left: Callable[[User], QuerySet],
    *,
    values: Callable[[User], Mapping[str, Any]],
) -> None:
    """A kind of rows that stay, with these values; `left` are those that have others."""

    def remove(deletion: PersonDeletion, most: int) -> int:
        rows = left(deletion.person)
        keys = list(rows.order_by("pk").values_list("pk", flat=True)[:most])
        return count(deletion, name, rows.model._default_manager.filter(pk__in=keys).update(**values(deletion.person)))

    register(Kind(name=name, label=label, place=place, remove=remove, left=left))


# Before the tokens: these are found by them.
register_columns(
    "gateway_metadata",
    gettext_lazy("Metadata of conversations of the gateway whose user is a token of theirs"),
    8,
    _own_conversations,
    values=lambda person: {"metadata": {}},
)
register_columns(
    "gateway_conversations",
    gettext_lazy("Who asked for conversations that the gateway kept"),
    9,
    _kept_conversations,
    values=lambda person: {"asked_by": None},
)
register_rows("tokens", gettext_lazy("API tokens"), 10, _tokens)
register_rows("api_requests", gettext_lazy("Kept replies of the API"), 11, _api_requests)
register(
    Kind(
        name="memberships",
        label=gettext_lazy("Roles in projects, with pauses, limits, languages and skills"),
        place=20,
        remove=_leave_project,
        left=_memberships,
    )
)
register_columns(
    "invitations",
    gettext_lazy("Notes of the invitations that they accepted"),
    30,
    _invitations,
    values=lambda person: {"label": ""},
)
register_columns(
    "drafts",
    gettext_lazy("Drafts of tasks"),
    40,
    _drafts,
    values=lambda person: {"draft": None, "draft_page": ""},
)
register_columns(
    "exam_drafts", gettext_lazy("Drafts of exam tasks"), 41, _exam_drafts, values=lambda person: {"draft": None}
)
register_rows("chat_turns", gettext_lazy("Turns of chats that were not handed in"), 42, _chat_turns)
register(
    Kind(name="left_out", label=gettext_lazy("Projects whose judgments are left out"), place=60, remove=_leave_out)
)
register(
    Kind(name="audit", label=gettext_lazy("Events of the audit log with their name"), place=80, remove=_erase_names)
)
register(
    Kind(
        name="account",
        label=gettext_lazy("User name, name, e-mail address, password and preferences"),
        place=90,
        remove=_erase_account,
        left=lambda person: User.objects.filter(pk=person.pk, deleted_at=None),
    )
)
