"""The second step of a sign-in, and the way to its set-up for those who need one."""

from collections.abc import Callable

from allauth.account.stages import LoginStage
from allauth.mfa.internal.constants import LoginStageKey
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext_lazy

from annotate.people.own_paths import is_api
from config.security.second_factor import rules
from config.web.refusals import refusal

GetResponse = Callable[[HttpRequest], HttpResponseBase]
IS_ON = "second_factor_is_on"
"""In the session: asked once, not at each request."""
SET_UP_FIRST = gettext_lazy("Set up two-step sign-in in another tab first, then send this again.")


class CodeStage(LoginStage):
    """After the password. django-allauth calls `handle` and, from the page, `exit`."""

    key = LoginStageKey.MFA_AUTHENTICATE.value
    urlname = "mfa_authenticate"

    def handle(self) -> tuple[HttpResponseBase | None, bool]:
        if self.login.user is None or not rules.is_on(self.login.user):
            return None, True
        # The password was right: it is not counted among the wrong ones, whatever becomes of the code.
        if (attempt := getattr(self.request, "sign_in_attempt", None)) is not None:
            attempt.succeed()
        return redirect(self.urlname), True

    def exit(self) -> HttpResponseBase:
        self.request.signs_in = True
        response: HttpResponseBase = super().exit()
        return response


class RequiredSecondFactorMiddleware:
    """Sends those to its set-up who need a second step and have none. Comes after OneTimePasswordMiddleware."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if settings.HONE_REQUIRE_SECOND_FACTOR == "nobody":
            return self.get_response(request)
        if is_api(request.path_info):
            # No session of the API's says that the second step is set up, and none is begun.
            if request.user.is_authenticated and rules.is_required(request.user) and not rules.is_on(request.user):
                return refusal(request, str(SET_UP_FIRST), status=403, heading="")
            return self.get_response(request)
        if self._is_missing(request):
            if request.htmx:  # type: ignore[attr-defined]
                # A page opened before: sending it elsewhere would take away what was entered there.
                return HttpResponse(SET_UP_FIRST, status=403, content_type="text/plain; charset=utf-8")
            return redirect("mfa_index")
        return self.get_response(request)

    @staticmethod
    def _is_missing(request: HttpRequest) -> bool:
        user = request.user
        if not user.is_authenticated or request.session.get(IS_ON):
            return False
        names = ("mfa_index", "account_reauthenticate", "account_logout", "account_change_password")
        open_to_all = (*map(reverse, names), reverse("annotate:preferences"), settings.STATIC_URL, "/i18n/")
        if request.path.startswith(open_to_all) or not rules.is_required(user):
            return False
        if rules.is_on(user):
            request.session[IS_ON] = True
            return False
        return True
