"""Writing an event. To be called inside the transaction of the change."""

from typing import Any

from django.db.models import Model

from annotate.models import AuditEvent, Project, User


def record(
    *,
    verb: str,
    actor: User | None,
    subject: Model,
    project: Project | None,
    person: User | None = None,
    **detail: Any,
) -> AuditEvent:
    """Write one event; `detail` must be plain JSON. `actor` None means that Hone itself did it.

    person: whom it is about. The event keeps their number: the chain seals it for ever, and a name may have to go.
    """
    if person is not None:
        detail["person"] = person.pk
    return AuditEvent.objects.create(
        verb=verb,
        actor=actor,
        project=project,
        subject_type=subject._meta.model_name or "",
        subject_id=str(subject.pk),
        detail=detail,
    )
