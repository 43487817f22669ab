"""Replies of the site itself in place of a page: a sentence, for scripts as plain text, for people as a page, and
for clients of the API as a problem.

The page is rendered without the request: who is signed in stands in the database, which may be what is missing.
"""

import math
from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.utils.translation import gettext as _

from annotate.people.own_paths import is_api
from config.api.problems import error
from config.monitoring.log_lines import request_id


def refusal(
    request: HttpRequest,
    sentence: str,
    *,
    status: int,
    heading: str,
    retry_after: float | None = None,
    fields: Iterable[tuple[str, str]] | None = None,
) -> HttpResponse:
    """`retry_after` in seconds. With `fields` the page has a button that sends the form again as it was."""
    if is_api(request.path_info):
        return error(request.path_info, status, sentence, retry_after=retry_after)
    if _is_for_a_script(request):
        response = HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8")
    else:
        context = {"heading": heading, "sentence": sentence, "fields": fields, "path": request.get_full_path()}
        if status >= 500:
            context["request_id"] = request_id.get()
        response = HttpResponse(loader.render_to_string("config/refusal.html", context), status=status)
    if retry_after is not None:
        response["Retry-After"] = str(max(1, math.ceil(retry_after)))
    response["Cache-Control"] = "no-store"
    return response


def wait_in_words(seconds: float) -> str:
    """Half a minute and more in minutes, less in seconds."""
    if seconds >= 60:
        return _("%(n)d min") % {"n": math.ceil(seconds / 60)}
    return _("%(n)d s") % {"n": max(1, math.ceil(seconds))}


def _is_for_a_script(request: HttpRequest) -> bool:
    headers = request.headers
    return headers.get("HX-Request") == "true" or headers.get("X-Requested-With") == "XMLHttpRequest"
