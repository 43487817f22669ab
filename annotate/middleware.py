"""Before a page is reached: it gets the reader's language and look, a one-time password is replaced first, and neither
an ended session nor a refusal takes work away."""

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, resolve_url
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy

from annotate.models import ApiToken, User
from annotate.people import api_tokens
from annotate.people.own_paths import is_api
from annotate.rendering import local_times
from annotate.views.preferences import THEME_COOKIE

GetResponse = Callable[[HttpRequest], HttpResponseBase]
ONE_TIME = gettext_lazy("You signed in with a one-time password. Choose your own in another tab, then send this again.")
SIGNED_OUT = gettext_lazy(
    "You have been signed out. What you entered is still on this page: "
    "sign in again in another tab, then send it again."
)


class PreferencesMiddleware:
    """The language, the theme and the time zone that a person chose, on whatever device; else the browser's.

    Comes after LocaleMiddleware, which knows the browser's wishes and its cookie but no account.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        language = getattr(request.user, "language", "")
        if language in dict(settings.LANGUAGES):
            translation.activate(language)
            request.LANGUAGE_CODE = language
        theme = getattr(request.user, "theme", User.Theme.SYSTEM)
        if theme == User.Theme.SYSTEM:
            theme = request.COOKIES.get(THEME_COOKIE, "")
        request.theme = theme if theme in User.Theme.values else User.Theme.SYSTEM  # type: ignore[attr-defined]
        zone = local_times.zone_of(
            getattr(request.user, "time_zone", ""), request.COOKIES.get(local_times.ZONE_COOKIE, "")
        )
        with timezone.override(zone):  # None is the installation's
            return self.get_response(request)


class BearerMiddleware:
    """The API knows no sessions: a cookie that a browser sends along means nothing there, so no other site acts by it.

    Comes after AuthenticationMiddleware and before whatever asks who the user is. Of the API's addresses it is the
    token's owner, or nobody; the routes refuse those.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_api(request.path_info):
            token = _token(request)
            request.api_token = token  # type: ignore[attr-defined]
            request.user = AnonymousUser() if token is None or token.user.must_change_password else token.user
        response = self.get_response(request)
        if getattr(request, "is_replay", False):
            response["Idempotency-Replayed"] = "true"
        return response


class OneTimePasswordMiddleware:
    """Sends everybody who signed in with a one-time password to the page where they choose their own."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if getattr(request.user, "one_time_is_over", False):
            # A session that the password opened in time ends with it.
            logout(request)
        if getattr(request.user, "must_change_password", False):
            change = reverse("account_change_password")
            open_to_all = (change, reverse("account_logout"), reverse("annotate:preferences"), settings.STATIC_URL)
            if not request.path.startswith(open_to_all) and not request.path.startswith("/i18n/"):
                if request.htmx:  # type: ignore[attr-defined]
                    # A page opened before: sending it elsewhere would take away what was entered there.
                    return HttpResponse(ONE_TIME, status=403, content_type="text/plain")
                return redirect(change)
        return self.get_response(request)


class ScriptRefusalMiddleware:
    """What a script asked for and may not have, or isn't there, as when a role was taken away meanwhile: the sentence
    alone, which the page shows beside what was entered. Django's page of a 403 would pass for the end of a session."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not request.htmx or not isinstance(error, Http404 | PermissionDenied):  # type: ignore[attr-defined]
            return None
        status = 404 if isinstance(error, Http404) else 403
        return HttpResponse(str(error), status=status, content_type="text/plain; charset=utf-8")


class SignedOutMiddleware:
    """A fragment asked for after the session ended: htmx would follow the redirection and put the sign-in page into the
    work in progress. It gets a sentence for the top of the page instead."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        login = resolve_url(settings.LOGIN_URL)
        signed_out = response.status_code == 302 and response.get("Location", "").startswith(login)
        if signed_out and request.htmx:  # type: ignore[attr-defined]
            return HttpResponse(SIGNED_OUT, status=401, content_type="text/plain")
        return response


def _token(request: HttpRequest) -> ApiToken | None:
    scheme, _space, secret = request.headers.get("Authorization", "").partition(" ")
    return api_tokens.identify(secret.strip()) if scheme.lower() == "bearer" else None
