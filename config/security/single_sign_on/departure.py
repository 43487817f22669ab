"""On the way to the provider and back."""

from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.openid_connect import views
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from requests import RequestException

from config.web.refusals import refusal

PROVIDER = "oidc"


@require_POST
@never_cache
def login(request: HttpRequest, provider_id: str = PROVIDER) -> HttpResponseBase:
    """By a form, which another site can't send. The way on is a page that leads there: browsers apply the policy of
    this site's forms (`form-action`) to where a form's reply redirects, and the provider may redirect anywhere."""
    if request.POST.get("process") == AuthProcess.CONNECT and not request.user.is_authenticated:
        return redirect("account_login")
    try:
        reply: HttpResponseBase = views.login(request, PROVIDER)
    except (RequestException, ValueError, KeyError):
        return _unreachable(request)
    if reply.status_code != 302:
        return reply
    return render(request, "account/to_provider.html", {"address": reply["Location"]})


@require_safe
@never_cache
def callback(request: HttpRequest, provider_id: str = PROVIDER) -> HttpResponseBase:
    try:
        reply: HttpResponseBase = views.callback(request, PROVIDER)
    except (RequestException, ValueError, KeyError):
        return _unreachable(request)
    return reply


def _unreachable(request: HttpRequest) -> HttpResponseBase:
    return refusal(
        request,
        _("The sign-in service does not respond as it should. Try again in a few minutes, or sign in with a password."),
        status=503,
        heading=_("Not signed in"),
        retry_after=60.0,
    )
