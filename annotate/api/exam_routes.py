"""The qualification exam, for a front end of one's own: begin it, answer its items one by one, read the result."""

import uuid
from datetime import datetime
from typing import Any

from ninja import Field, Router, Schema
from pydantic import ConfigDict

from annotate import access
from annotate.api.bearer import ApiRequest, within_project
from annotate.api.shown_tasks import (
    MOST_FIELDS,
    DraftOut,
    MessageShown,
    ShownResponse,
    board_responses,
    draft_reply,
    rank_fields,
)
from annotate.forms.exam import ExamBoard
from annotate.forms.task_forms import shown_fields
from annotate.labeling import exam, qualification
from annotate.models import ExamAnswer, ExamAttempt
from annotate.people.permissions import Capability

router = Router(tags=["exam"])


class ExamItemOut(Schema):
    """An item to answer, the `number`th of `count`."""

    id: int
    number: int
    count: int
    prompt: list[MessageShown]
    sensitive: bool
    responses: list[ShownResponse]
    draft: dict[str, list[str]]
    draft_version: int


class ExamResultItem(Schema):
    """Tiers of keys, the best first. `known` is null but after an exam that was passed."""

    prompt: list[MessageShown]
    responses: list[ShownResponse]
    given: list[list[str]]
    known: list[list[str]] | None


class ExamResultOut(Schema):
    """A finished attempt: of `total` known pairs `hits` came out right; number 0 is a manager's waiver."""

    number: int
    hits: int
    total: int
    threshold: float
    passed: bool
    finished_at: datetime
    items: list[ExamResultItem]


class ExamOut(Schema):
    """`asked`: the project has an exam. `qualified`: this person is given live work. `count`: items of an attempt begun
    now. `item`: of the open attempt. `last`: the latest finished attempt."""

    asked: bool
    qualified: bool
    threshold: float | None
    attempts_left: int | None
    count: int
    item: ExamItemOut | None
    last: ExamResultOut | None


class ExamDraftIn(Schema):
    model_config = ConfigDict(extra="forbid")
    ranks: dict[str, int | None] = Field(default_factory=dict, max_length=MOST_FIELDS)
    all_unacceptable: bool = False
    version: int | None = Field(None, ge=0, lt=10**15)


class ExamRanksIn(Schema):
    """`ranks` by the responses' keys: 1 is best, equal ranks are ties, null is not ranked."""

    model_config = ConfigDict(extra="forbid")
    ranks: dict[str, int | None] = Field(default_factory=dict, max_length=MOST_FIELDS)
    all_unacceptable: bool = False


@router.get("/projects/{slug:slug}/exam", response=ExamOut, summary="How far one is with the exam")
@within_project(Capability.LABEL)
def read_exam(request: ApiRequest) -> dict[str, Any]:
    return _exam(request)


@router.post("/projects/{slug:slug}/exam/start", response=ExamOut, summary="Begin an attempt")
@within_project(Capability.LABEL)
def start_exam(request: ApiRequest) -> dict[str, Any]:
    """Or go on with the open one."""
    exam.start(labeler=request.user, project=request.project)
    return _exam(request)


@router.put("/projects/{slug:slug}/exam/items/{int:answer_id}/draft", response=DraftOut, summary="Keep an item's draft")
@within_project(Capability.LABEL)
def save_exam_draft(request: ApiRequest, answer_id: int, data: ExamDraftIn) -> dict[str, Any]:
    item = access.load(request, ExamAnswer, pk=answer_id)
    names = ExamBoard(item).response_keys
    draft = ExamBoard.draft(names.to_ids(rank_fields(data.ranks, data.all_unacceptable)))
    receipt = exam.save_draft(answer_id=item.pk, labeler=request.user, draft=draft, version=data.version)
    return draft_reply(receipt, names, request.project)


@router.post("/projects/{slug:slug}/exam/items/{int:answer_id}/submit", response=ExamOut, summary="Answer an item")
@within_project(Capability.LABEL)
def submit_item(request: ApiRequest, answer_id: int, data: ExamRanksIn) -> dict[str, Any]:
    """The next item comes with the reply, after the last one the result. An item that was answered stays as it was."""
    item = access.load(request, ExamAnswer, pk=answer_id)
    names = ExamBoard(item).response_keys
    fields = names.to_ids(rank_fields(data.ranks, data.all_unacceptable), strict=True)
    submission = ExamBoard.submission(fields | {"client_id": [str(uuid.uuid4())]})  # which an exam has no use for
    exam.answer(
        answer_id=item.pk,
        labeler=request.user,
        tiers=submission.tiers,
        all_unacceptable=submission.all_unacceptable,
    )
    return _exam(request)


def _exam(request: ApiRequest) -> dict[str, Any]:
    progress = qualification.exam_progress(user=request.user, project=request.project)
    item = exam.current(progress.open_attempt) if progress.open_attempt is not None else None
    return {
        "asked": qualification.is_on(request.project),
        "qualified": progress.qualified,
        "threshold": request.project.exam_threshold,
        "attempts_left": progress.attempts_left,
        "count": exam.askable(labeler=request.user, project=request.project).count(),
        "item": _item(item) if item is not None else None,
        "last": _result(progress.last) if progress.last is not None else None,
    }


def _item(item: ExamAnswer) -> dict[str, Any]:
    board = ExamBoard(item)
    return {
        "id": item.pk,
        "number": item.number,
        "count": board.count_of_items,
        "prompt": board.prompt.messages,
        "sensitive": board.prompt.sensitive,
        "responses": board_responses(board),
        "draft": shown_fields(board.data, board.response_keys, board.assignment.project),
        "draft_version": item.draft_version,
    }


def _result(attempt: ExamAttempt) -> dict[str, Any]:
    copied = {
        name: getattr(attempt, name) for name in ("number", "hits", "total", "threshold", "passed", "finished_at")
    }
    shows_known = exam.may_see_known(attempt)
    return copied | {"items": [_result_item(board, shows_known) for board in ExamBoard.results(attempt)]}


def _result_item(board: ExamBoard, shows_known: bool) -> dict[str, Any]:
    keys = board.response_keys
    return {
        "prompt": board.prompt.messages,
        "responses": board_responses(board),
        "given": keys.tiers(board.item.tiers),
        "known": keys.tiers(board.item.gold_tiers) if shows_known else None,
    }
