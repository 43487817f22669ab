"""Who asks: the refusal of requests without a token, and the decorator of routes within a project.

annotate.middleware has found out whose token it is.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _
from ninja.security import HttpBearer

from annotate.models import ApiToken
from annotate.people import api_tokens
from annotate.people.permissions import Capability, ProjectRequest, enter_project

READS = frozenset({"GET", "HEAD", "OPTIONS"})


class ApiRequest(ProjectRequest):
    """A request with a token, as routes get it."""

    auth: ApiToken
    is_replay: bool
    """The reply is that of an earlier request (see idempotency)."""


class Bearer(HttpBearer):
    """What the OpenAPI document says of authentication, and the refusal of requests without it."""

    def __call__(self, request: HttpRequest) -> ApiToken:
        token = api_tokens.of_request(request)
        request.auth = token  # type: ignore[attr-defined]
        if request.method not in READS:
            api_tokens.require_scope(token, api_tokens.WRITE)
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
            if request.auth.project_id not in (None, request.project.pk):
                raise Http404(_("This token is for another project."))
            api_tokens.require_scope(request.auth, capability)
            scopes = {Capability.VIEW, *request.auth.scopes}
            request.capabilities = frozenset(granted for granted in request.capabilities if granted in scopes)
            return route(request, **values)

        first, *others = inspect.signature(route).parameters.values()
        slug = inspect.Parameter("slug", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
        wrapper.__signature__ = inspect.Signature([first, slug, *others])  # type: ignore[attr-defined]
        wrapper.capability = capability  # type: ignore[attr-defined]
        return wrapper

    return decorate
