"""Submissions of labelers: their shape, and the checks against task and rubric that all kinds of task share."""

import math
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from annotate.data import text
from annotate.errors import InvalidOrdering, Refused, UnknownResponse
from annotate.labeling.ordering import Ordering
from annotate.models import AILabeler, Assignment, Judgment, JudgmentRevision, Rubric

LONGEST_COMMENT = 20_000
LONGEST_NOTE = 4_000


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A judgment as it came in; `queue.submit` checks it.

    client_id:  chosen by the browser when it showed the task; a repeated submit carries the same one.
    tiers:      lists of response ids, best tier first; absent ids are not ranked.
    ratings:    {response id: {criterion: number}}; flags: {response id: [flag]}; notes: {response id: text}. Ids may be
                strings, as JSON has them.
    content:    what the kind of task asks for besides an order; of a comparison nothing, or {"improved": {"response":
                id, "text": text}}, a response rewritten.
    seconds:    time spent, None if not known.
    rubric_id:  the rubric version that was on the page; None means the project's latest.
    ai_labeler: the AI labeler that judged, with `ai_details` for the revision's content; None: a person.
    """

    client_id: uuid.UUID
    tiers: Any = ()
    all_unacceptable: bool = False
    ratings: Any = field(default_factory=dict)
    flags: Any = field(default_factory=dict)
    notes: Any = field(default_factory=dict)
    content: Any = field(default_factory=dict)
    margin: int | None = None
    comment: str = ""
    seconds: float | None = None
    source: str = JudgmentRevision.Source.HUMAN
    rubric_id: int | None = None
    ai_labeler: AILabeler | None = None
    ai_details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of a submission.

    repeated: it had come before, and nothing was written now.
    revised:  there was a judgment of this task already, and this one takes its place.
    surplus:  it came after the lease ran out and others had taken the task's places: kept, beyond the overlap.
    """

    judgment: Judgment
    revision: JudgmentRevision
    repeated: bool
    surplus: bool
    revised: bool = False


def ordered_revision(submission: Submission, *, assignment: Assignment) -> JudgmentRevision:
    """A submission that orders responses, as an unsaved revision without its judgment, number and content.

    Raises InvalidOrdering, UnknownResponse or Refused (400), each with a sentence.
    """
    ordering = Ordering.validated(submission.tiers, assignment.presentation)
    if len(ordering) < 2 and not submission.all_unacceptable:
        raise InvalidOrdering(
            _("Rank at least two responses (equal ones may share a tier), mark all as unacceptable, or skip the task.")
        )
    if submission.margin is not None:
        if submission.margin not in JudgmentRevision.Margin.values:
            raise Refused(_("A margin is a whole number from 0 (negligible) to 3 (significant)."), status=400)
        if len(assignment.presentation) != 2:
            raise Refused(_("A margin is asked for only where two responses are compared."), status=400)
    revision = common_revision(submission, assignment=assignment)
    revision.tiers = [list(tier) for tier in ordering.tiers]
    revision.all_unacceptable = submission.all_unacceptable
    revision.margin = submission.margin
    return revision


def common_revision(submission: Submission, *, assignment: Assignment) -> JudgmentRevision:
    """The parts that all kinds of task share (ratings, flags, notes, comment, time) as an unsaved revision."""
    seconds = submission.seconds
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise Refused(_("The time spent must be a number of seconds from 0 on."), status=400)
    if submission.source not in JudgmentRevision.Source.values:
        raise Refused(_("A judgment comes from a human or an ai."), status=400)
    rubric = _rubric(submission, assignment)
    return JudgmentRevision(
        client_id=submission.client_id,
        ratings=_ratings(submission.ratings, assignment, rubric),
        flags=_flags(submission.flags, assignment, rubric),
        notes=_notes(submission.notes, assignment),
        comment=text.checked(submission.comment.strip(), name=_("The comment"), longest=LONGEST_COMMENT),
        seconds=seconds,
        rubric=rubric,
        source=submission.source,
    )


def _rubric(submission: Submission, assignment: Assignment) -> Rubric | None:
    latest = assignment.project.rubric
    if submission.rubric_id is None or (latest is not None and latest.pk == submission.rubric_id):
        return latest
    rubric = assignment.project.rubrics.filter(pk=submission.rubric_id).first()
    if rubric is None:
        raise Refused(_("The rubric of this judgment isn't one of this project."), status=400)
    return rubric


def _per_response(values: Any, assignment: Assignment) -> dict[int, Any]:
    if not isinstance(values, dict):
        raise Refused(_("Ratings, flags and notes are given per response."), status=400)
    result = {}
    for key, value in values.items():
        if not str(key).isdecimal() or int(key) not in assignment.presentation:
            raise UnknownResponse(_("A rating, flag or note names a response that doesn't belong to this task."))
        result[int(key)] = value
    return result


def _ratings(values: Any, assignment: Assignment, rubric: Rubric | None) -> dict[str, dict[str, float]]:
    criteria = {criterion["name"]: criterion for criterion in rubric.criteria} if rubric else {}
    checked = {}
    for response_id, ratings in _per_response(values, assignment).items():
        if not isinstance(ratings, dict):
            raise Refused(_("Ratings of a response are given per criterion."), status=400)
        for name, value in ratings.items():
            criterion = criteria.get(name)
            if criterion is None:
                raise Refused(_("The rubric has no criterion “%(name)s”.") % {"name": str(name)[:60]}, status=400)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not criterion["min"] <= value <= criterion["max"]:
                raise Refused(
                    _("%(label)s is rated from %(min)s to %(max)s.")
                    % {"label": criterion["label"], "min": criterion["min"], "max": criterion["max"]},
                    status=400,
                )
        if ratings:
            checked[str(response_id)] = ratings
    return checked


def _flags(values: Any, assignment: Assignment, rubric: Rubric | None) -> dict[str, list[str]]:
    known = [flag["name"] for flag in rubric.flags] if rubric else []
    checked = {}
    for response_id, names in _per_response(values, assignment).items():
        if not isinstance(names, list | tuple) or not all(name in known for name in names):
            raise Refused(_("A response has a flag that the rubric doesn't know."), status=400)
        if names:
            checked[str(response_id)] = sorted(set(names), key=known.index)
    return checked


def _notes(values: Any, assignment: Assignment) -> dict[str, str]:
    checked = {}
    for response_id, note in _per_response(values, assignment).items():
        if written := text.checked(note, name=_("A note"), longest=LONGEST_NOTE).strip():
            checked[str(response_id)] = written
    return checked
