"""A labeler's tasks, for a front end of one's own: the next one, its draft, its submission, a skip, undo, and the turns
of a chat."""

from typing import Any, Literal

from django.utils.translation import gettext as _
from ninja import Field, Router, Schema
from pydantic import ConfigDict

from annotate import access
from annotate.api.bearer import ApiRequest, within_project
from annotate.api.shown_tasks import (
    LONGEST_KEY,
    ChatOut,
    DraftIn,
    DraftOut,
    ShownTask,
    SkipIn,
    SubmissionIn,
    chat_of,
    draft_reply,
    shown,
)
from annotate.errors import Refused
from annotate.forms.chat import ContinueChat
from annotate.forms.task_forms import draft_fields
from annotate.labeling import queue, task_kinds
from annotate.labeling.chats import turns
from annotate.labeling.qualification import is_qualified
from annotate.labeling.sensitive_content import marking
from annotate.models import Assignment, Task
from annotate.people.permissions import Capability

router = Router(tags=["labeling"])


class NextTask(Schema):
    """`reason`: why there is no task; empty where the queue has none left."""

    task: ShownTask | None
    reason: str


class SubmissionOut(Schema):
    """`repeated`: it had come before. `revised`: it takes the place of an earlier one. `surplus`: the time was over and
    others had judged the task; it is kept beside theirs."""

    repeated: bool
    revised: bool
    surplus: bool
    next: NextTask | None


class ChatIn(Schema):
    """`response`: the key of the chosen response, or of the one that `text` was edited from. `instead_of`: the
    `request` whose responses don't please."""

    model_config = ConfigDict(extra="forbid")
    action: Literal["say", "write", "choose", "ask", "take_back"]
    after: int = Field(ge=0, lt=10**6, description="How many turns the chat had when it was shown.")
    text: str = ""
    response: str = Field("", max_length=LONGEST_KEY)
    instead_of: int | None = Field(None, ge=1, lt=2**63)


@router.post("/projects/{slug:slug}/work/next", response=NextTask, summary="The labeler's current task")
@within_project(Capability.LABEL)
def next_task(request: ApiRequest) -> dict[str, Any]:
    """The same one until it is submitted or skipped, with its lease renewed."""
    return _next(request, queue.claim_next(labeler=request.user, project=request.project, ahead=False))


@router.get("/projects/{slug:slug}/work/{int:assignment_id}", response=ShownTask, summary="A task of one's own")
@within_project(Capability.LABEL)
def read_task(request: ApiRequest, assignment_id: int) -> dict[str, Any]:
    return shown(access.load(request, Assignment, pk=assignment_id))


@router.put("/projects/{slug:slug}/work/{int:assignment_id}/draft", response=DraftOut, summary="Keep a draft")
@within_project(Capability.LABEL)
def save_draft(request: ApiRequest, assignment_id: int, data: DraftIn) -> dict[str, Any]:
    assignment = access.load(request, Assignment, pk=assignment_id)
    names = task_kinds.response_keys(assignment)
    receipt = queue.save_draft(
        assignment_id=assignment.pk,
        labeler=request.user,
        draft=task_kinds.form_class(assignment).draft(names.to_ids(data.form_data())),
        page=data.page,
        version=data.version,
        base=data.base,
    )
    return draft_reply(receipt, names, request.project)


@router.post("/projects/{slug:slug}/work/{int:assignment_id}/submit", response=SubmissionOut, summary="Submit a task")
@within_project(Capability.LABEL)
def submit_task(request: ApiRequest, assignment_id: int, data: SubmissionIn) -> dict[str, Any]:
    """Also a task that was submitted before: then it is a revision."""
    assignment = access.load(request, Assignment, pk=assignment_id)
    assignment.labeler = request.user
    fields = task_kinds.response_keys(assignment).to_ids(data.form_data(), strict=True)
    submission = task_kinds.form_class(assignment).submission(fields)
    following = None
    if data.next:
        receipt, claimed = queue.submit_and_claim(assignment=assignment, submission=submission)
        following = _next(request, claimed)
    else:
        receipt = queue.submit(assignment_id=assignment.pk, labeler=request.user, submission=submission)
    return {
        "repeated": receipt.repeated,
        "revised": receipt.revised,
        "surplus": receipt.surplus,
        "next": following,
    }


