"""The routes of both packages as one API, and what becomes of their exceptions."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from annotate.api import data_routes, exam_routes, project_routes, review_routes, transfer_routes, work_routes
from annotate.api.bearer import Bearer
from annotate.api.json_bodies import JsonBodies
from annotate.errors import Refused
from config.api.problems import problem
from rlhf.api import gateway_routes, model_routes, run_routes

MOST_ERRORS = 20
LONGEST_PLACE = 200
DESCRIPTION = """Prompts, judgments, exports, runs and models of a Hone installation, and the tasks of its people.

Send a token made on the account page as `Authorization: Bearer …`. Errors are problem details (RFC 9457). Lists come in
pages, the newest first: `next` is the `cursor` of the next page, and null behind the last."""

api = NinjaAPI(
    title="Hone",
    version="1",
    description=DESCRIPTION,
    urls_namespace="api",
    # config.api.reference has both: ninja's page loads scripts from elsewhere.
    openapi_url=None,
    docs_url=None,
    auth=Bearer(),
    parser=JsonBodies(),
)
for module in (
    *(project_routes, data_routes, transfer_routes, work_routes, review_routes, exam_routes),
    *(run_routes, model_routes, gateway_routes),
):
    api.add_router("", module.router)


@api.exception_handler(Refused)
def refused(request: HttpRequest, error: Any) -> HttpResponse:
    """`retry_after` and `errors` where the refusal has them."""
    more = {name: getattr(error, name, None) for name in ("retry_after", "errors")}
    return problem(error.status, str(error), **more)


@api.exception_handler(Http404)
def not_there(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(404, str(error))


@api.exception_handler(PermissionDenied)
def denied(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(403, str(error))


@api.exception_handler(HttpError)
def unreadable(request: HttpRequest, error: Any) -> HttpResponse:
    """Raised by ninja alone: of a body, with what our parser said."""
    if isinstance(error.__cause__, Refused):
        return refused(request, error.__cause__)
    return problem(error.status_code, str(error))


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, error: Any) -> HttpResponse:
    errors = [
        {"field": ".".join(map(str, each["loc"]))[:LONGEST_PLACE], "reason": str(each["msg"])[:LONGEST_PLACE]}
        for each in error.errors[:MOST_ERRORS]
    ]
    return problem(422, _("The request doesn’t have the form that the API’s document describes."), errors=errors)


@api.exception_handler(Exception)
def broken(request: HttpRequest, error: Any) -> HttpResponse:
    """Django logs it and replies; ninja would write a stack trace into the reply of a site in debug mode."""
    raise error
