"""What a labeler hands in, checked. JudgmentRevision.content by kind of task, where more is asked than an order:

demonstrate   {"text": the ideal answer, "pairs"?: [[query, response], ...] of a few-shot prompt where he changed them}
write_prompt  {"messages": a chat whose last turn is the user's, "kind", "use_case", "language", "sensitive"}
chat          {"turns": [{"role", "text", "response"?: id, "offered"?: ids}]}, the turns that he added
rate          nothing: ratings, flags and notes have their own fields
"""

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _

from annotate.data import text
from annotate.errors import Refused
from annotate.labeling.chats.turns import Chat
from annotate.labeling.few_shot import FewShot, Messages
from annotate.labeling.submissions import Submission, checked_order, common_revision
from annotate.models import Assignment, JudgmentRevision, Prompt, Task
from annotate.models.prompt import content_hash

MOST_PAIRS = 20
LONGEST_PROMPT = 100_000


def checked(submission: Submission, *, assignment: Assignment) -> JudgmentRevision:
    """The submission as an unsaved revision without its judgment and number.

    Raises InvalidOrdering, UnknownResponse or Refused (400), each with a sentence.
    """
    if assignment.task.kind == Task.Kind.COMPARE:
        return checked_order(submission, assignment=assignment)
    if submission.tiers or submission.all_unacceptable or submission.margin is not None:
        raise Refused(_("Only comparisons have an order."), status=400)
    revision = common_revision(submission, assignment=assignment)
    revision.content = _CHECKS[Task.Kind(assignment.task.kind)](submission, assignment)
    return revision


def _demonstration(submission: Submission, assignment: Assignment) -> dict[str, Any]:
    content = _object(submission.content, required={"text"}, optional={"pairs"})
    written = text.as_written(text.checked(content["text"], name=_("The answer"), longest=text.LONGEST_RESPONSE))
    if not written:
        raise Refused(_("Write the answer first, or skip the task."), status=400)
    pairs = _changed_pairs(content.get("pairs"), assignment)
    return {"text": written} | ({"pairs": pairs} if pairs else {})


def _changed_pairs(pairs: Any, assignment: Assignment) -> list[list[str]]:
    """The pairs of a few-shot prompt as the labeler would have them; none where they are as they were."""
    prompt = assignment.task.prompt
    shown = FewShot.of(prompt.messages) if prompt is not None else None
    if pairs is None or shown is None:
        return []
    checked = _pairs(pairs)
    return [] if tuple(map(tuple, checked)) == shown.pairs else checked


def _written_prompt(submission: Submission, assignment: Assignment) -> dict[str, Any]:
    content = _object(
        submission.content,
        required={"kind", "query"},
        optional={"instruction", "pairs", "use_case", "language", "sensitive"},
    )
    kind, use_case = content["kind"], content.get("use_case") or Prompt.UseCase.OTHER
    if kind not in Prompt.Kind.values:
        raise Refused(_("Say which kind of prompt it is."), status=400)
    if use_case not in Prompt.UseCase.values:
        raise Refused(_("Say what the prompt is for."), status=400)
    language = text.checked(content.get("language", ""), name=_("The language"), longest=10).strip()
    messages = _prompt_messages(content, kind=kind)
    own = JudgmentRevision.objects.filter(judgment__assignment=assignment).order_by("-number").first()
    is_own = own is not None and own.content.get("messages") == messages
    # Space around it makes no other prompt.
    same = [messages, [message | {"content": message["content"].strip()} for message in messages]]
    known = Prompt.objects.filter(project_id=assignment.project_id, content_hash__in=map(content_hash, same))
    if not is_own and known.exists():
        raise Refused(_("The project has this very prompt already. Change it, so that it asks for something new."))
    return {
        "messages": messages,
        "kind": kind,
        "use_case": use_case,
        "language": language or assignment.project.language,
        "sensitive": bool(content.get("sensitive")),
    }


def _prompt_messages(content: dict[str, Any], *, kind: str) -> Messages:
    instruction = _part(content.get("instruction", ""), _("The instruction"))
    query = _part(content["query"], _("The prompt"))
    if kind != Prompt.Kind.FEW_SHOT:
        if not query:
            raise Refused(_("Write the prompt first, or skip the task."), status=400)
        return [{"role": "user", "content": query}]
    pairs = _pairs(content.get("pairs") or [])
    if not instruction or not query or not pairs:
        raise Refused(
            _("A few-shot prompt has an instruction, at least one example with its response, and a last query."),
            status=400,
        )
    return FewShot(instruction=instruction, pairs=tuple((q, a) for q, a in pairs), query=query).messages


def _pairs(pairs: Any) -> list[list[str]]:
    """Query-response pairs; those with nothing in them are left out."""
    if not isinstance(pairs, list | tuple) or len(pairs) > MOST_PAIRS:
        raise Refused(_("A few-shot prompt has at most %(count)d examples.") % {"count": MOST_PAIRS}, status=400)
    checked = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Refused(_("An example is a query and its response."), status=400)
        query, response = (_part(part, _("An example")) for part in pair)
        if bool(query) != bool(response):
            raise Refused(_("An example needs both its query and its response."), status=400)
        if query:
            checked.append([query, response])
    return checked


def _rating(submission: Submission, assignment: Assignment) -> dict[str, Any]:
    """Every criterion is asked for. Of a project without any, a flag, a note or a comment is a rating too."""
    rubric = assignment.project.rubric
    rated = submission.ratings if isinstance(submission.ratings, dict) else {}
    given: dict[str, Any] = next(iter(rated.values()), {})
    missing = [_(item["label"]) for item in rubric.criteria if item["name"] not in given] if rubric else []
    if missing:
        raise Refused(_("Still to rate: %(criteria)s.") % {"criteria": ", ".join(missing)}, status=400)
    if not (given or submission.flags or submission.notes or submission.comment.strip()):
        raise Refused(_("Say something about the answer, or skip the task."), status=400)
    return {}


def _chat(submission: Submission, assignment: Assignment) -> dict[str, Any]:
    chat = Chat.of(assignment)
    if chat.awaits_response:
        raise Refused(
            _("A chat ends with an answer: choose or write one, or take back the last turn.")
            if chat.turns
            else _("Choose or write an answer first, or skip the task."),
            status=400,
        )
    return {
        "turns": [
            {"role": turn.role, "text": turn.text}
            | ({"response": turn.response_id} if turn.response_id else {})
            | ({"offered": turn.offered} if turn.offered else {})
            for turn in chat.turns
        ]
    }


def _part(value: Any, name: str) -> str:
    return text.as_written(text.checked(value, name=name, longest=LONGEST_PROMPT))


def _object(content: Any, *, required: set[str], optional: set[str]) -> dict[str, Any]:
    if not isinstance(content, dict) or not required <= set(content) <= required | optional:
        raise Refused(_("The form came incomplete. Reload the page: your draft is kept."), status=400)
    return content


_CHECKS: dict[str, Callable[[Submission, Assignment], dict[str, Any]]] = {
    Task.Kind.DEMONSTRATE: _demonstration,
    Task.Kind.WRITE_PROMPT: _written_prompt,
    Task.Kind.RATE: _rating,
    Task.Kind.CHAT: _chat,
}
