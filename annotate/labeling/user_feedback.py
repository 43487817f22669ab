"""What users of the model say of its responses: a thumb, a choice between them, an edit.

Each becomes a judgment that names its completion (`Judgment.completion`), in a task of its own that nobody else gets.
As an AI labeler's, it takes no place and is in no figure of labelers (`Judgment.WORK`); snapshots and training have it
while the project's gateway counts feedback. A thumb is a rating of one response, a choice a comparison whose best tier
is the chosen response, an edit a demonstration that began as the response, and with that a pair: edited > original.
Said again it changes nothing; said otherwise it is a revision.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.data.sharing.redaction import Redactor
from annotate.errors import Refused
from annotate.labeling import demonstrations
from annotate.labeling.submissions import LONGEST_COMMENT
from annotate.models import (
    Assignment,
    GatewayCompletion,
    Judgment,
    JudgmentRevision,
    Project,
    Response,
    Task,
    TaskResponse,
    User,
)
from annotate.people import stand_in_accounts

UNACCEPTABLE = "unacceptable"
"""The flag of a response that is not acceptable, as files have it (annotate.data.imported_rows)."""
UP, DOWN = "up", "down"
ACCOUNTS = "gateway:"
"""What the names of the accounts that stand for the users of a project's model begin with; no person's has a colon."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """`repeated`: it was said before, and nothing was written now."""

    judgment: Judgment
    repeated: bool


def rate(completion: GatewayCompletion, *, choice: int, rating: str, comment: str = "") -> Receipt:
    """A thumb up or down for one response. Raises Refused."""
    if rating not in (UP, DOWN):
        raise Refused(_("A rating is “up” or “down”."), status=400)
    with transaction.atomic():
        completion = _locked(completion)
        response = _response(completion, choice)
        judgment = _judgment(completion, Task.Kind.RATE, [response])
        flags = {} if rating == UP else {str(response): [UNACCEPTABLE]}
        return _said(judgment, comment=comment, flags=flags, content={"thumb": rating})


def choose(completion: GatewayCompletion, *, chosen: int, comment: str = "") -> Receipt:
    """One response is the best of all that the user got; nobody ordered the others. Raises Refused."""
    with transaction.atomic():
        completion = _locked(completion)
        best = _response(completion, chosen)
        offered = sorted({key for key in completion.responses if key is not None})
        if len(offered) < Project.MIN_RESPONSES:
            raise Refused(_("This completion has no two different responses to choose between."), status=400)
        judgment = _judgment(completion, Task.Kind.COMPARE, offered)
        return _said(judgment, comment=comment, tiers=[[best], [key for key in offered if key != best]])


def edit(completion: GatewayCompletion, *, choice: int, edited: str, comment: str = "") -> Receipt:
    """The response as the user would have had it. Raises Refused."""
    checked = text.checked(edited, name=_("The edit"), longest=text.LONGEST_RESPONSE)
    written = Redactor().text(text.as_written(checked))
    with transaction.atomic():
        completion = _locked(completion)
        original = Response.objects.get(pk=_response(completion, choice))
        if not written or text.same_in_substance(written, original.text):
            raise Refused(_("The edit is empty, or the same as the response."), status=400)
        judgment = _judgment(completion, Task.Kind.DEMONSTRATE, [original.pk])
        receipt = _said(judgment, comment=comment, content={"text": written})
        if not receipt.repeated:
            demonstrations.demonstrate(assignment=judgment.assignment, text=written, edited_from_id=original.pk)
        return receipt


def account_of(project: Project) -> User:
    """Stands for the users of a project's model. Nobody can sign in with it."""
    return stand_in_accounts.account(f"{ACCOUNTS}{project.slug}", first_name="Users", last_name="of the model")


def _locked(completion: GatewayCompletion) -> GatewayCompletion:
    """Of two requests at once the second one sees what the first has written."""
    locked = GatewayCompletion.objects.select_for_update(of=("self",), no_key=True)
    return locked.select_related("project", "prompt").get(pk=completion.pk)


def _response(completion: GatewayCompletion, choice: int) -> int:
    """The response of a choice. Raises Refused."""
    found: int | None = completion.responses[choice] if 0 <= choice < len(completion.responses) else None
    if found is None:
        raise Refused(_("Choice %(number)d of this completion was not kept.") % {"number": choice}, status=404)
    return found


def _judgment(completion: GatewayCompletion, kind: str, responses: Sequence[int]) -> Judgment:
    """The judgment of this kind of these responses, which may have no revision yet."""
    known = completion.judgments.filter(task__kind=kind).select_related("assignment__task__prompt", "latest")
    for judgment in known:
        if judgment.assignment.presentation == list(responses):
            return judgment
    now, project = timezone.now(), completion.project
    # Complete without a judgment of a labeler: nobody gets it, and no figure of theirs counts it.
    task = Task.objects.create(
        project=project,
        prompt=completion.prompt,
        kind=kind,
        state=Task.State.COMPLETE,
        judgments_wanted=1,
        slots_free=0,
    )
    TaskResponse.objects.bulk_create(
        TaskResponse(task=task, response_id=key, number=number) for number, key in enumerate(responses)
    )
    assignment = Assignment.objects.create(
        task=task,
        labeler=account_of(project),
        project=project,
        state=Assignment.State.SUBMITTED,
        lease_until=now,
        ended_at=now,
        seed=0,
        presentation=list(responses),
    )
    return Judgment.objects.create(
        assignment=assignment,
        task=task,
        labeler=assignment.labeler,
        project=project,
        completion=completion,
        surplus=True,
    )


def _said(judgment: Judgment, *, comment: str, **values: Any) -> Receipt:
    checked = text.checked(comment.strip(), name=_("The comment"), longest=LONGEST_COMMENT)
    values = {"tiers": [], "flags": {}, "content": {}, **values, "comment": Redactor().text(checked)}
    latest = judgment.latest
    if latest is not None and all(getattr(latest, name) == value for name, value in values.items()):
        return Receipt(judgment=judgment, repeated=True)
    judgment.latest = JudgmentRevision.objects.create(
        judgment=judgment,
        number=latest.number + 1 if latest is not None else 1,
        client_id=uuid.uuid4(),
        source=JudgmentRevision.Source.USER,
        **values,
    )
    judgment.save(update_fields=["latest"])
    return Receipt(judgment=judgment, repeated=False)
