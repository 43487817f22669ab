"""Problem details (RFC 9457): what an error of the API looks like, whatever part of the site refused the request.

Those of the gateway are in OpenAI's shape, in the same places.
"""

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_exempt

from annotate.people.own_paths import is_api, is_gateway
from rlhf.gateway import openai_errors
from rlhf.gateway.openai_errors import OpenAIError

CONTENT_TYPE = "application/problem+json"
KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")
SENTENCES = {
    400: gettext_lazy("The request can’t be read."),
    403: gettext_lazy("The request was refused."),
    404: gettext_lazy("There is nothing at this address."),
    405: gettext_lazy("This address doesn’t take this method."),
    500: gettext_lazy("Hone failed at this request. Its log says why."),
}
"""For what Django itself refuses, which has a page and no sentence."""
GetResponse = Callable[[HttpRequest], HttpResponseBase]


def error(
    path: str,
    status: int,
    detail: str,
    *,
    retry_after: float | None = None,
) -> JsonResponse:
    """In the shape that clients of this address read: the gateway's are OpenAI's."""
    if is_gateway(path):
        return openai_errors.reply(OpenAIError(detail, status=status, retry_after=retry_after))
    return problem(status, detail, retry_after=retry_after)


def problem(
    status: int, detail: str, *, retry_after: float | None = None, errors: list[dict[str, Any]] | None = None
) -> JsonResponse:
    """`errors`: what is wrong with each field, as {"field", "reason"}."""
    content: dict[str, Any] = {"type": "about:blank", "title": _phrase(status), "status": status, "detail": detail}
    if errors:
        content["errors"] = errors
    response = JsonResponse(content, status=status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    if retry_after is not None:
        response["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    return response


@csrf_exempt
def nothing_there(request: HttpRequest, rest: str) -> JsonResponse:
    """Every address below /api/ and /v1/ that is none: without Django's page of a 404, which would be rendered for
    nobody."""
    return error(request.path_info, 404, str(SENTENCES[404]))


class ProblemMiddleware:
    """The outermost but one: an error that another part of the site words as a page becomes a problem of the API."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code < 400 or not is_api(request.path_info):
            return response
        own = "application/json" if is_gateway(request.path_info) else CONTENT_TYPE
        if response.get("Content-Type") == own:
            return response
        detail = SENTENCES.get(response.status_code, _("The request was refused."))
        found = error(request.path_info, response.status_code, str(detail))
        for header in KEPT_HEADERS:
            if header in response:
                found[header] = response[header]
        return found


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
