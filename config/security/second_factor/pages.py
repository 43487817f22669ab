"""The pages of two-step sign-in: the code at a sign-in, setting it up, recovery codes, turning it off."""

from typing import Any

from allauth.account.decorators import reauthentication_required
from allauth.account.internal.decorators import login_stage_required
from allauth.account.internal.flows.reauthentication import resume_request
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.internal.flows import delete_and_cleanup, post_authentication
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal import flows as recovery
from allauth.mfa.totp.internal import flows as totp
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.models import User
from annotate.people.own_paths import is_own_path
from annotate.people.permissions import signed_in
from config.security.second_factor import rules, security_keys
from config.security.second_factor.stage import IS_ON, CodeStage

Types = Authenticator.Type


@require_http_methods(["GET", "HEAD", "POST"])
@login_stage_required(stage=CodeStage.key, redirect_urlname="account_login")
def authenticate(request: HttpRequest) -> HttpResponseBase:
    """The second step of a sign-in."""
    stage: Any = request._login_stage  # type: ignore[attr-defined]
    user = stage.login.user
    if (factor := _factor(request, user)) is not None:
        post_authentication(request, factor)
        response: HttpResponseBase = stage.exit()
        return response
    return _step(request, user)


@require_safe
@never_cache
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    by_type = {found.type: found for found in Authenticator.objects.filter(user=user)}
    codes = by_type.get(Types.RECOVERY_CODES)
    keys = security_keys.of(user)
    context = {
        "app": by_type.get(Types.TOTP),
        "keys": [(key, key.data["name"]) for key in keys],
        "offers_keys": settings.HONE_WEBAUTHN,
        "is_on": rules.is_on(user),
        "codes_left": len(rules.wrapped(codes).get_unused_codes()) if codes is not None else 0,
        "required": rules.is_required(user),
    }
    return render(request, "account/second_factor.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
@reauthentication_required(app="allauth.mfa")
def set_up(request: HttpRequest) -> HttpResponse:
    """A QR code for the app; the app's first code turns it on. Recovery codes come with it."""
    user = signed_in(request)
    if Authenticator.objects.filter(user=user, type=Types.TOTP).exists():
        return redirect("mfa_index")
    form = rules.FirstCodeForm(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        _app, codes = totp.activate_totp(request, form)
        request.session[IS_ON] = True
        return redirect("mfa_view_recovery_codes" if codes else "mfa_index")
    address = get_adapter().build_totp_url(user, form.secret)
    size, path = _qr_path(address)
    secret = " ".join(form.secret[start : start + 4] for start in range(0, len(form.secret), 4))
    context = {"form": form, "size": size, "path": path, "secret": secret}
    return render(request, "account/second_factor_set_up.html", context, status=400 if form.errors else 200)


@require_safe
@never_cache
@login_required
@reauthentication_required(app="allauth.mfa")
def recovery_codes(request: HttpRequest) -> HttpResponse:
    found = Authenticator.objects.filter(user=signed_in(request), type=Types.RECOVERY_CODES).first()
    if found is None:
        return redirect("mfa_index")
    return render(request, "account/recovery_codes.html", {"codes": rules.wrapped(found).get_unused_codes()})


@require_POST
@login_required
@reauthentication_required(app="allauth.mfa")
def new_recovery_codes(request: HttpRequest) -> HttpResponse:
    if not recovery.can_generate_recovery_codes(request.user):
        return redirect("mfa_index")
    recovery.generate_recovery_codes(request)
    return redirect("mfa_view_recovery_codes")


@require_POST
@login_required
@reauthentication_required(app="allauth.mfa")
def turn_off(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    found = Authenticator.objects.filter(user=user, type=Types.TOTP).first()
    if found is not None and rules.is_last(found) and rules.is_required(user):
        messages.error(request, _("Your account needs two-step sign-in: the administrator of this site asks for it."))
    elif found is not None:
        delete_and_cleanup(request, found)
        if rules.is_on(user):
            messages.success(request, _("The app’s codes are off; your security keys go on."))
        else:
            request.session.pop(IS_ON, None)
            messages.success(request, _("Two-step sign-in is off."))
    return redirect("mfa_index")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
def reauthenticate(request: HttpRequest) -> HttpResponseBase:
    """A code once more, before what needs a recent sign-in, for accounts without a password."""
    user = signed_in(request)
    if not rules.is_on(user):
        return redirect("account_reauthenticate")
    if (factor := _factor(request, user)) is not None:
        post_authentication(request, factor, reauthenticated=True)
        return resume_request(request) or redirect("mfa_index")
    return _step(request, user, again=True)


@require_POST
@login_required
def reset(request: HttpRequest, user_id: int) -> HttpResponse:
    """By an administrator, for somebody who has lost both app and codes."""
    if not signed_in(request).is_superuser:
        raise PermissionDenied(_("Two-step sign-in is reset by an administrator of this site."))
    user = get_object_or_404(User, pk=user_id)
    if rules.reset(user=user, by=signed_in(request)):
        messages.success(
            request,
            _("Two-step sign-in of %(name)s was reset; they are signed out everywhere.") % {"name": user.display_name},
        )
    else:
        messages.info(request, _("%(name)s has no two-step sign-in.") % {"name": user.display_name})
    back = request.POST.get("next", "")
    return redirect(back if is_own_path(back) else "annotate:home")


def _factor(request: HttpRequest, user: User) -> Authenticator | None:
    """The factor that a submitted form proves; None with the forms, and what is wrong in them, on the request."""
    by_key = request.method == "POST" and "credential" in request.POST and bool(security_keys.of(user))
    code_form = rules.CodeForm(request.POST if request.method == "POST" and not by_key else None, user=user)
    key_form = security_keys.CredentialForm(request.POST if by_key else None)
    request.step_forms = (code_form, key_form)  # type: ignore[attr-defined]
    if by_key:
        return security_keys.used(key_form, user)
    if code_form.is_bound and code_form.is_valid():
        factor: Authenticator = code_form.authenticator
        return factor
    return None


def _step(request: HttpRequest, user: User, *, again: bool = False) -> HttpResponse:
    code_form, key_form = request.step_forms  # type: ignore[attr-defined]
    context = {
        "form": code_form,
        "key_form": key_form,
        "options": security_keys.offer(user) if security_keys.of(user) else "",
        "again": again,
    }
    wrong = code_form.errors or key_form.errors
    return render(request, "account/second_step.html", context, status=400 if wrong else 200)


def _qr_path(text: str) -> tuple[int, str]:
    """(modules a side, a path of SVG that draws the dark ones), with the quiet zone of four."""
    import qrcode  # 4 MB, for the few who set it up

    code = qrcode.QRCode(border=4)
    code.add_data(text)
    rows = code.get_matrix()
    dark = (f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, cell in enumerate(row) if cell)
    return len(rows), "".join(dark)
