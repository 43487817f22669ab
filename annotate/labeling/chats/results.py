"""What a finished chat becomes: a demonstration for each of the assistant's turns, and a comparison for each choice.

The demonstration of the last turn is the whole chat with its response; those before teach how it got there. A choice
among K live responses is stored as a judged task of its own: the chosen one above the others, which nobody ordered.
"""

import uuid
from collections.abc import Iterator

from django.utils import timezone

from annotate.labeling.chats.turns import Chat
from annotate.models import (
    Assignment,
    ChatTurn,
    Demonstration,
    Judgment,
    JudgmentRevision,
    Response,
    Task,
    TaskResponse,
)


def store(*, judgment: Judgment, revision: JudgmentRevision) -> None:
    """Make what the chat brings; what an earlier hand-in brought and is gone now is taken back."""
    chat = Chat.of(judgment.assignment)
    chosen = {turn.response_id: turn for turn in chat.turns if turn.role == ChatTurn.Role.ASSISTANT}
    active = Demonstration.objects.filter(assignment_id=judgment.assignment_id)
    active.exclude(response__in=chosen).filter(withdrawn_at=None).update(withdrawn_at=timezone.now())
    for turn in chosen.values():
        assert turn.response is not None  # as every response has, by a constraint
        _demonstrate(turn.response, judgment.assignment)
        if len(turn.offered) > 1:
            _compare(turn, revision)


def withdraw(*, judgment: Judgment) -> None:
    """Take back all that the chat brought; its turns stay."""
    Demonstration.objects.filter(assignment_id=judgment.assignment_id, withdrawn_at=None).update(
        withdrawn_at=timezone.now()
    )
    for comparison in _comparisons(judgment.assignment):
        if comparison.latest is None:
            continue
        _revise(comparison, withdrawn=True, rubric=comparison.latest.rubric)
        Judgment.objects.filter(pk=comparison.pk).update(latest=None)
        Task.objects.filter(pk=comparison.task_id).update(
            state=Task.State.WITHDRAWN, judgments_given=0, consensus_stale_at=timezone.now()
        )


def _demonstrate(response: Response, assignment: Assignment) -> None:
    """A response that two people chose is one demonstration."""
    found = Demonstration.objects.filter(response=response).first()
    if found is None:
        Demonstration.objects.create(prompt_id=response.prompt_id, response=response, assignment=assignment)
    elif found.withdrawn_at is not None:
        Demonstration.objects.filter(pk=found.pk).update(withdrawn_at=None, assignment=assignment)


def _compare(turn: ChatTurn, revision: JudgmentRevision) -> None:
    """The choice of this turn as a judgment: the chosen response, and below it the others as equals."""
    if turn.judgment is not None and turn.judgment.latest_id is not None:
        return
    comparison = turn.judgment or _judged_task(turn)
    others = [key for key in turn.offered if key != turn.response_id]
    latest = _revise(
        comparison,
        tiers=[[turn.response_id], others],
        rubric=revision.rubric,
        source=revision.source,
        content={"chat": turn.assignment_id},
    )
    Judgment.objects.filter(pk=comparison.pk).update(latest=latest)
    Task.objects.filter(pk=comparison.task_id).update(
        state=Task.State.COMPLETE, judgments_given=1, consensus_stale_at=timezone.now()
    )


def _judged_task(turn: ChatTurn) -> Judgment:
    """A complete comparison of what was offered, given to the labeler and judged, all at once."""
    assignment, now = turn.assignment, timezone.now()
    assert turn.response is not None  # as every response has, by a constraint
    task = Task.objects.create(
        project=assignment.project,
        prompt_id=turn.response.prompt_id,
        judgments_wanted=1,
        judgments_given=1,
        slots_free=0,
        state=Task.State.COMPLETE,
    )
    TaskResponse.objects.bulk_create(
        TaskResponse(task=task, response_id=key, number=number) for number, key in enumerate(sorted(turn.offered))
    )
    given = Assignment.objects.create(
        task=task,
        labeler=assignment.labeler,
        project=assignment.project,
        state=Assignment.State.SUBMITTED,
        lease_until=now,
        opened_at=turn.created_at,
        ended_at=now,
        seed=assignment.seed,
        presentation=turn.offered,
    )
    comparison = Judgment.objects.create(
        assignment=given, task=task, labeler=assignment.labeler, project=assignment.project
    )
    ChatTurn.objects.filter(pk=turn.pk).update(judgment=comparison)
    return comparison


def _revise(comparison: Judgment, **values: object) -> JudgmentRevision:
    return JudgmentRevision.objects.create(
        judgment=comparison, number=comparison.revisions.count() + 1, client_id=uuid.uuid4(), **values
    )


def _comparisons(assignment: Assignment) -> Iterator[Judgment]:
    turns = assignment.chat_turns.select_related("judgment__latest").exclude(judgment=None)
    return (turn.judgment for turn in turns if turn.judgment is not None)
