"""Whose record is it: the one way by which views load what an address or a form names by number.

A record of another project isn't there (404). One of this project is refused (403) to a member whose role doesn't reach
it, and to everybody but its owner where it is somebody's own. A kind of record without a rule here is refused always.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import (
    Adjudication,
    Assignment,
    ExamAnswer,
    Invitation,
    Judgment,
    JudgmentExclusion,
    Membership,
    Project,
    Prompt,
    QualityAlert,
    Report,
    Snapshot,
    Task,
    TaskConsensus,
    Upload,
    User,
)
from annotate.models.prepared_queries import prepared_query
from annotate.people.permissions import REFUSALS, Capability, ProjectRequest

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Access rule for the records of one kind.

    capability: what one needs in the project. to_read: what is enough to read the record, where that is less.
    among: the project's records, with what pages need of them.
    missing: the sentence where there is no such record.
    by_number: the project's record of a number, where every step of the work asks for one.
    owner: the primary key of the person whose own the record is, and nobody else's; None where the role is enough.
    refusal: the sentence for everybody else.
    """

    capability: Capability
    among: Callable[[Project], QuerySet[Any]]
    missing: Any
    to_read: Capability | None = None
    by_number: Callable[[Project, int], Any] | None = None
    owner: Callable[[Any], int] | None = None
    refusal: Any = ""


_rules: dict[type[Model], Rule] = {}


def register(model: type[Model], rule: Rule) -> None:
    """Name the rule for a kind of record. Other apps do so in `ready()`."""
    _rules[model] = rule


def load(request: ProjectRequest, model: type[M], *, only_read: bool = False, **named: Any) -> M:
    """The record of the request's project that `named` (such as pk=3) names, if the person may have it.

    Raises Http404, PermissionDenied (403), and LookupError for a kind of record that has no rule.
    """
    rule = _rules.get(model)
    if rule is None:
        raise LookupError(f"there is no rule for who may load a {model.__name__}")
    if Capability.VIEW not in request.capabilities:
        raise Http404(_("There is no such project, or you aren't a member of it."))
    needed = rule.to_read if only_read and rule.to_read is not None else rule.capability
    if needed not in request.capabilities:
        raise PermissionDenied(str(REFUSALS[needed]))
    # A number beyond the column's range is no record's; SQLite would raise for it.
    if any(isinstance(value, int) and not 0 <= value < 2**63 for value in named.values()):
        raise Http404(str(rule.missing))
    if rule.by_number is not None and set(named) == {"pk"}:
        found = rule.by_number(request.project, named["pk"])
    else:
        found = rule.among(request.project).filter(**named).first()
    if found is None:
        raise Http404(str(rule.missing))
    if rule.owner is not None and rule.owner(found) != request.user.pk:
        raise PermissionDenied(str(rule.refusal))
    record: M = found
    return record


def _members(project: Project) -> QuerySet[User]:
    """Each once, however many roles they have."""
    return User.objects.filter(pk__in=Membership.objects.filter(project=project).values("user"))


@prepared_query
def _assignments(project: int, number: int) -> QuerySet[Assignment]:
    found = Assignment.objects.filter(project_id=project, pk=number, is_adjudication=False)
    return found.select_related("task__prompt").order_by()


def _assignment(project: Project, number: int) -> Assignment | None:
    if (found := _assignments.first(project=project.pk, number=number)) is not None:
        found.project = project  # as it is: it isn't read again
    return found


register(
    Assignment,
    Rule(
        capability=Capability.LABEL,
        among=lambda project: project.assignments.filter(is_adjudication=False).select_related("task__prompt"),
        by_number=_assignment,
        owner=lambda assignment: assignment.labeler_id,
        refusal=gettext_lazy("This task was given to somebody else."),
        missing=gettext_lazy("There is no such task in this project."),
    ),
)
register(
    Adjudication,
    Rule(
        capability=Capability.REVIEW,
        among=lambda project: Adjudication.objects.filter(project=project, is_adjudication=True).select_related(
            "task__prompt", "project", "labeler"
        ),
        owner=lambda adjudication: adjudication.labeler_id,
        refusal=gettext_lazy("Another reviewer decides here."),
        missing=gettext_lazy("There is no such adjudication in this project."),
    ),
)
register(
    TaskConsensus,
    Rule(
        capability=Capability.REVIEW,
        among=lambda project: TaskConsensus.objects.filter(project=project).select_related("task__project"),
        missing=gettext_lazy("There is nothing to decide between in this task yet."),
    ),
)
register(
    JudgmentExclusion,
    Rule(
        capability=Capability.MANAGE,
        among=lambda project: JudgmentExclusion.objects.filter(project=project).select_related("project", "labeler"),
        missing=gettext_lazy("Nothing of that number was left out in this project."),
    ),
)
register(
    ExamAnswer,
    Rule(
        capability=Capability.LABEL,
        among=lambda project: ExamAnswer.objects.filter(
            attempt__project=project, attempt__annulled=False
        ).select_related("attempt__project", "attempt__labeler", "task__prompt"),
        owner=lambda item: item.attempt.labeler_id,
        refusal=gettext_lazy("This exam is somebody else's."),
        missing=gettext_lazy("There is no such exam item in this project."),
    ),
)
register(
    Judgment,
    Rule(
        capability=Capability.REVIEW,
        among=lambda project: Judgment.objects.filter(project=project).select_related(
            "latest__rubric", "labeler", "task__prompt", "assignment", "project", "left_out"
        ),
        missing=gettext_lazy("There is no such judgment in this project."),
    ),
)
register(
    Report,
    Rule(
        capability=Capability.REVIEW,
        among=lambda project: Report.objects.filter(project=project).select_related("project"),
        missing=gettext_lazy("There is no such report in this project."),
    ),
)
register(
    Task,
    Rule(
        capability=Capability.MANAGE,
        among=lambda project: Task.objects.filter(project=project).select_related("project", "prompt"),
        missing=gettext_lazy("There is no such task in this project."),
    ),
)
register(
    QualityAlert,
    Rule(
        capability=Capability.MANAGE,
        among=lambda project: QualityAlert.objects.filter(project=project).select_related("project", "labeler"),
        missing=gettext_lazy("There is no such warning in this project."),
    ),
)
register(
    Prompt,
    Rule(
        capability=Capability.MANAGE,
        to_read=Capability.SEE_DATA,
        among=lambda project: Prompt.objects.filter(project=project).select_related("project"),
        missing=gettext_lazy("There is no such prompt in this project."),
    ),
)
register(
    Upload,
    Rule(
        capability=Capability.MANAGE,
        among=lambda project: Upload.objects.filter(project=project),
        missing=gettext_lazy("There is no such file in this project."),
    ),
)
register(
    Snapshot,
    Rule(
        capability=Capability.EXPORT,
        among=lambda project: Snapshot.objects.filter(project=project).select_related("created_by"),
        missing=gettext_lazy("There is no such export in this project."),
    ),
)
register(
    User,
    Rule(
        capability=Capability.MANAGE,
        among=_members,
        missing=gettext_lazy("This person isn't a member of the project."),
    ),
)
register(
    Invitation,
    Rule(
        capability=Capability.MANAGE,
        among=lambda project: Invitation.objects.filter(project=project).select_related("project"),
        missing=gettext_lazy("There is no such invitation in this project."),
    ),
)
