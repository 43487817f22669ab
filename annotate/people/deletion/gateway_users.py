"""What the gateway kept of a user of the model who has no account, deleted on request.

The user is known here only by a keyed hash of the name that a program gave, so the request gives the name. Their
conversations go with their feedback, and so does a prompt with its responses unless others have it too: somebody else
asked the same, a file brought it, or a task was made of it. A conversation is one short transaction, so a request that
died is simply made again.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from annotate.data import user_conversations
from annotate.data.pacing import Pace
from annotate.errors import Refused
from annotate.models import (
    Assignment,
    Demonstration,
    GatewayCompletion,
    GatewaySettings,
    Judgment,
    JudgmentRevision,
    Project,
    Prompt,
    PromptToIndex,
    Response,
    Task,
    TaskResponse,
    User,
)
from annotate.people import audit
from annotate.people.permissions import Capability, ensure

LONGEST_NAME = 2_000
MOST_AT_ONCE = 2_000
"""Conversations that a request deletes; the next one goes on."""
BATCH = 50


@dataclass(kw_only=True)
class Found:
    """Of a user: how much would be deleted, or was. kept_prompts: prompts of theirs that others have too, and stay."""

    conversations: int = 0
    feedback: int = 0
    prompts: int = 0
    kept_prompts: int = 0
    left: int = 0


def preview(*, project: Project, user: str, by: User | None) -> Found:
    """What there is of the user. Raises NotYours, and Refused for a name that is none."""
    if by is not None:
        ensure(by, Capability.MANAGE, project)
    kept = _conversations(project, user)
    asked = Prompt.with_unfinished.filter(pk__in=kept.values("prompt"))
    shared = asked.filter(_shared(kept)).count()
    return Found(
        conversations=kept.count(),
        feedback=Judgment.objects.filter(completion__in=kept, latest__isnull=False).count(),
        prompts=asked.count() - shared,
        kept_prompts=shared,
    )


def delete(
    *,
    project: Project,
    user: str,
    by: User | None,
    most: int = MOST_AT_ONCE,
    heartbeat: Callable[[], None] = lambda: None,
) -> Found:
    """Delete at most so many of the user's conversations; `left` says how many there are still.

    Raises as `preview`. by None: at the command line.
    """
    if by is not None:
        ensure(by, Capability.MANAGE, project)
    found, pace, asked = Found(), Pace(largest=BATCH), set[int]()
    # The last turns of a chat first: its opening stays as long as another prompt continues it.
    keys = list(_conversations(project, user).order_by("-pk").values_list("pk", flat=True)[:most])
    for batch in pace.batches(keys):
        heartbeat()
        with pace.transaction():
            asked |= _delete_batch(project, batch, found)
    remaining = _conversations(project, user)
    found.left = remaining.count()
    # A prompt that one conversation leaves may go with a later one, as the opening of a chat does with its last turn.
    there = set(Prompt.with_unfinished.filter(pk__in=asked).values_list("pk", flat=True))
    found.prompts = len(asked - there)
    found.kept_prompts = len(there.difference(remaining.values_list("prompt", flat=True)))
    if found.conversations:
        # Neither the name nor its hash: the event stays for ever.
        counts = {name: number for name, number in asdict(found).items() if name != "left"}
        settings = GatewaySettings.objects.get(project=project)
        audit.record(verb="gateway.user_deleted", actor=by, subject=settings, project=project, **counts)
    return found


def _conversations(project: Project, user: str) -> "QuerySet[GatewayCompletion]":
    if not user or len(user) > LONGEST_NAME:
        raise Refused(_("Name the user as the program does, in its field “user” or “safety_identifier”."), status=400)
    return GatewayCompletion.objects.filter(project=project, end_user=user_conversations.end_user_named(project, user))


def _shared(kept: "QuerySet[GatewayCompletion]") -> Q:
    """The condition of prompts that stay: feedback's own tasks and demonstrations don't count."""
    prompt = OuterRef("pk")
    others = GatewayCompletion.objects.filter(prompt=prompt).exclude(pk__in=kept.values("pk"))
    tasks = Task.with_unfinished.filter(prompt=prompt).exclude(judgments__completion__in=kept)
    shown = Demonstration.with_unfinished.filter(prompt=prompt).exclude(assignment__judgment__completion__in=kept)
    chats = Prompt.with_unfinished.filter(opening=prompt).exclude(pk__in=kept.values("prompt"))
    needed = (others, tasks, shown, chats)
    return reduce(or_, (Q(Exists(rows)) for rows in needed), ~Q(source=user_conversations.SOURCE))


def _delete_batch(project: Project, keys: list[int], found: Found) -> set[int]:
    """The prompts that were asked."""
    # As whoever keeps a conversation does: neither sees the other's half.
    list(GatewaySettings.objects.select_for_update(no_key=True).filter(project=project))
    kept = GatewayCompletion.objects.filter(pk__in=keys)
    asked = set(kept.values_list("prompt", flat=True))
    found.feedback += _delete_feedback(Judgment.objects.filter(completion__in=keys))
    found.conversations += len(kept)
    kept.delete()
    for number in sorted(asked, reverse=True):
        if not _delete_prompt(number):
            PromptToIndex.objects.create(prompt_number=number)
    return asked


def _delete_feedback(judgments: "QuerySet[Judgment]") -> int:
    """With the task that each has of its own. Append-only rows go too: a request for erasure is the stronger reason."""
    said = list(judgments.values_list("pk", "assignment", "task", "latest"))
    numbers, assignments, tasks = ([row[place] for row in said] for place in range(3))
    Judgment.objects.filter(pk__in=numbers).update(latest=None)
    revisions = JudgmentRevision.objects.filter(judgment__in=numbers)
    revisions._raw_delete(revisions.db)
    written = Demonstration.objects.filter(assignment__in=assignments)
    responses = list(written.values_list("response", flat=True))
    written.delete()
    Judgment.objects.filter(pk__in=numbers).delete()
    Assignment.objects.filter(pk__in=assignments).delete()
    TaskResponse.objects.filter(task__in=tasks).delete()
    Task.objects.filter(pk__in=tasks).delete()
    for number in responses:
        edit = Response.objects.filter(pk=number)
        if not _is_needed(edit):
            _remove(edit)
    return sum(latest is not None for _number, _assignment, _task, latest in said)


def _delete_prompt(number: int) -> bool:
    """False for one that others have too, which stays with its responses."""
    rows = Prompt.with_unfinished.filter(pk=number, source=user_conversations.SOURCE)
    responses = Response.objects.filter(prompt=number)
    if (prompt := rows.first()) is None or _is_needed(rows, beside=Response) or _is_needed(responses, beside=Response):
        return False
    _remove(responses)
    _remove(rows)
    if prompt.opening_id is not None:
        _delete_prompt(prompt.opening_id)  # made of this chat's first turns
    return True


def _is_needed(rows: "QuerySet", *, beside: type[models.Model] | None = None) -> bool:
    """Whether another record rests on one of these, but those of one model and those that go with them."""
    return any(
        _referring(relation, rows).exists()
        for relation in rows.model._meta.related_objects
        if relation.on_delete is not models.CASCADE and relation.related_model is not beside
    )


def _remove(rows: "QuerySet") -> None:
    """Append-only rows, which have no other end, with what is deleted with them."""
    for relation in rows.model._meta.related_objects:
        if relation.on_delete is models.CASCADE:
            _referring(relation, rows).delete()
    rows._raw_delete(rows.db)


def _referring(relation: Any, rows: "QuerySet") -> "QuerySet":
    found: QuerySet = relation.related_model._base_manager.filter(**{f"{relation.field.name}__in": rows.values("pk")})
    return found
