"""A labeler's tasks, for a front end of one's own: the next one, its draft, its submission, a skip.

What a labeler is told here is what their page shows, by the same names: responses by keys that differ in every
assignment, and nothing that tells a hidden check from a task, or who wrote a response.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils.translation import gettext as _
from ninja import Field, Router, Schema
from pydantic import ConfigDict

from annotate import access
from annotate.api.bearer import ApiRequest, within_project
from annotate.forms.board import Board
from annotate.forms.chat import ContinueChat
from annotate.forms.task_forms import draft_fields, skip_reason
from annotate.labeling import queue, task_kinds
from annotate.labeling.model_self_identification import names_itself
from annotate.labeling.qualification import is_qualified
from annotate.labeling.rubric import translated
from annotate.labeling.sensitive_content import marking
from annotate.models import Assignment, Rubric
from annotate.people.permissions import Capability

router = Router(tags=["labeling"])
MOST_FIELDS = 200
LONGEST_KEY = 40


class TurnOut(Schema):
    role: str
    content: str


class ShownResponse(Schema):
    """`key` names it in a submission; `names_itself`: the text says which model wrote it."""

    key: str
    text: str
    names_itself: bool


class CriterionOut(Schema):
    name: str
    label: str
    min: int
    max: int
    help: str


class FlagOut(Schema):
    name: str
    label: str
    help: str


class RubricOut(Schema):
    id: int
    criteria: list[CriterionOut]
    flags: list[FlagOut]


class ShownTask(Schema):
    """`sensitive`: warn before the prompt is shown. `client_id`: of a submission of this showing. `page`: the task's
    page for people, where chats are continued."""

    id: int
    kind: str
    prompt: list[TurnOut]
    sensitive: bool
    responses: list[ShownResponse]
    instructions: dict[str, Any]
    rubric: RubricOut | None
    client_id: UUID
    lease_until: datetime
    draft: dict[str, list[str]]
    draft_version: int
    page: str


class NextTask(Schema):
    """`reason`: why there is no task; empty where the queue has none left."""

    task: ShownTask | None
    reason: str


class ImprovedIn(Schema):
    model_config = ConfigDict(extra="forbid")
    response: str = Field(max_length=LONGEST_KEY)
    text: str


class TaskFields(Schema):
    """What was entered in a task. Responses are named by their keys; `ranks`: 1 is best, equal ranks are ties, null is
    not ranked. `fields`: those of other kinds of task, such as `text` of a demonstration."""

    model_config = ConfigDict(extra="forbid")
    ranks: dict[str, int | None] = Field(default_factory=dict, max_length=MOST_FIELDS)
    ratings: dict[str, dict[str, int]] = Field(default_factory=dict, max_length=MOST_FIELDS)
    flags: dict[str, list[str]] = Field(default_factory=dict, max_length=MOST_FIELDS)
    notes: dict[str, str] = Field(default_factory=dict, max_length=MOST_FIELDS)
    margin: int | None = None
    all_unacceptable: bool = False
    improved: ImprovedIn | None = None
    comment: str = ""
    seconds: float | None = None
    fields: dict[str, str] = Field(default_factory=dict, max_length=MOST_FIELDS)

    def form_data(self) -> dict[str, list[str]]:
        """The fields as a form sends them (annotate.forms)."""
        found = {name: [value] for name, value in self.fields.items()}
        found |= {f"rank-{key}": ["" if rank is None else str(rank)] for key, rank in self.ranks.items()}
        found |= {f"flag-{key}": list(flags) for key, flags in self.flags.items()}
        found |= {f"note-{key}": [note] for key, note in self.notes.items()}
        for key, ratings in self.ratings.items():
            found |= {f"rating-{key}-{name}": [str(value)] for name, value in ratings.items()}
        if self.improved is not None:
            found |= {"improved_from": [self.improved.response], "improved_text": [self.improved.text]}
        once = {"margin": self.margin, "comment": self.comment, "seconds": self.seconds}
        found |= {name: [str(value)] for name, value in once.items() if value not in (None, "")}
        return found | ({"all_unacceptable": ["1"]} if self.all_unacceptable else {})


class SubmissionIn(TaskFields):
    client_id: UUID = Field(description="Sent again, a submission counts once.")
    rubric: int | None = Field(None, ge=1, lt=2**63, description="The rubric that was shown.")
    next: bool = Field(False, description="Give the next task with the reply.")

    def form_data(self) -> dict[str, list[str]]:
        rubric = {"rubric": [str(self.rubric)]} if self.rubric is not None else {}
        return super().form_data() | rubric | {"client_id": [str(self.client_id)]}


class SubmissionOut(Schema):
    """`repeated`: it had come before. `revised`: it takes the place of an earlier one. `surplus`: the time was over and
    others had judged the task; it is kept beside theirs."""

    repeated: bool
    revised: bool
    surplus: bool
    next: NextTask | None


class DraftIn(TaskFields):
    """`base`: the version that the draft was made from; where another one is stored meanwhile, `conflict` has it."""

    version: int | None = Field(None, ge=0, lt=10**15)
    base: int | None = Field(None, ge=0, lt=10**15)
    page: str = Field("", max_length=36, description="A name of the front end's open task.")


class DraftOut(Schema):
    kept: bool
    conflict: bool
    over: bool
    expired: bool
    version: int
    draft: dict[str, list[str]]


class SkipIn(Schema):
    model_config = ConfigDict(extra="forbid")
    reason: str = Field("", max_length=200)
    note: str = Field("", max_length=4_000)


@router.post("/projects/{slug:slug}/work/next", response=NextTask, summary="The labeler's current task")
@within_project(Capability.LABEL)
def next_task(request: ApiRequest) -> dict[str, Any]:
    """The same one until it is submitted or skipped, with its lease renewed."""
    return _next(request, queue.claim_next(labeler=request.user, project=request.project, ahead=False))


@router.get("/projects/{slug:slug}/work/{int:assignment_id}", response=ShownTask, summary="A task of one's own")
@within_project(Capability.LABEL)
def read_task(request: ApiRequest, assignment_id: int) -> dict[str, Any]:
    return _shown(access.load(request, Assignment, pk=assignment_id))


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
    copied = {name: getattr(receipt, name) for name in ("kept", "conflict", "over", "expired", "version")}
    return copied | {"draft": names.to_keys(draft_fields(receipt.draft))}


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
    reason = skip_reason({"skip_reason": [data.reason], "skip_note": [data.note]})
    queue.skip(assignment_id=assignment.pk, labeler=request.user, reason=reason)
    if data.reason == "upsetting" and assignment.task.prompt is not None:
        marking.report(prompt=assignment.task.prompt, by=request.user, reason=reason)


def _next(request: ApiRequest, assignment: Assignment | None) -> dict[str, Any]:
    if assignment is not None:
        return {"task": _shown(assignment), "reason": ""}
    if not is_qualified(user=request.user, project=request.project):
        return {"task": None, "reason": _("Pass the exam of the project first, on its page.")}
    chosen = queue.chosen_kind(labeler=request.user, project=request.project)
    reason = queue.why_no_work(labeler=request.user, project=request.project, kind=chosen)
    return {"task": None, "reason": reason}


def _shown(assignment: Assignment) -> dict[str, Any]:
    form = task_kinds.form_of(assignment)
    prompt = form.prompt
    turns = list(prompt.messages) if prompt is not None else []
    responses: list[tuple[str, str]] = []
    rubric = None
    if isinstance(form, Board):
        keys = [form.response_keys.key(number) for number in assignment.presentation]
        responses, rubric = list(zip(keys, form.written_texts, strict=True)), form.rubric
    elif isinstance(form, ContinueChat):
        turns += [{"role": turn.role, "content": turn.text} for turn in form.turns]
        responses = [(candidate.key, candidate.text) for candidate in form.candidates]
    return {
        "id": assignment.pk,
        "kind": assignment.task.kind,
        "prompt": turns,
        "sensitive": prompt is not None and prompt.sensitive,
        "responses": [
            {
                "key": key,
                "text": form.shown(text) if isinstance(form, Board) else text,
                "names_itself": bool(names_itself(text)),
            }
            for key, text in responses
        ],
        "instructions": assignment.task.task_instructions,
        "rubric": _rubric(rubric) if rubric is not None else None,
        "client_id": form.client_id,
        "lease_until": assignment.lease_until,
        "draft": form.response_keys.to_keys(form.data),
        "draft_version": assignment.draft_version,
        "page": reverse("annotate:task", args=[assignment.project.slug, assignment.pk]),
    }


def _rubric(rubric: Rubric) -> dict[str, Any]:
    def labeled(item: dict[str, Any]) -> dict[str, Any]:
        return item | {"label": translated(item["label"]), "help": translated(item.get("help", ""))}

    return {
        "id": rubric.pk,
        "criteria": [labeled(criterion) for criterion in rubric.criteria],
        "flags": [labeled(flag) for flag in rubric.flags],
    }
