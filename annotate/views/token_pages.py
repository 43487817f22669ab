"""One's own tokens of the API: made, shown once, revoked."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from annotate.data.text import row_number
from annotate.errors import Refused
from annotate.models import ApiToken, Project, User
from annotate.people import api_tokens
from annotate.people.permissions import Capability, projects_for, signed_in

SHOWN = 100


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=api_tokens.LONGEST_NAME,
        label=gettext_lazy("Name"),
        help_text=gettext_lazy("What it is for, such as the program or machine that uses it."),
    )
    project = forms.ModelChoiceField(
        queryset=Project.objects.none(),
        required=False,
        empty_label=gettext_lazy("All of my projects"),
        label=gettext_lazy("Project"),
        help_text=gettext_lazy("A token for the gateway is for one project."),
    )
    scopes = forms.MultipleChoiceField(
        choices=list(api_tokens.ALL_SCOPES.items()),
        widget=forms.CheckboxSelectMultiple,
        label=gettext_lazy("Scopes"),
        help_text=gettext_lazy("It may do what you may in a project, and of that what is ticked."),
    )
    days = forms.TypedChoiceField(coerce=int, initial=30, label=gettext_lazy("Expires in"))

    def __init__(self, *arguments: Any, user: User, **values: Any) -> None:
        super().__init__(*arguments, **values)
        own = projects_for(user, Capability.VIEW).filter(archived_at=None).order_by("name")
        self.fields["project"].queryset = own  # type: ignore[attr-defined]
        self.fields["days"].choices = [  # type: ignore[attr-defined]
            (days, ngettext("%(n)d day", "%(n)d days", days) % {"n": days}) for days in api_tokens.EXPIRY_DAYS
        ]


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
def tokens(request: HttpRequest) -> HttpResponse:
    """The list; a POST makes a token, which this one reply shows, or revokes one (`revoke`)."""
    user = signed_in(request)
    if "revoke" in request.POST:
        return _revoke(request, user)
    form = TokenForm(request.POST or None, user=user)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form)
    try:
        made, secret = api_tokens.make(user=user, **form.cleaned_data)
    except Refused as refusal:
        form.add_error(None, str(refusal))
        return _page(request, form)
    return _page(request, TokenForm(user=user), made=made, secret=secret)


def _revoke(request: HttpRequest, user: User) -> HttpResponse:
    number = row_number(request.POST["revoke"])
    own = ApiToken.objects.filter(user=user)
    found = own.filter(pk=number).first() if number is not None else None
    if found is None:
        raise Http404(_("You have no such token."))
    api_tokens.revoke(token=found, by=user)
    messages.success(request, _("Revoked: whoever uses the token is refused from now on."))
    return redirect("annotate:tokens")


def _page(request: HttpRequest, form: TokenForm, **made: Any) -> HttpResponse:
    own = ApiToken.objects.filter(user=request.user.pk)
    labels = {scope: str(label) for scope, label in api_tokens.ALL_SCOPES.items()}
    rows = [
        (token, [labels.get(scope, scope) for scope in token.scopes]) for token in own.select_related("project")[:SHOWN]
    ]
    context = {"form": form, "rows": rows, **made}
    return render(request, "annotate/tokens.html", context, status=400 if form.errors else 200)
