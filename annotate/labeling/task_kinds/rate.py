"""Rate one response by the project's rubric. JudgmentRevision.content is empty: ratings have a field of their own.

That of a user of the model, who knows no rubric, is {"thumb": "up" or "down"} (annotate.labeling.user_feedback).
"""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.errors import Refused
from annotate.forms.written import Rate
from annotate.labeling.rubric import labeled_ratings
from annotate.labeling.submissions import Submission
from annotate.labeling.task_kinds import MadeFrom, TaskKind
from annotate.models import Assignment, Judgment, JudgmentRevision, Project, Task


def content(submission: Submission, assignment: Assignment) -> dict[str, Any]:
    """Every criterion is asked for. In a project without any, a flag, a note or a comment is a rating too."""
    rubric = assignment.project.rubric
    rated = submission.ratings if isinstance(submission.ratings, dict) else {}
    given: dict[str, Any] = next(iter(rated.values()), {})
    missing = [_(item["label"]) for item in rubric.criteria if item["name"] not in given] if rubric else []
    if missing:
        raise Refused(_("Still to rate: %(criteria)s.") % {"criteria": ", ".join(missing)}, status=400)
    if not (given or submission.flags or submission.notes or submission.comment.strip()):
        raise Refused(_("Say something about the response, or skip the task."), status=400)
    return {}


def check_project(project: Project) -> None:
    rubric = project.rubric
    if not (rubric and rubric.criteria):
        raise Refused(_("Rating asks by the project's rubric, which has no criteria yet: write some in the settings."))


def summary(_judgment: Judgment, revision: JudgmentRevision) -> str:
    if (thumb := revision.content.get("thumb")) is not None:
        return _("Thumbs up") if thumb == "up" else _("Thumbs down")
    return ", ".join(f"{label} {value:g}" for label, value in labeled_ratings(revision)) or _("No rating")


KIND = TaskKind(
    name=Task.Kind.RATE,
    label=Task.Kind.RATE.label,
    count_label=lambda count: ngettext("response to rate", "responses to rate", count),
    form=Rate,
    content=content,
    summary=summary,
    made_from=MadeFrom.RESPONSES,
    check_project=check_project,
)
