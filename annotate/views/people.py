"""The people of a project: invitations, accounts that an administrator makes, a password reset, a role taken away."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate import access
from annotate.errors import Refused
from annotate.forms.people import AddAccountForm, InviteForm
from annotate.models import Invitation, Membership, User
from annotate.people import invitations, members
from annotate.people.permissions import Capability, ProjectRequest, requires


@dataclass(slots=True)
class Member:
    user: User
    may_reset: bool
    roles: list[Membership] = field(default_factory=list)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Capability.MANAGE)
def people(request: ProjectRequest) -> HttpResponse:
    """Members, open invitations, and the form for a new one. Its link is in this reply and nowhere else."""
    form = InviteForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form=form)
    try:
        invitation, token = invitations.invite(project=request.project, by=request.user, **form.cleaned_data)
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, form=form)
    link = request.build_absolute_uri(reverse("annotate:invitation", args=[token]))
    return _page(request, link=link, invited=invitation)


@require_POST
@requires(Capability.MANAGE)
def withdraw(request: ProjectRequest, invitation_id: int) -> HttpResponse:
    """Make the link of an open invitation worthless."""
    invitation = access.load(request, Invitation, pk=invitation_id)
    invitations.withdraw(invitation=invitation, by=request.user)
    messages.success(request, _("The invitation is withdrawn: its link opens nothing any more."))
    return redirect("annotate:people", request.project.slug)


@require_POST
@never_cache
@requires(Capability.MANAGE)
def make_account(request: ProjectRequest) -> HttpResponse:
    """An administrator makes an account. Its one-time password is in this reply and nowhere else."""
    if not request.user.is_superuser:
        raise PermissionDenied(_("Only administrators make accounts. Invite the person by a link instead."))
    form = AddAccountForm(request.POST)
    if not form.is_valid():
        return _page(request, account_form=form)
    try:
        user, password = members.add(project=request.project, by=request.user, **form.cleaned_data)
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, account_form=form)
    if password is None:
        messages.success(
            request,
            _("%(name)s is added and signs in with the account that was there already.") % {"name": user.display_name},
        )
        return redirect("annotate:people", request.project.slug)
    return _page(request, account=user, password=password)


@require_POST
@never_cache
@requires(Capability.MANAGE)
def reset_password(request: ProjectRequest, user_id: int) -> HttpResponse:
    user = access.load(request, User, pk=user_id)
    try:
        password = members.reset_password(user=user, project=request.project, by=request.user)
    except Refused as refusal:
        return _page(request, refusal=refusal)
    return _page(request, account=user, password=password)


@require_POST
@requires(Capability.MANAGE)
def remove(request: ProjectRequest, user_id: int) -> HttpResponse:
    user, role = access.load(request, User, pk=user_id), request.POST.get("role", "")
    try:
        members.remove_role(user=user, project=request.project, role=role, by=request.user)
    except Refused as refusal:
        return _page(request, refusal=refusal)
    messages.success(
        request,
        _("%(name)s no longer has the role “%(role)s” in this project. Work done is kept.")
        % {"name": user.display_name, "role": Membership.Role(role).label},
    )
    # Managers who removed their own role may not see this page any more.
    if user.pk == request.user.pk:
        return redirect("annotate:home")
    return redirect("annotate:people", request.project.slug)


def _page(
    request: ProjectRequest,
    *,
    form: InviteForm | None = None,
    account_form: AddAccountForm | None = None,
    refusal: Refused | None = None,
    **context: Any,
) -> HttpResponse:
    listed: dict[int, Member] = {}
    for membership in request.project.memberships.select_related("user").order_by("user__username", "role"):
        person = membership.user
        may_reset = members.may_reset_password(user=person, by=request.user)
        listed.setdefault(person.pk, Member(person, may_reset)).roles.append(membership)
    context |= {
        "project": request.project,
        "form": form or InviteForm(),
        "account_form": (account_form or AddAccountForm()) if request.user.is_superuser else None,
        "members": list(listed.values()),
        "invitations": Invitation.open().filter(project=request.project).select_related("created_by"),
        "refusal": refusal,
    }
    wrong = any(each is not None and each.errors for each in (form, account_form))
    status = refusal.status if refusal else 400 if wrong else 200
    return render(request, "annotate/people.html", context, status=status)
