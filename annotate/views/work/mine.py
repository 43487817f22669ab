"""My work: what a labeler has done in a project, to look up, to change, and to see what was returned."""

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.data.text import query_value
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality import review, work_history

PAGE = 25
LONGEST_SEARCH = 200


@require_safe
@never_cache
@requires(Capability.LABEL)
def mine(request: ProjectRequest) -> HttpResponse:
    wanted = request.GET.get("show", "")
    show = work_history.Show(wanted) if wanted in set(work_history.Show) else work_history.Show.ALL
    words = query_value(request.GET, "words", longest=LONGEST_SEARCH)
    found = work_history.own_work(labeler=request.user, project=request.project, show=show, words=words)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    context = {
        "project": request.project,
        "page": page,
        "entries": work_history.entries(list(page.object_list)),
        "show": show,
        "shows": list(work_history.Show),
        "words": words,
        "returned": review.open_returns(labeler=request.user, project=request.project).count(),
    }
    return render(request, "annotate/work/mine.html", context)
