"""The people of a project: invitations, accounts that an administrator makes, a password reset, a role taken away, and
what the queue gives each of them."""

from dataclasses import dataclass, field
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate import access
from annotate.data import stored_messages
from annotate.errors import Refused
from annotate.forms.people import AddAccountForm, InviteForm, WorkRulesForm
from annotate.models import Invitation, Membership, User
from annotate.people import invitations, members
from annotate.people.permissions import ROLE_CAPABILITIES, Capability, ProjectRequest, requires


@dataclass(slots=True)
class Member:
    user: User
    may_reset: bool
    has_second_factor: bool = False
    roles: list[Membership] = field(default_factory=list)
    # What the queue gives them: the fields, or the form that came wrong.
    work_fields: str = ""
    work_form: WorkRulesForm | None = None

    @property
    def paused_because(self) -> str:
        return stored_messages.text(self.roles[0].paused_reason)


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


@require_POST
@requires(Capability.MANAGE)
def pause(request: ProjectRequest, user_id: int) -> HttpResponse:
    """Give somebody no new tasks, or give them tasks again (`resume`)."""
    user = access.load(request, User, pk=user_id)
    membership = _membership(request, user)
    try:
        if "resume" in request.POST:
            members.resume(membership=membership, by=request.user)
            done = _("%(name)s is given tasks again.")
        else:
            members.pause(membership=membership, by=request.user, reason=request.POST.get("reason", ""))
            done = _("%(name)s is paused: what they hold they may submit, and they get nothing new.")
    except Refused as refusal:
        return _page(request, refusal=refusal)
    messages.success(request, done % {"name": user.display_name})
    return redirect("annotate:people", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def work_rules(request: ProjectRequest, user_id: int) -> HttpResponse:
    """A member's daily limit, languages and skills."""
    user = access.load(request, User, pk=user_id)
    membership = _membership(request, user)
    form = WorkRulesForm.of(membership, request.POST)
    if not form.is_valid():
        return _page(request, work_form=(user.pk, form))
    try:
        members.set_work_rules(membership=membership, by=request.user, **form.changes)
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, work_form=(user.pk, form))
    messages.success(request, _("Saved for %(name)s.") % {"name": user.display_name})
    return redirect("annotate:people", request.project.slug)


def _membership(request: ProjectRequest, user: User) -> Membership:
    """One of the member's: what the queue gives them is the same in all."""
    found = request.project.memberships.select_related("user", "project").filter(user=user).order_by("pk").first()
    if found is None:  # since a moment ago
        raise Http404(_("This person isn't a member of the project."))
    return found


def _page(
    request: ProjectRequest,
    *,
    form: InviteForm | None = None,
    account_form: AddAccountForm | None = None,
    refusal: Refused | None = None,
    work_form: tuple[int, WorkRulesForm] | None = None,
    **context: Any,
) -> HttpResponse:
    """The page. `work_form`: (number of the member, the form that came wrong)."""
    listed: dict[int, Member] = {}
    of_labelers: dict[int, Membership] = {}
    memberships = request.project.memberships.select_related("user").prefetch_related("skills")
    second_factors: set[int] = set()
    if request.user.is_superuser:
        known = Authenticator.objects.filter(user__memberships__project=request.project)
        second_factors = set(known.values_list("user_id", flat=True))
    for membership in memberships.order_by("user__username", "role"):
        person = membership.user
        may_reset = members.may_reset_password(user=person, by=request.user)
        member = listed.setdefault(person.pk, Member(person, may_reset, person.pk in second_factors))
        member.roles.append(membership)
        if Capability.LABEL in ROLE_CAPABILITIES[membership.role]:
            of_labelers.setdefault(person.pk, membership)
    for number, fields in zip(of_labelers, WorkRulesForm.fields_of(of_labelers.values()), strict=True):
        listed[number].work_fields = fields
    if work_form is not None and work_form[0] in of_labelers:
        listed[work_form[0]].work_form = work_form[1]
    context |= {
        "project": request.project,
        "form": form or InviteForm(),
        "account_form": (account_form or AddAccountForm()) if request.user.is_superuser else None,
        "members": list(listed.values()),
        "invitations": Invitation.open().filter(project=request.project).select_related("created_by"),
        "refusal": refusal,
    }
    is_wrong = work_form or any(each is not None and each.errors for each in (form, account_form))
    status = refusal.status if refusal else 400 if is_wrong else 200
    return render(request, "annotate/people.html", context, status=status)