@router.post("/projects/{slug:slug}/work/{int:assignment_id}/skip", response={204: None}, summary="Skip a task")
@within_project(Capability.LABEL)
def skip_task(request: ApiRequest, assignment_id: int, data: SkipIn) -> None:
    """The reason `upsetting` marks the prompt as one that may upset."""
    assignment = access.load(request, Assignment, pk=assignment_id)
    queue.skip(assignment_id=assignment.pk, labeler=request.user, reason=data.as_text)
    if data.reason == "upsetting" and assignment.task.prompt is not None:
        marking.report(prompt=assignment.task.prompt, by=request.user, reason=data.as_text)


@router.post("/projects/{slug:slug}/work/{int:assignment_id}/undo", response=ShownTask, summary="Undo a submission")
@within_project(Capability.LABEL)
def undo_task(request: ApiRequest, assignment_id: int) -> dict[str, Any]:
    """Take back what was submitted or skipped a moment ago: the task is the current one again, and what was entered its
    draft. Revisions are not undone."""
    assignment = access.load(request, Assignment, pk=assignment_id)
    return shown(queue.undo(assignment, labeler=request.user))


@router.get("/projects/{slug:slug}/work/{int:assignment_id}/chat", response=ChatOut, summary="How far a chat is")
@within_project(Capability.LABEL)
def read_chat(request: ApiRequest, assignment_id: int) -> dict[str, Any]:
    """To be asked again, once a second at most, while `waiting` is true."""
    return chat_of(ContinueChat(_own_chat(request, assignment_id)))


@router.post("/projects/{slug:slug}/work/{int:assignment_id}/chat", response=ChatOut, summary="Continue a chat")
@within_project(Capability.LABEL)
def continue_chat(request: ApiRequest, assignment_id: int, data: ChatIn) -> dict[str, Any]:
    """Add a turn, ask the model for responses, or take the last turn back. Sent again it counts once: it says after how
    many turns it comes. Where a model is there, `say` asks it too. The finished chat is handed in by `submit`."""
    assignment = _own_chat(request, assignment_id)
    keys = task_kinds.response_keys(assignment)
    named = keys.response_id(data.response) if data.response else None
    beside = ContinueChat.beside_the_turn(draft_fields(assignment.draft))
    arguments: dict[str, Any] = {"assignment_id": assignment.pk, "labeler": request.user, "after": data.after}
    if data.action == "choose":
        if named is None:
            raise Refused(_("Name the response that you choose."), status=400)
        went_on = turns.pick(**arguments, response_id=named)
    elif data.action == "write":
        went_on = turns.write(**arguments, written=data.text, edited_from=named)
    elif data.action == "say":
        went_on = turns.say_and_ask(**arguments, written=data.text)
    elif data.action == "ask":
        went_on = turns.ask(**arguments, instead_of=data.instead_of)
    else:
        went_on = turns.take_back(**arguments)
    if beside and went_on.has_grown:
        queue.save_draft(assignment_id=assignment.pk, labeler=request.user, draft=beside)
    return chat_of(ContinueChat(_own_chat(request, assignment_id)))


def _own_chat(request: ApiRequest, assignment_id: int) -> Assignment:
    assignment = access.load(request, Assignment, pk=assignment_id)
    if assignment.task.kind != Task.Kind.CHAT:
        raise Refused(_("This task isn't a chat."), status=400)
    return assignment


def _next(request: ApiRequest, assignment: Assignment | None) -> dict[str, Any]:
    if assignment is not None:
        return {"task": shown(assignment), "reason": ""}
    if not is_qualified(user=request.user, project=request.project):
        return {"task": None, "reason": _("Pass the exam of the project first, on its page.")}
    chosen = queue.chosen_kind(labeler=request.user, project=request.project)
    reason = queue.why_no_work(labeler=request.user, project=request.project, kind=chosen)
    return {"task": None, "reason": reason}
