"""What stays of a person whose data are deleted, under their pseudonym, counted for the preview."""

from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from annotate.models import (
    AuditEvent,
    Demonstration,
    GatewayCompletion,
    Guidelines,
    Judgment,
    JudgmentReturn,
    JudgmentRevision,
    Prompt,
    Report,
    Response,
    User,
)
from annotate.people.deletion.personal_data import MOST_COUNTED


@dataclass(frozen=True, slots=True)
class Count:
    """number: MOST_COUNTED where there are as many or more."""

    label: str
    number: int

    @property
    def is_most(self) -> bool:
        return self.number >= MOST_COUNTED


def bounded(rows: QuerySet) -> int:
    return rows.order_by()[:MOST_COUNTED].count()


def counts(person: User) -> list[Count]:
    """Of each kind that there is anything of."""
    revisions = JudgmentRevision.objects.filter(judgment__labeler=person)
    asked_for = GatewayCompletion.objects.filter(asked_by=person)
    kept: list[tuple[str, QuerySet]] = [
        (_("Judgments"), Judgment.objects.filter(labeler=person)),
        (_("Comments and notes in judgments, as they wrote them"), revisions.exclude(Q(comment="") & Q(notes={}))),
        (_("Demonstrations"), Demonstration.objects.filter(response__author__user=person)),
        (_("Responses that they wrote or edited"), Response.objects.filter(author__user=person)),
        (_("Prompts that they wrote"), Prompt.objects.filter(author__user=person)),
        (_("Conversations that the gateway kept for their programs"), asked_for),
        (_("Reports of tasks, with their notes"), Report.objects.filter(assignment__labeler=person)),
        (_("Returned judgments, with their comments"), JudgmentReturn.objects.filter(reviewer=person)),
        (_("Versions of guidelines"), Guidelines.objects.filter(created_by=person)),
        (_("Events of the audit log, under a number"), AuditEvent.objects.filter(actor=person)),
    ]
    return [Count(label, number) for label, rows in kept if (number := bounded(rows))]
