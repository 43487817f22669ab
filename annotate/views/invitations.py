"""The page of an invitation's link: accept it with the account one has, or make one."""

from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from annotate.errors import Refused
from annotate.forms.people import NewAccountForm
from annotate.models import Invitation, User
from annotate.people import invitations as domain

PAGE = "annotate/invitation.html"


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """For whoever holds the link, signed in or not; a link that isn't open gets a sentence as the reply (404)."""
    try:
        found = domain.find(token)
        if request.method == "POST" and isinstance(request.user, User):
            return _accept(request, token)
    except Refused as refusal:
        return render(request, PAGE, {"refusal": refusal}, status=refusal.status)
    if request.method == "POST":
        return _open_account(request, found, token)
    return _page(request, found, NewAccountForm())


def _accept(request: HttpRequest, token: str) -> HttpResponse:
    assert isinstance(request.user, User)
    accepted = domain.accept(token=token, user=request.user)
    messages.success(request, _("Welcome to %(project)s.") % {"project": accepted.project.name})
    return redirect("annotate:overview", accepted.project.slug)


def _open_account(request: HttpRequest, found: Invitation, token: str) -> HttpResponse:
    form = NewAccountForm(request.POST)
    if not form.is_valid():
        return _page(request, found, form, status=400)
    try:
        user = domain.open_account(token=token, language=get_language() or "", **form.account)
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, found, form, status=refusal.status)
    login(request, user, backend="annotate.people.backends.PasswordBackend")
    messages.success(request, _("Welcome to %(project)s.") % {"project": found.project.name})
    return redirect("annotate:overview", found.project.slug)


def _page(request: HttpRequest, found: Invitation, form: NewAccountForm, *, status: int = 200) -> HttpResponse:
    context = {
        "invitation": found,
        "form": form,
    }
    return render(request, PAGE, context, status=status)
