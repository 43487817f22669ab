"""Adjudication, for a front end of one's own: a reviewer decides between the orders of a task's labelers."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema

from annotate import access
from annotate.api.bearer import ApiRequest, within_project
from annotate.api.cursor_pages import Page, PageQuery, page
from annotate.api.shown_tasks import (
    DraftIn,
    DraftOut,
    MessageShown,
    ShownTask,
    SkipIn,
    SubmissionIn,
    draft_reply,
    shown,
)
from annotate.data.keyset_pages import keyset_page
from annotate.errors import NotYours
from annotate.labeling import judged_texts, task_kinds
from annotate.models import Adjudication, Assignment, Judgment, TaskConsensus
from annotate.people.permissions import Capability
from annotate.quality.review import adjudication

router = Router(tags=["adjudication"])


class WaitingOut(Schema):
    """A task that waits for a reviewer. `certainty`: of its labelers' consensus, from 0 to 1. `reviewer`: who is at it
    now, by their name."""

    task: int
    prompt: list[MessageShown]
    sensitive: bool
    certainty: float
    judgments: int
    reviewer: str | None


class DecidedOut(Schema):
    """`adjudication` is null but to the reviewer who decided. `order`: in the letters of their board."""

    judgment: int
    adjudication: int | None
    task: int
    reviewer: str
    order: str
    counts: bool
    decided_at: datetime


class NextAdjudication(Schema):
    """`task` is null where nothing is left for this reviewer."""

    task: ShownTask | None


class DecisionOut(Schema):
    """`repeated`: it had come before. `revised`: it takes the place of an earlier one. `surplus`: another reviewer had
    decided by then; theirs counts, and this one is kept beside it."""

    repeated: bool
    revised: bool
    surplus: bool
    next: NextAdjudication | None


class LabelerOrderOut(Schema):
    """`tiers`: keys of responses as the reviewer's task has them, the best tier first."""

    judgment: int
    labeler: str
    tiers: list[list[str]]
    all_unacceptable: bool
    margin: int | None
    comment: str
    returned: bool


class OrdersOut(Schema):
    agreement: float | None
    orders: list[LabelerOrderOut]


class WaitingQuery(Schema):
    cursor: str = Field(
        "", max_length=60, pattern="^[-0-9.e:]*$", description="`next` of the page before; empty for the first."
    )
    limit: int = Field(50, ge=1, le=200, description="Rows of a page.")


@router.get("/projects/{slug:slug}/adjudications/waiting", response=Page[WaitingOut], summary="What waits for review")
@within_project(Capability.REVIEW)
def list_waiting(request: ApiRequest, wanted: Query[WaitingQuery]) -> dict[str, Any]:
    """The least certain first. Nothing here says what the labelers say."""
    found = adjudication.waiting(request.project).select_related("task__prompt", "reviewer")
    rows = keyset_page(found, wanted.cursor, order=("certainty", "pk"), size=wanted.limit)
    return {"items": [_waiting(row) for row in rows.rows], "next": rows.following or None}


@router.get("/projects/{slug:slug}/adjudications", response=Page[DecidedOut], summary="What reviewers have decided")
@within_project(Capability.REVIEW)
def list_decided(request: ApiRequest, wanted: Query[PageQuery]) -> dict[str, Any]:
    found = adjudication.adjudicated(request.project)

    def decided(judgment: Judgment) -> dict[str, Any]:
        assert judgment.latest is not None  # as they are filtered
        return {
            "judgment": judgment.pk,
            "adjudication": judgment.assignment_id if judgment.labeler_id == request.user.pk else None,
            "task": judgment.task_id,
            "reviewer": judgment.labeler.display_name,
            "order": judged_texts.line(judgment),
            "counts": not judgment.surplus,
            "decided_at": judgment.latest.created_at,
        }

    return page(found.select_related("task__prompt", "latest", "labeler", "assignment"), wanted, decided)


@router.post("/projects/{slug:slug}/adjudications/next", response=NextAdjudication, summary="The next to decide")
@within_project(Capability.REVIEW)
def next_adjudication(request: ApiRequest) -> dict[str, Any]:
    """What the reviewer has at hand, else the least certain that waits."""
    return _next(request)


@router.post(
    "/projects/{slug:slug}/adjudications/tasks/{int:reviewed_task_id}/take",
    response=ShownTask,
    summary="Decide a certain task",
)
@within_project(Capability.REVIEW)
def take_task(request: ApiRequest, reviewed_task_id: int) -> dict[str, Any]:
    """Whatever its place in the queue; what the reviewer has at hand goes back to it."""
    row = access.load(request, TaskConsensus, task=reviewed_task_id)
    return shown(adjudication.claim(task=row.task, reviewer=request.user))


@router.get(
    "/projects/{slug:slug}/adjudications/{int:adjudication_id}",
    response=ShownTask,
    summary="An adjudication of one's own",
)
@within_project(Capability.REVIEW)
def read_adjudication(request: ApiRequest, adjudication_id: int) -> dict[str, Any]:
    return shown(_own(request, adjudication_id))


