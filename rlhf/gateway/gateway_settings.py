"""What a manager sets of a project's gateway, and what replies to which model name.

POLICY is the project's own model: the policy in use by the live worker, or a server that has it. Further names are
passed on to servers. All servers are named in HONE_AI_ENDPOINTS, so that no page sends texts to an address of
somebody's choice.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.models import Author, GatewaySettings, Project, User
from annotate.people import audit
from rlhf.ai_feedback import endpoints
from rlhf.ai_feedback.endpoints import Endpoint
from rlhf.gateway.openai_errors import OpenAIError
from rlhf.loop import versions

POLICY = "policy"
MOST_ROUTES = 50
NAME = re.compile(r"[\w.\-/:]{1,100}", re.ASCII)
FIELDS = ("enabled", "endpoint", "served_model", "routes", "stores", "prompts_per_user", "counts_feedback")


@dataclass(frozen=True, kw_only=True)
class Route:
    """What replies to a model name: a server's model, or, without an endpoint, the live worker."""

    name: str
    endpoint: Endpoint | None
    model: str


def of_project(project: Project) -> GatewaySettings:
    """The project's settings, closed where nobody has set any."""
    return GatewaySettings.objects.filter(project=project).first() or GatewaySettings(project=project)


def save(project: Project, values: Mapping[str, Any], *, by: User | None) -> bool:
    """Store settings by FIELDS; False where nothing changed. Raises Refused."""
    if values["endpoint"] and not values["served_model"]:
        raise Refused(_("Name the model that the server has."), status=400)
    for name in {values["endpoint"], *(route["endpoint"] for route in values["routes"].values())} - {""}:
        endpoints.find(name)
    with transaction.atomic():
        settings, _made = GatewaySettings.objects.select_for_update(no_key=True).get_or_create(project=project)
        changed = {name: values[name] for name in FIELDS if getattr(settings, name) != values[name]}
        if not changed:
            return False
        GatewaySettings.objects.filter(pk=settings.pk).update(**changed)
        audit.record(verb="gateway.changed", actor=by, subject=settings, project=project, **changed)
    return True


def parsed_routes(written: str) -> dict[str, dict[str, str]]:
    """Lines of a name, an endpoint and a model there. Raises Refused with the line that is wrong."""
    routes: dict[str, dict[str, str]] = {}
    for number, line in enumerate(written.split("\n"), start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 3 or not NAME.fullmatch(parts[0]) or len(parts[2]) > 200:
            raise Refused(
                _("Line %(number)d is not a name, a server and a model, with spaces between.") % {"number": number},
                status=400,
            )
        if parts[0] in routes or parts[0] == POLICY:
            raise Refused(
                _("Line %(number)d names a model that has a server already.") % {"number": number}, status=400
            )
        routes[parts[0]] = {"endpoint": parts[1], "model": parts[2]}
    if len(routes) > MOST_ROUTES:
        raise Refused(_("There can be up to %(most)d further models.") % {"most": MOST_ROUTES}, status=400)
    return routes


def as_lines(routes: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(f"{name} {route['endpoint']} {route['model']}" for name, route in sorted(routes.items()))


def model_names(settings: GatewaySettings) -> list[str]:
    """The model names that programs may ask for."""
    return [POLICY, *sorted(settings.routes)]


def route(settings: GatewaySettings, name: str) -> Route:
    """What replies to a model name. Raises OpenAIError (404, 503)."""
    if name == POLICY:
        endpoint, model = settings.endpoint, settings.served_model
    elif name in settings.routes:
        endpoint, model = settings.routes[name]["endpoint"], settings.routes[name]["model"]
    else:
        raise OpenAIError(
            _("There is no model “%(name)s” here. This project’s gateway has: %(names)s.")
            % {"name": name, "names": ", ".join(model_names(settings))},
            status=404,
            param="model",
            code="model_not_found",
        )
    if not endpoint:
        return Route(name=name, endpoint=None, model="")
    found = endpoints.known().get(endpoint)
    if found is None:
        sentence = _("This site has no server named %(endpoint)s any more. A manager of the project chooses another.")
        raise OpenAIError(sentence % {"endpoint": endpoint}, status=503, code="no_endpoint")
    return Route(name=name, endpoint=found, model=model)


def author_of(settings: GatewaySettings, route: Route) -> Author:
    """Who wrote what an upstream replies: the project's version whose name its model bears, or that model."""
    own = versions.policies(settings.project).filter(author__name=route.model).select_related("author").first()
    if own is not None and own.author is not None:
        return own.author
    assert route.endpoint is not None
    name = f"{route.endpoint.name}/{route.model}"[:200]
    author, _made = Author.objects.get_or_create(kind=Author.Kind.MODEL, name=name, user=None)
    return author
