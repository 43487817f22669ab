"""Pages for an unavailable database: 503, a sentence, and a form that can be sent again as it was.

It is the site's handler of exceptions, so that it hears of those of middleware too: who is signed in is asked there.
"""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import loader
from django.utils.translation import gettext as _

from annotate.artefacts.bucket import StorageFault
from config.monitoring.log_lines import request_id
from config.security.password_hashing import HashingBusy
from config.web.refusals import refusal

RETRY_SECONDS = 5.0
SECRET_PAGES = ("/accounts/", "/admin/password_change/")
"""Their fields are passwords, which no page repeats."""
MOST_REPEATED = 2**20
"""Characters of a form that the page carries to send it again."""


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's handler500: it is called while the exception is being handled."""
    error = sys.exc_info()[1]
    if isinstance(error, HashingBusy):
        return _sign_in_busy(request)
    if isinstance(error, StorageFault):
        return _no_storage(request)
    if isinstance(error, OperationalError | InterfaceError) and "no such" not in str(error):  # a table, a column
        return _no_database(request)
    page = loader.render_to_string("500.html", {"request_id": request_id.get()})
    return HttpResponse(page, status=500)


def _sign_in_busy(request: HttpRequest) -> HttpResponse:
    if (attempt := getattr(request, "sign_in_attempt", None)) is not None:
        for bucket in attempt.taken:
            bucket.give_back()
    return refusal(
        request,
        _("Too many people are signing in at once. Try again in a few seconds."),
        status=503,
        heading=_("One moment"),
        retry_after=RETRY_SECONDS,
    )


def _no_storage(request: HttpRequest) -> HttpResponse:
    # Its own sentence, which is in the log, names servers.
    return refusal(
        request,
        _("The storage of models and exports is not available at the moment. Try again in a few seconds."),
        status=503,
        heading=_("One moment"),
        retry_after=RETRY_SECONDS,
    )


def _no_database(request: HttpRequest) -> HttpResponse:
    fields = _fields(request)
    if request.method in ("GET", "HEAD"):
        sentence = _("The database is not available at the moment. Nothing is lost; try again in a few seconds.")
    elif fields is None:
        sentence = _(
            "The database is not available at the moment, so nothing was saved. "
            "Go back: what you entered is still there. Send it again in a few seconds."
        )
    else:
        sentence = _(
            "The database is not available at the moment, so nothing was saved. "
            "This page keeps what you entered: send it again in a few seconds."
        )
    return refusal(request, sentence, status=503, heading=_("One moment"), retry_after=RETRY_SECONDS, fields=fields)


def _fields(request: HttpRequest) -> list[tuple[str, str]] | None:
    """What a form held, if the page may and can carry it: no passwords, no files, no body that wasn't read."""
    if request.method != "POST" or request.path.startswith(SECRET_PAGES):
        return None
    try:
        if request.FILES or request.content_type not in ("application/x-www-form-urlencoded", "multipart/form-data"):
            return None
        fields = [(name, value) for name, values in request.POST.lists() for value in map(str, values)]
    except Exception:  # it can't be read, or not any more
        return None
    return fields if sum(len(name) + len(value) for name, value in fields) <= MOST_REPEATED else None
