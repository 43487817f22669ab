"""Actions within a chat: ask for responses, choose or write one, say something as the user, take a turn back."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate import access
from annotate.errors import Refused
from annotate.forms.chat import ContinueChat
from annotate.forms.task_forms import FormData
from annotate.labeling import queue, task_kinds
from annotate.labeling.chats import turns
from annotate.labeling.model_self_identification import mask_names
from annotate.models import Assignment, Task
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.views.work import responses


@require_POST
@requires(Capability.LABEL)
def chat(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """One action, named by the button that was pressed; the chat as it is then. What is in the box stays there."""
    assignment = access.load(request, Assignment, pk=assignment_id)
    try:
        if assignment.task.kind != Task.Kind.CHAT:
            raise Refused(_("This task isn't a chat."), status=400)
        box = _carry_out(request, assignment)
    except Refused as refusal:
        return responses.refused(request, assignment, refusal)
    if not request.htmx and box is None:  # type: ignore[attr-defined]
        return redirect("annotate:task", request.project.slug, assignment_id)
    # Read again: the action has changed its draft.
    return responses.show_again(request, access.load(request, Assignment, pk=assignment_id), box)


@require_safe
@never_cache
@requires(Capability.LABEL)
def candidates(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """The status of the requested responses, and the candidates once they are there."""
    assignment = access.load(request, Assignment, pk=assignment_id)
    if assignment.task.kind != Task.Kind.CHAT:
        return HttpResponse(status=403)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("annotate:task", request.project.slug, assignment_id)
    form = ContinueChat(assignment)
    return render(request, "annotate/work/candidates.html", {"form": form, "project": request.project})


def _carry_out(request: ProjectRequest, assignment: Assignment) -> FormData | None:
    """Carry out the action. Returns the fields that the box then shows; None for those of the draft."""
    keys = task_kinds.response_keys(assignment)
    fields = responses.form_data(request, assignment)
    written = request.POST.get("text", "")
    arguments: dict[str, Any] = {
        "assignment_id": assignment.pk,
        "labeler": request.user,
        "after": _number(request.POST.get("after", "")),
    }
    if (picked := request.POST.get("pick")) is not None:
        _keep_rest(turns.pick(**arguments, response_id=keys.response_id(picked)), fields)
        return None
    if (edited := request.POST.get("edit")) is not None:
        return _box_with(assignment, keys.response_id(edited), fields)
    action = request.POST.get("act", "")
    if action == "ask":
        instead_of = request.POST.get("instead_of", "")
        turns.ask(**arguments, instead_of=_number(instead_of) if instead_of else None)
        return fields
    if action == "write":
        origin = request.POST.get("edited_from", "")
        edited_from = keys.response_id(origin) if origin else None
        went_on = turns.write(**arguments, written=written, edited_from=edited_from)
    elif action == "say":
        went_on = turns.say_and_ask(**arguments, written=written)
    elif action == "take_back":
        turns.take_back(**arguments)
        return fields
    else:
        raise Refused(_("The page asked for something that a chat doesn't know."), status=400)
    _keep_rest(went_on, fields)
    if not request.htmx:  # type: ignore[attr-defined]
        messages.success(request, _("Saved."))
    return None


def _keep_rest(chat: turns.Chat, fields: dict[str, list[str]]) -> None:
    """A repeated request leaves the draft alone: it may be newer."""
    rest = ContinueChat.beside_the_turn(fields)
    if rest and chat.has_grown:
        queue.save_draft(assignment_id=chat.assignment.pk, labeler=chat.assignment.labeler, draft=rest)


def _box_with(assignment: Assignment, response_id: int, fields: dict[str, list[str]]) -> FormData:
    """The box with an offered response in it, to be edited. Raises Refused when something else is in it."""
    candidate = next(
        (candidate for candidate in turns.Chat.of(assignment).candidates if candidate.pk == response_id), None
    )
    if candidate is None:
        raise Refused(_("This response isn't among those that were offered."), status=400)
    # As the page shows it; `turns.write` puts the names back.
    shown = mask_names(candidate.text) if assignment.project.mask_model_names else candidate.text
    if fields.get("text", [""])[-1].strip() not in ("", shown.strip()):
        raise Refused(_("Something is written in the box already. Clear it first, then edit this response."))
    return {**fields, "text": [shown], "edited_from": [str(response_id)]}


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refused(_("The form came incomplete. Reload the page: your draft is kept."), status=400)
    return int(text)
