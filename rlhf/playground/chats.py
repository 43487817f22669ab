"""What a person does in the playground: begin a chat, ask, stop, prefer a reply."""

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.data.stored_messages import refusal
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.labeling.queue.assignments import store_submission
from annotate.labeling.queue.leases import shuffled
from annotate.labeling.submissions import Submission
from annotate.models import Assignment, Author, Judgment, Project, Prompt, Response, Task, User
from annotate.models.data.prompt import content_hash
from annotate.people import audit
from annotate.people.permissions import Capability, can
from rlhf.ai_feedback import endpoints
from rlhf.loop.versions import policies
from rlhf.models import (
    ModelVersion,
    PlaygroundChat,
    PlaygroundColumn,
    PlaygroundReply,
    PlaygroundTurn,
    RunInput,
    Stage,
    TrainingRun,
)
from rlhf.playground import live_replies
from rlhf.runs import runs
from rlhf.runs.queues import workers

MOST_COLUMNS = 4
MOST_TURNS = 20
LONGEST_MESSAGE = 8_000
MOST_TOKENS = 1_024
TURNS_AN_HOUR = 60
SEEN_EVERY = timedelta(seconds=3)
SOURCE = "playground"
"""Source of the prompts of judged turns."""
TIE, BAD = "tie", "bad"
SERVED_SETTINGS = {"server_timeout": 120.0, "server_retries": 0, "server_logprobs": False}
"""Of a request to a served model: one, which is over after so many seconds."""
LONGEST_MODEL_NAME = 200
LONGEST_AUTHOR = 120


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A version for a column, or a model on a server of the site (HONE_AI_ENDPOINTS), and its settings of sampling."""

    version: ModelVersion | None = None
    endpoint: str = ""
    served_model: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)


def begin(*, project: Project, user: User, columns: Sequence[Chosen], is_blind: bool) -> PlaygroundChat:
    """A new chat. Blind ones have their columns in a random order. Raises Refused."""
    if not 2 <= len(columns) <= MOST_COLUMNS:
        raise Refused(_("Choose 2 to %(most)s models.") % {"most": MOST_COLUMNS}, status=400)
    for column in columns:
        if column.version is None:
            _check_served(column.endpoint, user=user, project=project)
            text.checked(column.served_model, name=_("The name of the model"), longest=LONGEST_MODEL_NAME)
        elif column.version.author is None:
            raise refusal("not_a_policy", status=400, version=column.version.label)
        if column.sampling.get("max_new_tokens", 0) > MOST_TOKENS:
            raise Refused(
                _("A reply in the playground has at most %(most)s tokens.") % {"most": MOST_TOKENS}, status=400
            )
    order = list(columns)
    if is_blind:
        random.SystemRandom().shuffle(order)
    with transaction.atomic():
        chat = PlaygroundChat.objects.create(project=project, user=user, is_blind=is_blind)
        for place, column in enumerate(order):
            PlaygroundColumn.objects.create(
                chat=chat,
                version=column.version,
                endpoint=column.endpoint,
                served_model=column.served_model,
                place=place,
                sampling=dict(column.sampling),
            )
    return chat


def _check_served(endpoint: str, *, user: User, project: Project) -> None:
    """Raise Refused for a server that the site does not have, and for anyone but managers: its replies may cost."""
    if not can(user, Capability.MANAGE, project):
        raise Refused(_("Only managers chat with models on a server: its replies may cost money."), status=403)
    endpoints.find(endpoint)


def ask(chat: PlaygroundChat, written: str) -> PlaygroundTurn:
    """Send a message: each version replies to it, after the reply that was preferred before. Raises Refused."""
    message = text.checked(written.strip(), name=_("The message"), longest=LONGEST_MESSAGE)
    if not message:
        raise Refused(_("Write a message first."), status=400)
    if TrainingRun.LIVE_QUEUE not in workers.listening():
        raise Refused(_("No version can reply: no worker is listening to the queue live. Your message is kept below."))
    with transaction.atomic():
        chat = PlaygroundChat.objects.select_for_update().select_related("project", "user").get(pk=chat.pk)
        _check_limits(chat)
        last = chat.turns.order_by("-number").first()
        messages = [] if last is None else [*last.messages, *_continued(last)]
        number = 1 if last is None else last.number + 1
        turn = PlaygroundTurn.objects.create(
            chat=chat, number=number, messages=[*messages, {"role": "user", "content": message}]
        )
        for column in chat.columns.select_related("version"):
            PlaygroundReply.objects.create(turn=turn, column=column, run=_queued_run(chat, column))
        PlaygroundChat.objects.filter(pk=chat.pk).update(seen_at=timezone.now())
    return turn


def _queued_run(chat: PlaygroundChat, column: PlaygroundColumn) -> TrainingRun:
    config = {"seed": random.SystemRandom().randrange(2**31)} | column.sampling
    options: dict[str, Any] = {"samples": 1, live_replies.OPTION: True}
    inputs: dict[str, ModelVersion] = {}
    if column.version is not None:
        inputs[RunInput.Role.MODEL] = column.version
    else:
        _check_served(column.endpoint, user=chat.user, project=chat.project)
        config |= SERVED_SETTINGS | {"served_model": column.served_model}
        options[live_replies.ENDPOINT] = column.endpoint
    return runs.enqueue(
        project=chat.project,
        stage=Stage.SAMPLE,
        config=config,
        options=options,
        inputs=inputs,
        by=chat.user,
        queue=TrainingRun.LIVE_QUEUE,
    )


def _check_limits(chat: PlaygroundChat) -> None:
    own = PlaygroundReply.objects.filter(turn__chat__user=chat.user)
    if own.exclude(run__status__in=TrainingRun.ENDED).exists():
        raise Refused(_("Wait until the replies are there, or stop them."))
    if chat.turns.count() >= MOST_TURNS:
        raise Refused(_("A chat has at most %(most)s turns. Begin another one.") % {"most": MOST_TURNS})
    hour = timezone.now() - timedelta(hours=1)
    if PlaygroundTurn.objects.filter(chat__user=chat.user, created_at__gt=hour).count() >= TURNS_AN_HOUR:
        raise Refused(
            _("You have sent %(most)s messages within an hour, as many as one person may.") % {"most": TURNS_AN_HOUR},
            status=429,
        )


def _continued(turn: PlaygroundTurn) -> list[dict[str, str]]:
    """The reply that the chat goes on from: the preferred one, else the first that is there. Raises Refused."""
    replies = [reply for reply in turn.replies.select_related("run", "column") if reply.is_done]
    if not replies:
        raise Refused(
            _("No version has replied to the last message, so the chat can’t go on from it. Begin another one.")
        )
    chosen = next((reply for reply in replies if reply.is_preferred), replies[0])
    return [{"role": "assistant", "content": chosen.text}]


def seen(chat: PlaygroundChat) -> None:
    """The page of the chat is there. Written every few seconds at most."""
    PlaygroundChat.objects.filter(pk=chat.pk, seen_at__lt=timezone.now() - SEEN_EVERY).update(seen_at=timezone.now())


def stop(chat: PlaygroundChat, *, by: User) -> None:
    """Stop all replies that are still to come."""
    going = PlaygroundReply.objects.filter(turn__chat=chat).exclude(run__status__in=TrainingRun.ENDED)
    for reply in going.select_related("run"):
        runs.request_cancel(run=reply.run, by=by)


def stop_abandoned() -> None:
    """Cancel the queued runs of pages that are gone; those that run are stopped by their worker."""
    gone = timezone.now() - live_replies.ABANDONED
    waiting = PlaygroundReply.objects.filter(run__status=TrainingRun.Status.QUEUED, turn__chat__seen_at__lt=gone)
    for reply in waiting.select_related("run"):
        runs.request_cancel(run=reply.run, by=None)


def prefer(turn: PlaygroundTurn, choice: str, *, by: User) -> Judgment:
    """Keep a preference as a judgment of the person: the place of the best reply, a tie, or that all are bad.

    The prompt, the replies and the comparison become records of the project like any other, and count in its snapshots;
    the prompt's source is SOURCE. Raises Refused.
    """
    with transaction.atomic():
        turn = PlaygroundTurn.objects.select_for_update().select_related("chat__project").get(pk=turn.pk)
        if turn.judgment_id is not None:
            raise Refused(_("You have judged this turn already."))
        replies = list(turn.replies.select_related("run", "column__version__author"))
        if not all(reply.is_done for reply in replies):
            raise Refused(_("Only a turn to which all versions have replied can be judged."))
        places = {str(reply.column.place): reply for reply in replies}
        if choice not in (*places, TIE, BAD):
            raise Refused(_("Choose the better reply, a tie, or that all are bad."), status=400)
        if len({reply.text.strip() for reply in replies}) < 2:
            raise Refused(_("All replies are the same, so there is nothing to compare."))
        best = places.get(choice)
        judgment = _judged(turn, replies, best=best, all_bad=choice == BAD, by=by)
        PlaygroundTurn.objects.filter(pk=turn.pk).update(judgment=judgment)
        if best is not None:
            PlaygroundReply.objects.filter(pk=best.pk).update(is_preferred=True)
        audit.record(verb="playground.judged", actor=by, subject=judgment, project=turn.chat.project, turn=turn.pk)
    return judgment


def _judged(
    turn: PlaygroundTurn, replies: Sequence[PlaygroundReply], *, best: PlaygroundReply | None, all_bad: bool, by: User
) -> Judgment:
    project = turn.chat.project
    prompt = _prompt(turn, by=by)
    # Replies of the same text are one response, as everywhere.
    responses: dict[str, Response] = {}
    for reply in replies:
        if reply.text.strip() not in responses:
            responses[reply.text.strip()] = Response.objects.create(
                prompt=prompt,
                author=_author(reply),
                text=reply.text,
                sampling=reply.run.config | {"run": reply.run_id} | _served_by(reply),
                seed=reply.run.seed,
                finish_reason=reply.finish_reason or Response.FinishReason.UNKNOWN,
            )
    task = queue.add_comparison(project=project, prompt=prompt, responses=list(responses.values()))
    # One judgment, this one: it takes the task's only place.
    Task.objects.filter(pk=task.pk).update(judgments_wanted=1, slots_free=1)
    task.refresh_from_db()
    now = timezone.now()
    assignment = Assignment.objects.create(
        task=task,
        labeler=by,
        project=project,
        state=Assignment.State.EXPIRED,
        lease_until=now,
        opened_at=turn.created_at,
        ended_at=now,
        **shuffled(task),
    )
    keys = [response.pk for response in responses.values()]
    tiers = [keys]
    if best is not None:
        first = responses[best.text.strip()].pk
        tiers = [[first], [key for key in keys if key != first]]
    submission = Submission(client_id=uuid.uuid4(), tiers=[] if all_bad else tiers, all_unacceptable=all_bad)
    return store_submission(assignment, submission).judgment


def _author(reply: PlaygroundReply) -> Author:
    """Of a served model's replies: a model by the name that the server has for it, and the server's here."""
    if reply.column.version is not None:
        assert reply.column.version.author is not None  # as `begin` made sure
        return reply.column.version.author
    served = _served_by(reply)
    name = f"{served['served_model'][:LONGEST_AUTHOR]} ({served['endpoint']})"
    return Author.objects.get_or_create(kind=Author.Kind.MODEL, name=name, user=None)[0]


def _served_by(reply: PlaygroundReply) -> dict[str, str]:
    if reply.column.version is not None:
        return {}
    return {"endpoint": reply.column.endpoint, "served_model": reply.run.result["served_model"]}


def _prompt(turn: PlaygroundTurn, *, by: User) -> Prompt:
    """The project's prompt of the turn; later turns are on the side of the split of the first one."""
    project, messages = turn.chat.project, turn.messages
    opening = None if turn.number == 1 else _prompt(turn.chat.turns.get(number=1), by=by)
    known = Prompt.known(project_id=project.pk, digest=content_hash(messages))
    if known is not None:
        return known
    return Prompt.objects.create(
        project=project,
        messages=messages,
        use_case=Prompt.UseCase.CHAT if turn.number > 1 else Prompt.UseCase.OTHER,
        source=SOURCE,
        author=Author.of(by),
        opening=opening,
    )


def default_versions(project: Project) -> list[ModelVersion]:
    """The policy in use and the newest other one."""
    return list(policies(project).order_by("-active", "-pk")[:2])
