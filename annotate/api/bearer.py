"""Who asks: the bearer token of a request, and the decorator of routes within a project.

The API knows no sessions: a cookie that a browser sends along means nothing here, so no other site can act by it.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from ninja.security import HttpBearer

from annotate.errors import NotYours, Refused
from annotate.models import ApiToken
from annotate.people import api_tokens
from annotate.people.permissions import Capability, ProjectRequest, enter_project

PREFIX = "/api/"
PAGES = frozenset({"/api/v1/docs"})
"""Addresses below it that are pages for people."""
READS = frozenset({"GET", "HEAD", "OPTIONS"})
GetResponse = Callable[[HttpRequest], HttpResponseBase]


class ApiRequest(ProjectRequest):
    """A request with a token, as routes get it."""

    auth: ApiToken
    is_replay: bool
    """The reply is that of an earlier request (see idempotency)."""


def is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith(PREFIX) and request.path_info not in PAGES


class BearerMiddleware:
    """Comes after AuthenticationMiddleware and before whatever asks who the user is. Of the API's addresses it is the
    token's owner, or nobody; the routes refuse those."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_api(request):
            token = _token(request)
            request.api_token = token  # type: ignore[attr-defined]
            request.user = AnonymousUser() if token is None or token.user.must_change_password else token.user
        response = self.get_response(request)
        if getattr(request, "is_replay", False):
            response["Idempotency-Replayed"] = "true"
        return response


class Bearer(HttpBearer):
    """What the OpenAPI document says of authentication, and the refusal of requests without it."""

    def __call__(self, request: HttpRequest) -> ApiToken:
        token: ApiToken | None = request.api_token  # type: ignore[attr-defined]
        if token is None:
            raise Refused(
                _("Send a token as “Authorization: Bearer …”. This one is missing, unknown, expired or revoked."),
                status=401,
            )
        if not request.user.is_authenticated:
            raise NotYours(_("You have a one-time password. Sign in and choose your own first."))
        request.auth = token  # type: ignore[attr-defined]
        if request.method not in READS:
            require_scope(cast(ApiRequest, request), api_tokens.WRITE)
        return token

    def authenticate(self, request: HttpRequest, token: str) -> None:
        """The middleware has done it."""


def within_project(capability: Capability) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of routes below `/projects/{slug:slug}`, as `permissions.requires` is of views.

    The route is called without the slug. What it may do is what the person's roles and the token's scopes both allow.
    """

    def decorate(route: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(route)
        def wrapper(request: ApiRequest, slug: str, **values: Any) -> Any:
            enter_project(request, slug, capability)
            require_scope(request, capability)
            scopes = {Capability.VIEW, *request.auth.scopes}
            request.capabilities = frozenset(granted for granted in request.capabilities if granted in scopes)
            return route(request, **values)

        first, *others = inspect.signature(route).parameters.values()
        slug = inspect.Parameter("slug", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
        wrapper.__signature__ = inspect.Signature([first, slug, *others])  # type: ignore[attr-defined]
        wrapper.capability = capability  # type: ignore[attr-defined]
        return wrapper

    return decorate


def require_scope(request: ApiRequest, scope: str) -> None:
    """Raise NotYours with a sentence unless the token has it."""
    if scope not in {Capability.VIEW, *request.auth.scopes}:
        raise NotYours(_("This token doesn’t have the scope “%(scope)s”.") % {"scope": str(scope)})


def _token(request: HttpRequest) -> ApiToken | None:
    scheme, _space, secret = request.headers.get("Authorization", "").partition(" ")
    return api_tokens.identify(secret.strip()) if scheme.lower() == "bearer" else None
