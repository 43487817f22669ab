"""Write a prompt of one of InstructGPT's three kinds (Ouyang et al. 2022, section 3.2).

JudgmentRevision.content: {"messages": a chat whose last turn is the user's, "kind", "use_case", "language",
"sensitive"}. It becomes a prompt of the project, written by the labeler.
"""

from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.data import text
from annotate.errors import Refused
from annotate.forms.written import WritePrompt
from annotate.labeling.few_shot import FewShot, Messages, checked_pairs, checked_part
from annotate.labeling.submissions import Submission
from annotate.labeling.task_kinds import MadeFrom, TaskKind, WrittenTurn, content_fields
from annotate.models import Assignment, Author, Judgment, JudgmentRevision, Prompt, Task
from annotate.models.data.prompt import content_hash


def content(submission: Submission, assignment: Assignment) -> dict[str, Any]:
    given = content_fields(
        submission.content,
        required={"kind", "query"},
        optional={"instruction", "pairs", "use_case", "language", "sensitive"},
    )
    kind, use_case = given["kind"], given.get("use_case") or Prompt.UseCase.OTHER
    if kind not in Prompt.Kind.values:
        raise Refused(_("Say which kind of prompt it is."), status=400)
    if use_case not in Prompt.UseCase.values:
        raise Refused(_("Say what the prompt is for."), status=400)
    language = text.checked(given.get("language", ""), name=_("The language"), longest=10).strip()
    messages = _messages(given, kind=kind)
    _refuse_known(messages, assignment)
    return {
        "messages": messages,
        "kind": kind,
        "use_case": use_case,
        "language": language or assignment.project.language,
        "sensitive": bool(given.get("sensitive")),
    }


def _messages(given: dict[str, Any], *, kind: str) -> Messages:
    instruction = checked_part(given.get("instruction", ""), _("The instruction"))
    query = checked_part(given["query"], _("The prompt"))
    if kind != Prompt.Kind.FEW_SHOT:
        if not query:
            raise Refused(_("Write the prompt first, or skip the task."), status=400)
        return [{"role": "user", "content": query}]
    pairs = checked_pairs(given.get("pairs") or [])
    if not instruction or not query or not pairs:
        raise Refused(
            _("A few-shot prompt has an instruction, at least one example with its response, and a last query."),
            status=400,
        )
    return FewShot(instruction=instruction, pairs=tuple((q, a) for q, a in pairs), query=query).messages


def _refuse_known(messages: Messages, assignment: Assignment) -> None:
    """Raise Refused for a prompt that the project has, unless this assignment wrote it."""
    own = JudgmentRevision.objects.filter(judgment__assignment=assignment).order_by("-number").first()
    if own is not None and own.content.get("messages") == messages:
        return
    # Space around it makes no other prompt.
    same = [messages, [message | {"content": message["content"].strip()} for message in messages]]
    known = Prompt.objects.filter(project_id=assignment.project_id, content_hash__in=map(content_hash, same))
    if known.exists():
        raise Refused(_("The project has this very prompt already. Change it, so that it asks for something new."))


def store(*, judgment: Judgment, revision: JudgmentRevision) -> None:
    """The prompt that was written, once; one that an earlier revision wrote makes way if nothing refers to it."""
    written, project = revision.content, judgment.project
    digest = content_hash(written["messages"])
    values = {name: written[name] for name in ("kind", "use_case", "language", "sensitive")}
    _discard(judgment, keep=digest)
    new = {"messages": written["messages"], "source": "labelers", "author": Author.of(judgment.labeler)}
    save = partial(
        Prompt.objects.update_or_create,
        project=project,
        content_hash=digest,
        defaults=values,
        create_defaults=values | new,
    )
    Prompt.known(project_id=project.pk, digest=digest)
    try:
        with transaction.atomic():
            save()
    except IntegrityError:
        # An import that isn't seen yet brought it a moment ago.
        Prompt.known(project_id=project.pk, digest=digest)
        save()


def withdraw(*, judgment: Judgment) -> None:
    _discard(judgment, keep=None)


def _discard(judgment: Judgment, *, keep: str | None) -> None:
    """Delete the prompts that this judgment brought and nothing refers to, but for the one to keep."""
    contents = judgment.revisions.exclude(content={}).values_list("content", flat=True)
    digests = {content_hash(written["messages"]) for written in contents} - {keep}
    author = Author.of(judgment.labeler)
    for prompt in Prompt.objects.filter(project_id=judgment.project_id, content_hash__in=digests, author=author):
        try:
            with transaction.atomic():
                prompt.delete()
        except ProtectedError:
            continue  # it has a response or a task by now: it stays


def _last_message(_judgment: Judgment, revision: JudgmentRevision) -> str:
    messages = revision.content.get("messages") or []
    return messages[-1]["content"] if messages else ""


KIND = TaskKind(
    name=Task.Kind.WRITE_PROMPT,
    label=Task.Kind.WRITE_PROMPT.label,
    count_label=lambda count: ngettext("prompt to write", "prompts to write", count),
    form=WritePrompt,
    content=content,
    store=store,
    withdraw=withdraw,
    summary=_last_message,
    texts=lambda revision: [
        WrittenTurn(turn["role"], _("Written"), turn["content"]) for turn in revision.content.get("messages", [])
    ],
    made_from=MadeFrom.NOTHING,
    quotes_text=True,
)
