"""The people of a project: invite, reset a password, take a role away."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from .. import access
from .. import people as domain
from ..errors import Refused
from ..forms.project import InviteForm
from ..models import Membership, User
from ..permissions import Capability, ProjectRequest, requires


@dataclass(slots=True)
class Member:
    user: User
    roles: list[Membership] = field(default_factory=list)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Capability.MANAGE)
def people(request: ProjectRequest) -> HttpResponse:
    """Members and the form to invite one. A new account's one-time password is in this answer and nowhere else."""
    form = InviteForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form=form)
    try:
        user, password = domain.invite(project=request.project, by=request.user, **form.cleaned_data)
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, form=form)
    if password is None:
        messages.success(
            request,
            _("%(name)s is added and signs in with the account that was there already.") % {"name": user.display_name},
        )
        return redirect("annotate:people", request.project.slug)
    return _page(request, form=InviteForm(), told=user, password=password)


@require_POST
@never_cache
@requires(Capability.MANAGE)
def reset_password(request: ProjectRequest, user_id: int) -> HttpResponse:
    user = access.load(request, User, pk=user_id)
    try:
        password = domain.reset_password(user=user, project=request.project, by=request.user)
    except Refused as refusal:
        return _page(request, form=InviteForm(), refusal=refusal)
    return _page(request, form=InviteForm(), told=user, password=password)


@require_POST
@requires(Capability.MANAGE)
def remove(request: ProjectRequest, user_id: int) -> HttpResponse:
    user, role = access.load(request, User, pk=user_id), request.POST.get("role", "")
    try:
        domain.remove_role(user=user, project=request.project, role=role, by=request.user)
    except Refused as refusal:
        return _page(request, form=InviteForm(), refusal=refusal)
    messages.success(
        request,
        _("%(name)s no longer has the role “%(role)s” in this project. Work done is kept.")
        % {"name": user.display_name, "role": Membership.Role(role).label},
    )
    # Whoever took his own manager's role away has no business on this page now.
    if user.pk == request.user.pk:
        return redirect("annotate:home")
    return redirect("annotate:people", request.project.slug)


def _page(request: ProjectRequest, *, form: InviteForm, refusal: Refused | None = None, **context: Any) -> HttpResponse:
    members: dict[int, Member] = {}
    for membership in request.project.memberships.select_related("user").order_by("user__username", "role"):
        members.setdefault(membership.user_id, Member(membership.user)).roles.append(membership)
    context |= {"project": request.project, "form": form, "members": list(members.values()), "refusal": refusal}
    status = refusal.status if refusal else 400 if form.errors else 200
    return render(request, "annotate/people.html", context, status=status)
