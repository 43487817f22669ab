"""The people of all projects that a manager looks after, on one page."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from annotate.data.text import query_value
from annotate.errors import Refused
from annotate.models import Membership, User
from annotate.people import members, people_list

MOST_CHOSEN = 500


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def all_people(request: HttpRequest) -> HttpResponse:
    """A POST pauses, resumes, or limits everybody who is chosen."""
    user = request.user
    assert isinstance(user, User)  # as login_required has made sure
    projects = people_list.managed_projects(user)
    if not projects.exists():
        raise PermissionDenied(_("This page is for people who manage a project."))
    refusal = ""
    if request.method == "POST":
        try:
            changed = _change(request, user)
        except Refused as error:
            refusal = str(error)
        else:
            messages.success(
                request, ngettext("%(n)d person was changed.", "%(n)d people were changed.", changed) % {"n": changed}
            )
            return redirect(f"{reverse('annotate:all_people')}?{request.GET.urlencode()}")
    search, project = query_value(request.GET, "q", longest=150), query_value(request.GET, "project", longest=60)
    role, state = request.GET.get("role", ""), request.GET.get("state", "")
    rows, more = people_list.people(
        user,
        search=search,
        project=project,
        role=role if role in Membership.Role.values else "",
        paused={"paused": True, "active": False}.get(state),
    )
    context = {
        "rows": rows,
        "more": more,
        "most": people_list.MOST_ROWS,
        "projects": projects.order_by("name"),
        "roles": Membership.Role.choices,
        "search": search,
        "project_slug": project,
        "role": role,
        "state": state,
        "refusal": refusal,
        "reason": request.POST.get("reason", ""),
    }
    return render(request, "annotate/all_people.html", context, status=400 if refusal else 200)


def _change(request: HttpRequest, user: User) -> int:
    """Do what the form says with everybody chosen; how many these are. Raises Refused with a sentence."""
    chosen = people_list.chosen(user, request.POST.getlist("person")[:MOST_CHOSEN])
    if not chosen:
        raise Refused(_("Choose somebody first."), status=400)
    act = request.POST.get("act", "")
    if act == "limit":
        limit = _limit(request.POST.get("daily_limit", ""))
    for membership in chosen:
        if act == "pause":
            members.pause(membership=membership, by=user, reason=request.POST.get("reason", ""))
        elif act == "resume":
            members.resume(membership=membership, by=user)
        elif act == "limit":
            members.set_work_rules(
                membership=membership,
                by=user,
                daily_limit=limit,
                languages=membership.languages,
                skills=[skill.name for skill in membership.skills.all()],
            )
        else:
            raise Refused(_("Choose what to do."), status=400)
    return len(chosen)


def _limit(written: str) -> int | None:
    if not written.strip():
        return None
    if not (written.strip().isdecimal() and len(written.strip()) < 9):
        raise Refused(_("The limit is a whole number, or empty for the project’s."), status=400)
    return int(written)
