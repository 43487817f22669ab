"""Live answers to a chat's last turn: asked for here, given by whoever runs models, who says how it stands."""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from annotate import signals
from annotate.labeling.few_shot import Messages
from annotate.models import Assignment, Author, Project, Prompt, ResponseRequest
from annotate.models.prompt import content_hash

State = ResponseRequest.State


@dataclass(frozen=True, kw_only=True)
class ResponseStatus:
    """What can be expected of live answers.

    is_there: somebody is there to answer. sentence: how it stands, for the labeler. progress: from 0 to 1, if known.
    waited: seconds since they were asked for. usual: seconds that answers took lately, if any did.
    """

    is_available: bool
    message: str
    progress: float | None = None
    waited_seconds: int | None = None
    usual_seconds: int | None = None


StatusSource = Callable[[Project, ResponseRequest | None], ResponseStatus]
_status_sources: list[StatusSource] = []


def set_status_source(source: StatusSource) -> None:
    """Machines' side names the function that says how it stands with live answers; people's side never imports it."""
    _status_sources[:] = [source]


def response_status(project: Project, request: ResponseRequest | None = None) -> ResponseStatus:
    """How it stands with a request, or with one that might be made."""
    if not _status_sources:
        return ResponseStatus(is_available=False, message=_("No model is set up here. Write the answer yourself."))
    return _status_sources[0](project, request)


def latest(assignment: Assignment, messages: Messages) -> ResponseRequest | None:
    """The request whose answers this labeler gets: his own latest, or one that somebody has out for the same chat."""
    requests = ResponseRequest.objects.filter(
        project_id=assignment.project_id,
        prompt__content_hash=content_hash(messages),
        purpose=ResponseRequest.Purpose.CHAT,
    )
    own_or_out = Q(requested_by=assignment.labeler_id) | Q(state__in=[State.OPEN, State.CLAIMED])
    return requests.filter(own_or_out).order_by("-pk").first()


def ask(assignment: Assignment, messages: Messages, *, instead_of: int | None = None) -> ResponseRequest:
    """Ask for as many answers as the project compares, unless they are asked for or there already.

    instead_of: the request whose answers are there and don't please; others are asked for in their place.
    """
    request = latest(assignment, messages)
    is_good = request is not None and request.state != State.FAILED
    if request is not None and is_good and not (request.state == State.FULFILLED and request.pk == instead_of):
        return request
    prompt = prompt_of(assignment, messages)
    try:
        with transaction.atomic():
            made = ResponseRequest.objects.create(
                project=assignment.project,
                prompt=prompt,
                responses_wanted=assignment.project.responses_per_task,
                purpose=ResponseRequest.Purpose.CHAT,
                requested_by=assignment.labeler,
            )
    except IntegrityError:
        # Somebody else asked at this moment: his answers are answers to the same chat.
        found = latest(assignment, messages)
        if found is None:
            raise
        return found
    told = {"sender": ResponseRequest, "request_ids": [made.pk]}
    transaction.on_commit(lambda: signals.responses_requested.send_robust(**told))
    return made


def prompt_of(assignment: Assignment, messages: Messages) -> Prompt:
    """The chat so far as a prompt of the project, on the side of the split where its opening is."""
    opening = assignment.task.prompt
    if opening is None:
        raise ValueError(f"chat task {assignment.task_id} has no prompt")
    root = opening.opening or opening
    digest = content_hash(messages)
    found = Prompt.known(project_id=assignment.project_id, digest=digest)
    if found is not None:
        return found
    try:
        with transaction.atomic():
            return Prompt.objects.create(
                project=assignment.project,
                messages=messages,
                use_case=Prompt.UseCase.CHAT,
                language=opening.language,
                source="chat",
                sensitive=opening.sensitive,
                author=Author.of(assignment.labeler),
                opening=root,
            )
    except IntegrityError:
        # Somebody, or an import that isn't seen yet, brought it a moment ago.
        found = Prompt.known(project_id=assignment.project_id, digest=digest)
        if found is None:
            raise
        return found
