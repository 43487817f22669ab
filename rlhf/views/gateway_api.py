"""OpenAI's protocol at /v1, for tokens of the gateway: models, chat completions, and feedback, which is Hone's own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from annotate import signals
from annotate.data.json_text import parsed
from annotate.errors import Refused
from annotate.labeling import user_feedback
from annotate.labeling.submissions import LONGEST_COMMENT
from annotate.labeling.user_feedback import Receipt
from annotate.models import ApiToken, GatewayCompletion, GatewaySettings
from annotate.people import api_tokens
from annotate.people.permissions import Capability, can
from rlhf.gateway import chat_requests, completions, gateway_settings, openai_errors
from rlhf.gateway.client_connection import ClientConnection, ClientGone
from rlhf.gateway.openai_errors import OpenAIError

OWNER = "hone"
CLIENT_GONE = 499
"""What nginx calls it too. Nobody reads the reply; the access log does."""
FEEDBACK_FIELDS = {"id", "choice", "rating", "chosen", "edit", "comment"}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whose request it is, and the gateway that it is for."""

    token: ApiToken
    settings: GatewaySettings


View = Callable[..., HttpResponseBase]


def _gateway(*methods: str, scope: str) -> Callable[[View], View]:
    """Decorator: only for these methods and tokens with this scope; what is refused is in the protocol's own shape."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @wraps(view)
        def wrapper(request: HttpRequest, **named: Any) -> HttpResponseBase:
            if request.method not in methods:
                refusal = openai_errors.reply(OpenAIError(_("This address doesn’t take this method."), status=405))
                refusal["Allow"] = ", ".join(methods)
                return refusal
            try:
                return view(request, _caller(request, scope), **named)
            except ClientGone:
                return HttpResponse(status=CLIENT_GONE)
            except Refused as error:
                if error.status >= 500:
                    signals.gateway_event.send(Caller, name="failures")
                return openai_errors.reply(error)

        return wrapper

    return decorate


def _caller(request: HttpRequest, scope: str) -> Caller:
    """Raises Refused."""
    token = api_tokens.of_request(request)
    api_tokens.require_scope(token, scope)
    settings = GatewaySettings.objects.select_related("project").filter(project=token.project_id, enabled=True).first()
    if settings is None or settings.project.archived_at is not None:
        raise OpenAIError(
            _("The gateway of this token’s project is closed. A manager of the project opens it."),
            status=403,
            code="gateway_closed",
        )
    if not can(request.user, Capability.TRAIN, settings.project):
        raise OpenAIError(_("Only researchers and managers of the project have its gateway."), status=403)
    return Caller(token=token, settings=settings)


@_gateway("GET", scope=api_tokens.GATEWAY)
def models(request: HttpRequest, caller: Caller) -> JsonResponse:
    found = [_model(caller.settings, name) for name in gateway_settings.model_names(caller.settings)]
    return JsonResponse({"object": "list", "data": found})


@_gateway("GET", scope=api_tokens.GATEWAY)
def model(request: HttpRequest, caller: Caller, name: str) -> JsonResponse:
    gateway_settings.route(caller.settings, name)
    return JsonResponse(_model(caller.settings, name))


def _model(settings: GatewaySettings, name: str) -> dict[str, Any]:
    created = int(settings.project.created_at.timestamp())
    return {"id": name, "object": "model", "created": created, "owned_by": OWNER}


@_gateway("POST", scope=api_tokens.GATEWAY)
def chat_completions(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    chat = chat_requests.parsed(_body(request))
    if chat.store and api_tokens.GATEWAY_STORE not in caller.token.scopes:
        raise OpenAIError(
            _("This token doesn’t have the scope “%(scope)s”.") % {"scope": api_tokens.GATEWAY_STORE},
            status=403,
            param="store",
        )
    client = ClientConnection(request)
    if not client.is_in_own_thread:
        raise OpenAIError(_("Ask at /v1/chat/completions as it is written, without an encoding of its letters."))
    signals.gateway_event.send(Caller, name="requests")
    return completions.respond(chat, settings=caller.settings, token=caller.token, client=client)


@_gateway("POST", scope=api_tokens.GATEWAY_STORE)
def feedback(request: HttpRequest, caller: Caller) -> JsonResponse:
    """Sent again it changes nothing; sent otherwise it takes the place of what was said before."""
    given = _body(request)
    if not isinstance(given, dict):
        raise OpenAIError(_("The body must be a JSON object."))
    said = {name: value for name, value in given.items() if value is not None}
    if unknown := sorted(set(said) - FEEDBACK_FIELDS):
        raise OpenAIError(_("Feedback has no field “%(name)s”.") % {"name": unknown[0][:60]}, param=unknown[0][:60])
    kinds = [name for name in ("rating", "chosen", "edit") if name in said]
    if len(kinds) != 1:
        raise OpenAIError(_("Feedback is one of “rating”, “chosen” and “edit”."))
    completion = _completion(caller, said.get("id"))
    receipt = _recorded(completion, kinds[0], said)
    if not receipt.repeated:
        signals.gateway_event.send(Caller, name="feedback")
    return JsonResponse({"id": completion.key, "object": "feedback", "kind": kinds[0], "repeated": receipt.repeated})


def _completion(caller: Caller, key: Any) -> GatewayCompletion:
    if not isinstance(key, str) or not key:
        raise OpenAIError(_("Name the completion: “id” is missing."), param="id")
    completions_here = GatewayCompletion.objects.filter(project=caller.settings.project)
    found = completions_here.filter(key=key).first() if len(key) <= 60 else None
    if found is None:
        raise OpenAIError(
            _("No completion of this id was kept: feedback is for what was asked with “store”: true."),
            status=404,
            param="id",
            code="completion_not_found",
        )
    return found


def _recorded(completion: GatewayCompletion, kind: str, said: dict[str, Any]) -> Receipt:
    comment = said.get("comment", "")
    if not isinstance(comment, str) or len(comment) > LONGEST_COMMENT:
        raise OpenAIError(
            _("“%(name)s” must be a text of up to %(most)d characters.") % {"name": "comment", "most": LONGEST_COMMENT},
            param="comment",
        )
    name = "chosen" if kind == "chosen" else "choice"
    number = said.get(name, 0)
    if isinstance(number, bool) or not isinstance(number, int):
        raise OpenAIError(_("“%(name)s” must be the number of a choice, from 0 on.") % {"name": name}, param=name)
    if kind == "chosen":
        return user_feedback.choose(completion, chosen=number, comment=comment)
    if kind == "rating":
        return user_feedback.rate(completion, choice=number, rating=said["rating"], comment=comment)
    return user_feedback.edit(completion, choice=number, edited=said["edit"], comment=comment)


def _body(request: HttpRequest) -> Any:
    if request.content_type != "application/json":
        raise OpenAIError(_("Send the body as application/json."), status=415)
    return parsed(request.body)
