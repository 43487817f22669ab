"""Before a page is reached: a one-time password is replaced first, and an ended session takes no work away."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, resolve_url
from django.urls import reverse

GetResponse = Callable[[HttpRequest], HttpResponseBase]
ONE_TIME = "You signed in with a one-time password. Choose your own in another tab, then send this again."
SIGNED_OUT = (
    "You have been signed out. What you entered is still on this page: "
    "sign in again in another tab, then send it again."
)


class OneTimePasswordMiddleware:
    """Whoever signed in with a one-time password chooses his own before anything else."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if getattr(request.user, "must_change_password", False):
            change = reverse("account_change_password")
            open_to_all = (change, reverse("account_logout"), settings.STATIC_URL)
            if not request.path.startswith(open_to_all):
                if request.htmx:  # type: ignore[attr-defined]
                    # A page opened before: sending it elsewhere would take away what was entered there.
                    return HttpResponse(ONE_TIME, status=403, content_type="text/plain")
                return redirect(change)
        return self.get_response(request)


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
