"""Judgments of AI labelers. They are stored by the queue's own function, as revisions that say they are an AI's.

They take no place of a task and hold up nobody: `Judgment.surplus` says that they are beyond the overlap, and
`Judgment.ai_labeler` keeps them out of `Judgment.WORK`, which all figures of people are made of.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.errors import Refused
from annotate.labeling.queue.assignments import store_submission
from annotate.labeling.submissions import Receipt, Submission
from annotate.models import AILabeler, Assignment, Author, JudgmentRevision, Project, Response, Task, User
from annotate.people import audit

LONGEST_NAME = 60
TAKEN_NAMES = ("human", "ai")
"""What exports call judges whose name isn't known."""


def create(*, project: Project, name: str, by: User | None, **values: Any) -> AILabeler:
    """A new AI labeler with an account that can't sign in. Raises Refused for a name that can't be."""
    name = " ".join(text.checked(name.strip(), name=_("The name"), longest=LONGEST_NAME).split())
    if not name or name.lower() in TAKEN_NAMES:
        raise Refused(_("Give the AI labeler a name that tells what it is."), status=400)
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        if project.ai_labelers.filter(name__iexact=name).exists():
            raise Refused(_("There is an AI labeler of this name already."), status=400)
        number = project.ai_labelers.count() + 1
        user = User.objects.create(
            username=f"ai:{project.slug}:{number}",
            first_name="AI",
            last_name=name,
            is_active=False,
            password=make_password(None),
        )
        author = Author.objects.create(kind=Author.Kind.MODEL, name=f"AI labeler {name} ({project.slug})")
        labeler = AILabeler.objects.create(
            project=project, name=name, user=user, author=author, created_by=by, **values
        )
        audit.record(verb="ai_labeler.created", actor=by, subject=labeler, project=project, name=name)
    return labeler


def store(
    *,
    labeler: AILabeler,
    task: Task,
    presentation: Sequence[int],
    tiers: Sequence[Sequence[int]],
    details: dict[str, Any],
) -> Receipt:
    """Keep the order of a task that the AI labeler's latest version gave; the same version's counts once.

    presentation: the responses in the order in which they were judged. details: for the revision's content. Inside the
    caller's transaction, if there is one. Raises Refused, InvalidOrdering.
    """
    now = timezone.now()
    with transaction.atomic():
        assignment, _made = Assignment.objects.get_or_create(
            task=task,
            labeler=labeler.user,
            defaults={
                "project": labeler.project,
                "state": Assignment.State.EXPIRED,
                "lease_until": now,
                "ended_at": now,
                "seed": 0,
                "presentation": list(presentation),
            },
        )
        locked = Assignment.objects.select_for_update(of=("self",), no_key=True).select_related("judgment")
        assignment = locked.get(pk=assignment.pk)
        assignment.task, assignment.project, assignment.labeler = task, labeler.project, labeler.user
        submission = Submission(
            client_id=uuid.uuid5(uuid.NAMESPACE_OID, f"ai {labeler.pk} {task.pk} {labeler.version}"),
            tiers=[list(tier) for tier in tiers],
            source=JudgmentRevision.Source.AI,
            ai_labeler=labeler,
            ai_details={"judge": labeler.name, "judge_version": labeler.version, **details},
        )
        return store_submission(assignment, submission)


def revise_response(*, labeler: AILabeler, original: Response, written: str, run: int) -> Response | None:
    """A response that the AI labeler rewrote, as a new one with the AI labeler as its author; once per run and text."""
    written = text.as_written(written[: text.LONGEST_RESPONSE])
    if not written or text.same_in_substance(written, original.text):
        return None
    known = Response.objects.filter(edited_from=original, author=labeler.author, text=written).first()
    if known is not None:
        return known
    return Response.objects.create(
        prompt=original.prompt,
        text=written,
        author=labeler.author,
        edited_from=original,
        sampling={"run": run, "revised_by_ai": True, "judge_version": labeler.version},
    )
