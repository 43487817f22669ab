"""Rank the responses of a prompt; the best one may be rewritten as well.

JudgmentRevision.content: nothing, or {"improved": {"response": id, "text": text}}, a response as the labeler would have
it. It becomes a demonstration that is edited from the response.
"""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.data import text
from annotate.errors import Refused, UnknownResponse
from annotate.forms.board import Board
from annotate.labeling import demonstrations, model_self_identification
from annotate.labeling.ordering import Ordering
from annotate.labeling.submissions import Submission
from annotate.labeling.task_kinds import TaskKind
from annotate.models import Assignment, Judgment, JudgmentRevision, Response, Task


def content(submission: Submission, assignment: Assignment) -> dict[str, Any]:
    """A response rewritten. The text as it was shown, or none, is no improvement."""
    given = submission.content
    if not given:
        return {}
    improved = given.get("improved") if isinstance(given, dict) and set(given) == {"improved"} else None
    if not isinstance(improved, dict) or set(improved) != {"response", "text"}:
        raise Refused(_("An improved response is a text and the response that it came from."), status=400)
    if improved["response"] not in assignment.presentation:
        raise UnknownResponse(_("The improved response doesn't belong to this task."))
    written = text.as_written(
        text.checked(improved["text"], name=_("The improved response"), longest=text.LONGEST_RESPONSE)
    )
    original = Response.objects.values_list("text", flat=True).get(pk=improved["response"])
    if assignment.project.mask_model_names:
        written = model_self_identification.unmasked(written, original=original)
    if not written or text.same_in_substance(written, original):
        return {}
    return {"improved": {"response": improved["response"], "text": written}}


def store(*, judgment: Judgment, revision: JudgmentRevision) -> None:
    improved = revision.content.get("improved")
    if improved is not None:
        demonstrations.demonstrate(
            assignment=judgment.assignment, text=improved["text"], edited_from_id=improved["response"]
        )
    elif revision.number > 1:
        demonstrations.withdraw(judgment=judgment)


def summary(judgment: Judgment, revision: JudgmentRevision) -> str:
    return Ordering.stored(revision.tiers).in_letters(judgment.assignment.presentation)


KIND = TaskKind(
    name=Task.Kind.COMPARE,
    label=Task.Kind.COMPARE.label,
    count_label=lambda count: ngettext("comparison", "comparisons", count),
    form=Board,
    content=content,
    store=store,
    withdraw=demonstrations.withdraw,
    summary=summary,
    has_order=True,
)
