"""A labeler's own work in a project: submitted and skipped tasks, searched and filtered."""

import json
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import Exists, F, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils.translation import gettext_lazy as _

from annotate.labeling.ordering import Ordering
from annotate.labeling.sensitive_content import visibility
from annotate.models import Assignment, Judgment, JudgmentReturn, Project, User

State = Assignment.State


class Show(StrEnum):
    """Which part of it. `label` for the page."""

    ALL = "all"
    RETURNED = "returned"
    COMMENTED = "commented"
    UNACCEPTABLE = "unacceptable"
    REVISED = "revised"
    UNFINISHED = "unfinished"
    SKIPPED = "skipped"

    @property
    def label(self) -> str:
        return str(_LABELS[self])


_LABELS = {
    Show.ALL: _("Everything"),
    Show.RETURNED: _("Returned to me"),
    Show.COMMENTED: _("With a comment or note"),
    Show.UNACCEPTABLE: _("All unacceptable"),
    Show.REVISED: _("Revised"),
    Show.UNFINISHED: _("Begun, not submitted"),
    Show.SKIPPED: _("Skipped"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One task in the list. `order` is the ranking in the letters that the labeler saw, such as "B > A = D"."""

    assignment: Assignment
    judgment: Judgment | None
    question: str
    order: str
    returned: JudgmentReturn | None

    @classmethod
    def of(cls, assignment: Assignment, returned: JudgmentReturn | None) -> "Entry":
        judgment = getattr(assignment, "judgment", None)
        revision = judgment.latest if judgment else None
        prompt = assignment.task.prompt
        return cls(
            assignment=assignment,
            judgment=judgment if revision else None,
            question=visibility.covered_question(prompt) if prompt else assignment.task.get_kind_display(),
            order=Ordering.stored(revision.tiers).in_letters(assignment.presentation) if revision else "",
            returned=returned,
        )


def own_work(*, labeler: User, project: Project, show: Show = Show.ALL, words: str = "") -> QuerySet[Assignment]:
    """The labeler's tasks, the latest first. Each of `words` is looked for in prompts and comments."""
    judged = Q(state=State.SUBMITTED, judgment__latest__isnull=False)
    unfinished = Q(state=State.EXPIRED, draft__isnull=False)
    returned = JudgmentReturn.objects.filter(judgment__assignment=OuterRef("pk"), revision=F("judgment__latest"))
    latest = "judgment__latest__"
    chosen = {
        Show.ALL: judged | unfinished | Q(state=State.SKIPPED),
        Show.RETURNED: judged & Q(Exists(returned)),
        Show.COMMENTED: judged & (~Q(**{f"{latest}comment": ""}) | ~Q(**{f"{latest}notes": {}})),
        Show.UNACCEPTABLE: judged & Q(**{f"{latest}all_unacceptable": True}),
        Show.REVISED: judged & Q(**{f"{latest}number__gt": 1}),
        Show.UNFINISHED: unfinished,
        Show.SKIPPED: Q(state=State.SKIPPED),
    }[show]
    found = Assignment.objects.filter(chosen, labeler=labeler, project=project, is_adjudication=False)
    for word in words.split():
        found = found.annotate(said=Cast("task__prompt__messages", TextField())).filter(
            _in_json("said", word) | Q(**{f"{latest}comment__icontains": word}) | Q(skip_reason__icontains=word)
        )
    return found.select_related("task__prompt", "judgment__latest").order_by(
        F("ended_at").desc(nulls_first=True), "-pk"
    )


def entries(assignments: list[Assignment]) -> list[Entry]:
    """The assignments of a page with what was returned of them."""
    judged = [assignment.pk for assignment in assignments if assignment.state == State.SUBMITTED]
    returns = {
        item.judgment.assignment_id: item
        for item in JudgmentReturn.objects.filter(JudgmentReturn.OPEN, judgment__assignment__in=judged).select_related(
            "judgment", "reviewer"
        )
    }
    return [Entry.of(assignment, returns.get(assignment.pk)) for assignment in assignments]


def _in_json(field: str, word: str) -> Q:
    """The word in a JSON column read as text: SQLite keeps it escaped (\\u4f60), PostgreSQL as it is."""
    plain = json.dumps(word, ensure_ascii=False)[1:-1]
    return Q(**{f"{field}__icontains": plain}) | Q(**{f"{field}__icontains": json.dumps(word)[1:-1]})
