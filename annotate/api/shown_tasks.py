"""What a labeler, a reviewer or an examinee is shown of a task, and what they enter in it.

What they are told is what their page shows, by the same names: responses by keys that differ in every assignment, and
nothing that tells a hidden check from a task, or who wrote a response.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse
from ninja import Field, Schema
from pydantic import ConfigDict

from annotate.forms.board import Board
from annotate.forms.chat import ContinueChat
from annotate.forms.response_keys import ResponseKeys
from annotate.forms.task_forms import shown_fields, skip_reason
from annotate.labeling import task_kinds
from annotate.labeling.model_self_identification import mask_names, names_itself
from annotate.labeling.queue import DraftReceipt
from annotate.labeling.rubric import translated
from annotate.models import Assignment, Project, Rubric

MOST_FIELDS = 200
LONGEST_KEY = 40


class MessageShown(Schema):
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


class ChatTurnOut(Schema):
    """`chosen`: among responses of a model; else the labeler wrote it."""

    role: str
    text: str
    chosen: bool


class ChatOut(Schema):
    """A chat as it goes on. `after`: the number of its turns, which the next action names. `request`: the responses
    that are offered, to ask for others in their place. `waiting`: responses are on their way. `available`: a model is
    there to respond; `message` says how it stands."""

    turns: list[ChatTurnOut]
    after: int
    awaits_response: bool
    candidates: list[ShownResponse]
    request: int | None
    waiting: bool
    wanted: int
    available: bool
    message: str
    progress: float | None
    waited_seconds: int | None
    usual_seconds: int | None


class ShownTask(Schema):
    """`sensitive`: warn before the prompt is shown. `client_id`: of a submission of this showing. `page`: the task's
    page for people. `chat`: of a chat alone."""

    id: int
    kind: str
    prompt: list[MessageShown]
    sensitive: bool
    responses: list[ShownResponse]
    instructions: dict[str, Any]
    rubric: RubricOut | None
    client_id: UUID
    lease_until: datetime
    draft: dict[str, list[str]]
    draft_version: int
    page: str
    chat: ChatOut | None


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
        found |= rank_fields(self.ranks, self.all_unacceptable)
        found |= {f"flag-{key}": list(flags) for key, flags in self.flags.items()}
        found |= {f"note-{key}": [note] for key, note in self.notes.items()}
        for key, ratings in self.ratings.items():
            found |= {f"rating-{key}-{name}": [str(value)] for name, value in ratings.items()}
        if self.improved is not None:
            found |= {"improved_from": [self.improved.response], "improved_text": [self.improved.text]}
        once = {"margin": self.margin, "comment": self.comment, "seconds": self.seconds}
        found |= {name: [str(value)] for name, value in once.items() if value not in (None, "")}
        return found


class SubmissionIn(TaskFields):
    client_id: UUID = Field(description="Sent again, a submission counts once. After an undo a new one is wanted.")
    rubric: int | None = Field(None, ge=1, lt=2**63, description="The rubric that was shown.")
    next: bool = Field(False, description="Give the next task with the reply.")

    def form_data(self) -> dict[str, list[str]]:
        rubric = {"rubric": [str(self.rubric)]} if self.rubric is not None else {}
        return super().form_data() | rubric | {"client_id": [str(self.client_id)]}


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
    """Both are kept as one text of 500 characters at most."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field("", max_length=98)
    note: str = Field("", max_length=400)

    @property
    def as_text(self) -> str:
        return skip_reason({"skip_reason": [self.reason], "skip_note": [self.note]})


def rank_fields(ranks: dict[str, int | None], all_unacceptable: bool) -> dict[str, list[str]]:
    """The fields of an order as a form sends them."""
    found = {f"rank-{key}": ["" if rank is None else str(rank)] for key, rank in ranks.items()}
    return found | ({"all_unacceptable": ["1"]} if all_unacceptable else {})


def draft_reply(receipt: DraftReceipt, names: ResponseKeys, project: Project) -> dict[str, Any]:
    copied = {name: getattr(receipt, name) for name in ("kept", "conflict", "over", "expired", "version")}
    return copied | {"draft": shown_fields(receipt.draft, names, project)}


def shown(assignment: Assignment) -> dict[str, Any]:
    form = task_kinds.form_of(assignment)
    prompt = form.prompt
    turns = list(prompt.messages) if prompt is not None else []
    responses: list[dict[str, Any]] = []
    rubric = chat = None
    if isinstance(form, Board):
        responses, rubric = board_responses(form), form.rubric
    elif isinstance(form, ContinueChat):
        chat = chat_of(form)
        turns += [{"role": turn["role"], "content": turn["text"]} for turn in chat["turns"]]
        responses = chat["candidates"]
    page = "annotate:adjudication" if assignment.is_adjudication else "annotate:task"
    return {
        "id": assignment.pk,
        "kind": assignment.task.kind,
        "prompt": turns,
        "sensitive": prompt is not None and prompt.sensitive,
        "responses": responses,
        "instructions": assignment.task.task_instructions,
        "rubric": _rubric(rubric) if rubric is not None else None,
        "client_id": form.client_id,
        "lease_until": assignment.lease_until,
        "draft": shown_fields(form.data, form.response_keys, assignment.project),
        "draft_version": assignment.draft_version,
        "page": reverse(page, args=[assignment.project.slug, assignment.pk]),
        "chat": chat,
    }


def board_responses(form: Board) -> list[dict[str, Any]]:
    """What is compared, in the order in which the board shows it."""
    numbered = zip(form.assignment.presentation, form.written_texts, strict=True)
    return [_response(form.response_keys.key(number), text, shown=form.shown(text)) for number, text in numbered]


def chat_of(form: ContinueChat) -> dict[str, Any]:
    request, status = form.chat.request, form.response_status
    masked = form.assignment.project.mask_model_names
    return {
        "turns": [{"role": turn.role, "text": turn.text, "chosen": turn.chosen} for turn in form.turns],
        "after": form.after,
        "awaits_response": form.chat.awaits_response,
        "candidates": [
            _response(each.key, each.text, shown=mask_names(each.text) if masked else each.text)
            for each in form.candidates
        ],
        "request": request.pk if request is not None else None,
        "waiting": form.is_waiting,
        "wanted": form.wanted,
        "available": status.is_available,
        "message": str(status.message),
        "progress": status.progress,
        "waited_seconds": status.waited_seconds,
        "usual_seconds": status.usual_seconds,
    }


def _response(key: str, text: str, *, shown: str) -> dict[str, Any]:
    return {"key": key, "text": shown, "names_itself": bool(names_itself(text))}


def _rubric(rubric: Rubric) -> dict[str, Any]:
    def labeled(item: dict[str, Any]) -> dict[str, Any]:
        return item | {"label": translated(item["label"]), "help": translated(item.get("help", ""))}

    return {
        "id": rubric.pk,
        "criteria": [labeled(criterion) for criterion in rubric.criteria],
        "flags": [labeled(flag) for flag in rubric.flags],
    }
