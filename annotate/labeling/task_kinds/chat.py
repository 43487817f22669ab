"""Continue a chat turn by turn, with live responses of a model to choose from (see annotate.labeling.chats).

JudgmentRevision.content: {"turns": [{"role", "text", "response"?: id, "offered"?: ids}]}, the turns that the labeler
added. Each of the assistant's becomes a demonstration, and each choice among candidates a comparison.
"""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.errors import Refused
from annotate.forms.chat import ContinueChat
from annotate.labeling.chats import results
from annotate.labeling.chats.turns import Chat
from annotate.labeling.submissions import Submission
from annotate.labeling.task_kinds import MadeFrom, TaskKind, WrittenTurn
from annotate.models import Assignment, Judgment, JudgmentRevision, Task


def content(_submission: Submission, assignment: Assignment) -> dict[str, Any]:
    chat = Chat.of(assignment)
    if chat.awaits_response:
        raise Refused(
            _("A chat ends with a response: choose or write one, or take back the last turn.")
            if chat.turns
            else _("Choose or write a response first, or skip the task."),
            status=400,
        )
    turns = [
        {"role": turn.role, "text": turn.text}
        | ({"response": turn.response_id} if turn.response_id else {})
        | ({"offered": turn.offered} if turn.offered else {})
        for turn in chat.turns
    ]
    return {"turns": turns}


def summary(_judgment: Judgment, revision: JudgmentRevision) -> str:
    count = len(revision.content.get("turns", []))
    return ngettext("%(n)s turn", "%(n)s turns", count) % {"n": count}


def texts(revision: JudgmentRevision) -> list[WrittenTurn]:
    return [
        WrittenTurn(turn["role"], _("Chosen") if turn.get("offered") else _("Written"), turn["text"])
        for turn in revision.content.get("turns", [])
    ]


KIND = TaskKind(
    name=Task.Kind.CHAT,
    label=Task.Kind.CHAT.label,
    count_label=lambda count: ngettext("chat to continue", "chats to continue", count),
    form=ContinueChat,
    content=content,
    store=results.store,
    withdraw=results.withdraw,
    summary=summary,
    texts=texts,
    made_from=MadeFrom.PROMPTS,
)
