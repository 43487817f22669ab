"""The pages of work: the next task, the one ahead for scripts, and one that was had before."""

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate import access
from annotate.data.text import row_number
from annotate.labeling import queue, task_kinds
from annotate.models import Assignment
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.views.work import responses


@require_safe
@never_cache
@requires(Capability.LABEL)
def work(request: ProjectRequest) -> HttpResponse:
    """The labeler's current task, the same one each time. After a plain form's submit: with a way to undo it."""
    found = None
    if (done := row_number(request.GET.get("done", ""))) is not None:
        own = Assignment.objects.select_related("project").filter(labeler=request.user, project=request.project)
        taken = Q(judgment__latest__isnull=False) | Q(state=Assignment.State.SKIPPED)
        found = own.filter(pk=done).filter(taken).first()
    return responses.show_next(request, done=found, undo=found is not None)


@require_safe
@never_cache
@requires(Capability.LABEL)
def ahead(request: ProjectRequest) -> HttpResponse:
    """The task after the current one, leased and rendered before it is needed. 204 when there is none."""
    assignment = queue.lease_ahead(labeler=request.user, project=request.project)
    if assignment is None:
        return HttpResponse(status=204)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("annotate:work", request.project.slug)
    response = responses.show(request, part="task", form=task_kinds.form_of(assignment))
    response[responses.TASK_HEADER] = str(assignment.pk)
    return response


@require_safe
@never_cache
@requires(Capability.LABEL)
def task(request: ProjectRequest, assignment_id: int) -> HttpResponse:
    """An earlier task of the labeler, to go on with or to revise."""
    assignment = access.load(request, Assignment, pk=assignment_id)
    return responses.show_again(request, assignment, responses.fields_to_revise(assignment))
