"""Security keys and passkeys as a second factor (WebAuthn), where HONE_WEBAUTHN=1.

The ceremonies are django-allauth's. What checks them (fido2) takes 11 MB, so it is imported by the pages that need it,
and without HONE_WEBAUTHN by none.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from allauth.account.decorators import reauthentication_required
from allauth.mfa.base.internal.flows import delete_and_cleanup
from allauth.mfa.models import Authenticator
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate.data.text import flaw
from annotate.models import User
from annotate.people.permissions import signed_in
from config.security.second_factor import rules
from config.security.second_factor.stage import IS_ON

MOST_KEYS = 10
LONGEST_NAME = 60
LONGEST_CREDENTIAL = 20_000
ENCODED = re.compile(r"[A-Za-z0-9_-]+=*")


def of(user: User) -> list[Authenticator]:
    """Their keys, the oldest first; none where the site doesn't use any."""
    if not settings.HONE_WEBAUTHN:
        return []
    return list(Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN).order_by("pk"))


class CredentialForm(forms.Form):
    """What a browser's key says. Only the parts that are checked are taken from it."""

    credential = forms.CharField(max_length=LONGEST_CREDENTIAL)

    def clean_credential(self) -> dict[str, Any]:
        try:
            given = json.loads(self.cleaned_data["credential"])
            return _parts(given)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ValidationError(_wrong()) from None


class NewKeyForm(CredentialForm):
    name = forms.CharField(max_length=LONGEST_NAME)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if flaw(name):
            raise ValidationError(_("Choose another name."))
        return name


def offer(user: User) -> str:
    """What the browser asks one of the person's keys for, as JSON. The challenge is kept in the session."""
    from allauth.mfa.webauthn.internal import auth

    return json.dumps(auth.begin_authentication(user))


def used(form: CredentialForm, user: User) -> Authenticator | None:
    """The key that signed the challenge of the session; None with an error in the form where none of theirs did."""
    from allauth.mfa.webauthn.internal import auth

    if not form.is_valid():
        return None
    try:
        tries = rules.take_try(user)
    except ValidationError as refused:
        form.add_error("credential", refused)
        return None
    try:
        key: Authenticator = auth.complete_authentication(user, form.cleaned_data["credential"])
    except Exception:
        # Whatever a made-up credential makes of the library's parsers: it is none of this account's.
        form.add_error("credential", _wrong())
        return None
    tries.empty()
    return key


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
@reauthentication_required(app="allauth.mfa")
def add(request: HttpRequest) -> HttpResponse:
    """Name a key and touch it. Recovery codes come with the first second factor."""
    _require_feature()
    from allauth.mfa.webauthn.internal import auth, flows

    user = signed_in(request)
    if len(of(user)) >= MOST_KEYS:
        messages.error(request, _("You have %(most)d keys. Remove one that you don’t use.") % {"most": MOST_KEYS})
        return redirect("mfa_index")
    form = NewKeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            auth.complete_registration(form.cleaned_data["credential"])
        except Exception:  # as in `used`
            form.add_error("credential", _wrong())
        else:
            _key, codes = flows.add_authenticator(
                request, name=form.cleaned_data["name"], credential=form.cleaned_data["credential"]
            )
            request.session[IS_ON] = True
            messages.success(request, _("The key was added."))
            return redirect("mfa_view_recovery_codes" if codes else "mfa_index")
    context = {
        "form": form,
        "options": json.dumps(auth.begin_registration(user, False)),
        "name": request.POST.get("name", "") or _("Key %(number)d") % {"number": len(of(user)) + 1},
        "longest": LONGEST_NAME,
    }
    return render(request, "account/security_key.html", context, status=400 if form.errors else 200)


@require_POST
@login_required
@reauthentication_required(app="allauth.mfa")
def remove(request: HttpRequest, number: int) -> HttpResponse:
    _require_feature()
    user = signed_in(request)
    found = get_object_or_404(Authenticator, pk=number, user=user, type=Authenticator.Type.WEBAUTHN)
    if rules.is_required(user) and rules.is_last(found):
        messages.error(request, _("Your account needs two-step sign-in: the administrator of this site asks for it."))
    else:
        delete_and_cleanup(request, found)
        if not rules.is_on(user):
            request.session.pop(IS_ON, None)
        messages.success(request, _("The key was removed."))
    return redirect("mfa_index")


def _require_feature() -> None:
    if not settings.HONE_WEBAUTHN:
        raise Http404(_("This site uses no security keys."))


def _wrong() -> str:
    return _("The key was not recognised. Try again.")


def _parts(given: Mapping[str, Any]) -> dict[str, Any]:
    """The credential's parts, each of its form. Raises ValueError, TypeError, KeyError or AttributeError."""
    response = {
        name: _encoded(value)
        for name, value in given["response"].items()
        if name in ("clientDataJSON", "attestationObject", "authenticatorData", "signature")
    }
    return {
        "id": _encoded(given["id"]),
        "rawId": _encoded(given["rawId"]),
        "type": "public-key",
        "response": response,
        "clientExtensionResults": {},
    }


def _encoded(value: Any) -> str:
    if not ENCODED.fullmatch(value):
        raise ValueError("not base64url")
    return str(value)