@router.get(
    "/projects/{slug:slug}/adjudications/{int:adjudication_id}/orders",
    response=OrdersOut,
    summary="What the labelers say",
)
@within_project(Capability.REVIEW)
def read_orders(request: ApiRequest, adjudication_id: int) -> dict[str, Any]:
    """Refused (403) in a project that hides it from reviewers who decide."""
    assignment = _own(request, adjudication_id)
    if request.project.adjudication_view == adjudication.View.BLIND:
        raise NotYours(_("This project hides the labelers' orders from reviewers who decide."))
    consensus = TaskConsensus.objects.filter(task=assignment.task_id).first()
    keys = task_kinds.response_keys(assignment)
    orders = []
    for order in adjudication.orders(assignment):
        latest = order.judgment.latest
        assert latest is not None  # as COUNTED says
        orders.append(
            {
                "judgment": order.judgment.pk,
                "labeler": order.judgment.labeler.display_name,
                "tiers": keys.tiers(latest.tiers),
                "all_unacceptable": latest.all_unacceptable,
                "margin": latest.margin,
                "comment": latest.comment,
                "returned": order.is_returned,
            }
        )
    return {"agreement": consensus.agreement if consensus is not None else None, "orders": orders}


@router.put(
    "/projects/{slug:slug}/adjudications/{int:adjudication_id}/draft",
    response=DraftOut,
    summary="Keep a decision's draft",
)
@within_project(Capability.REVIEW)
def save_adjudication_draft(request: ApiRequest, adjudication_id: int, data: DraftIn) -> dict[str, Any]:
    assignment = _own(request, adjudication_id)
    names = task_kinds.response_keys(assignment)
    receipt = adjudication.keep_draft(
        assignment=assignment,
        draft=task_kinds.form_class(assignment).draft(names.to_ids(data.form_data())),
        page=data.page,
        version=data.version,
        base=data.base,
    )
    return draft_reply(receipt, names, request.project)


@router.post(
    "/projects/{slug:slug}/adjudications/{int:adjudication_id}/submit", response=DecisionOut, summary="Decide a task"
)
@within_project(Capability.REVIEW)
def submit_adjudication(request: ApiRequest, adjudication_id: int, data: SubmissionIn) -> dict[str, Any]:
    """The order counts in the place of the labelers' consensus. Also of a task that one decided before: a revision."""
    assignment = _own(request, adjudication_id)
    fields = task_kinds.response_keys(assignment).to_ids(data.form_data(), strict=True)
    submission = task_kinds.form_class(assignment).submission(fields)
    receipt = adjudication.submit(assignment_id=assignment.pk, reviewer=request.user, submission=submission)
    copied = {name: getattr(receipt, name) for name in ("repeated", "revised", "surplus")}
    return copied | {"next": _next(request) if data.next else None}


@router.post(
    "/projects/{slug:slug}/adjudications/{int:adjudication_id}/skip",
    response={204: None},
    summary="Leave a task to another reviewer",
)
@within_project(Capability.REVIEW)
def skip_adjudication(request: ApiRequest, adjudication_id: int, data: SkipIn) -> None:
    assignment = _own(request, adjudication_id)
    adjudication.skip(assignment_id=assignment.pk, reviewer=request.user, reason=data.as_text)


@router.post(
    "/projects/{slug:slug}/adjudications/{int:adjudication_id}/undo", response=ShownTask, summary="Undo a decision"
)
@within_project(Capability.REVIEW)
def undo_adjudication(request: ApiRequest, adjudication_id: int) -> dict[str, Any]:
    """Take back what was decided or skipped a moment ago; what was entered is the draft."""
    return shown(adjudication.undo(_own(request, adjudication_id), reviewer=request.user))


@router.post(
    "/projects/{slug:slug}/adjudications/judgments/{int:judgment_id}/set_aside",
    response={204: None},
    summary="Have a decision count no more",
)
@within_project(Capability.REVIEW)
def set_aside(request: ApiRequest, judgment_id: int) -> None:
    """It is kept; the labelers' own consensus counts, and the task waits for review again."""
    adjudication.set_aside(judgment=access.load(request, Judgment, pk=judgment_id), by=request.user)


def _own(request: ApiRequest, adjudication_id: int) -> Assignment:
    return access.load(request, Adjudication, pk=adjudication_id)


def _next(request: ApiRequest) -> dict[str, Any]:
    found = adjudication.claim_next(reviewer=request.user, project=request.project)
    return {"task": shown(found) if found is not None else None}


def _waiting(row: TaskConsensus) -> dict[str, Any]:
    prompt = row.task.prompt
    is_held = row.reviewer is not None and row.review_until is not None and row.review_until >= timezone.now()
    return {
        "task": row.task_id,
        "prompt": prompt.messages if prompt is not None else [],
        "sensitive": prompt is not None and prompt.sensitive,
        "certainty": row.certainty,
        "judgments": row.judgments,
        "reviewer": row.reviewer.display_name if row.reviewer is not None and is_held else None,
    }
