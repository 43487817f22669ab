"""What a program asks of /v1/chat/completions, checked.

An upstream gets what the protocol has and Hone does not know of as it is; the live worker refuses it by name, since a
parameter that is passed over would give another response than was asked for. A null is a parameter that is not given,
as everywhere in the protocol.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from annotate.data.user_conversations import Messages
from annotate.formats.rows import BadRow, checked_messages
from rlhf.gateway.openai_errors import OpenAIError

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MOST_MESSAGES = 1_000
MOST_CHOICES = 8
LONGEST_NAME = 200
LONGEST_USER = 500
MOST_METADATA, LONGEST_METADATA_KEY, LONGEST_METADATA_VALUE = 16, 64, 512
"""OpenAI's bounds."""
OWN = ("store", "metadata", "user", "safety_identifier")
"""Parameters that the gateway reads itself and sends to no upstream."""
MOST_TOKENS, DEFAULT_TOKENS = 1_024, 256
"""Of a response of the live worker."""
LONGEST_CHAT = 400_000
"""Characters of a chat for the live worker."""
NEUTRAL: dict[str, Any] = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logprobs": False,
    "logit_bias": {},
    "response_format": {"type": "text"},
    "tools": [],
    "modalities": ["text"],
}
"""Values of parameters that ask the live worker for nothing special."""


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """`body`: all parameters that were given. `user`: the user by the program's name for them, or empty."""

    model: str
    body: Mapping[str, Any]
    n: int
    stream: bool
    include_usage: bool
    store: bool
    user: str
    metadata: dict[str, str] = field(default_factory=dict)

    def messages(self) -> Messages:
        """The chat as plain texts, as the live worker and prompts have it. Raises OpenAIError."""
        turns = [_plain(turn, number) for number, turn in enumerate(self.body["messages"])]
        try:
            return checked_messages(turns)
        except BadRow as error:
            raise OpenAIError(_sentence(str(error)), param="messages") from None

    def for_upstream(self, model: str) -> dict[str, Any]:
        return {name: value for name, value in self.body.items() if name not in OWN} | {"model": model}


def parsed(given: Any) -> ChatRequest:
    """Raises OpenAIError (400)."""
    if not isinstance(given, dict):
        raise OpenAIError(_("The body must be a JSON object."))
    body = {name: value for name, value in given.items() if value is not None}
    model = _text(body, "model", longest=LONGEST_NAME)
    if not model:
        raise OpenAIError(_("Name the model: “model” is missing."), param="model")
    _check_messages(body.get("messages"))
    options = body.get("stream_options", {})
    stream = _flag(body, "stream")
    if not isinstance(options, dict) or ("stream_options" in body and not stream):
        raise OpenAIError(_("“stream_options” is an object, and only for “stream”: true."), param="stream_options")
    return ChatRequest(
        model=model,
        body=body,
        n=_whole(body, "n", low=1, high=MOST_CHOICES, default=1),
        stream=stream,
        include_usage=options.get("include_usage") is True,
        store=_flag(body, "store"),
        user=_text(body, "user", longest=LONGEST_USER) or _text(body, "safety_identifier", longest=LONGEST_USER),
        metadata=_metadata(body.get("metadata", {})),
    )


def sampling(chat: ChatRequest) -> dict[str, Any]:
    """The settings of the stage `sample` that a request for the live worker asks for. Raises OpenAIError (400)."""
    known = {"model", "messages", "n", "stream", "stream_options", *OWN}
    taken = {"temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop"}
    for name, value in chat.body.items():
        if name not in known | taken and value != NEUTRAL.get(name, _NOTHING):
            raise OpenAIError(
                _("The live worker doesn’t know the parameter “%(name)s”, or not with this value.")
                % {"name": name[:60]},
                param=name[:60],
                code="unsupported_parameter",
            )
    name = "max_completion_tokens" if "max_completion_tokens" in chat.body else "max_tokens"
    settings: dict[str, Any] = {
        "max_new_tokens": _whole(chat.body, name, low=1, high=MOST_TOKENS, default=DEFAULT_TOKENS),
        "temperature": _number(chat.body, "temperature", low=0, high=2, default=1.0),
        "top_p": _number(chat.body, "top_p", low=0, high=1, default=1.0),
    }
    if "seed" in chat.body:
        # Any whole number is a seed of the protocol's, and one from 0 on of ours.
        settings["seed"] = _whole(chat.body, "seed", low=-(2**63), high=2**63 - 1, default=0) % 2**63
    return settings


_NOTHING = object()


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not 1 <= len(messages) <= MOST_MESSAGES:
        raise OpenAIError(
            _("“messages” must be a list of 1 to %(most)d messages.") % {"most": MOST_MESSAGES}, param="messages"
        )
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise OpenAIError(
                _("Message %(number)d must be an object with a role: system, developer, user, assistant or tool.")
                % {"number": number},
                param=f"messages[{number}].role",
            )
        content = message.get("content")
        if content is not None and not isinstance(content, str | list):
            raise OpenAIError(
                _("The content of message %(number)d must be a text or a list of parts.") % {"number": number},
                param=f"messages[{number}].content",
            )


def _plain(message: Mapping[str, Any], number: int) -> dict[str, str]:
    """A message as role and text."""
    content, role = message.get("content"), message["role"]
    if isinstance(content, list):
        texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        content = "".join(texts) if len(texts) == len(content) else None
    if not isinstance(content, str) or role in ("tool", "function") or message.get("tool_calls"):
        raise OpenAIError(
            _("Message %(number)d is not plain text: tools, images and sounds are for an upstream.")
            % {"number": number},
            param=f"messages[{number}]",
            code="unsupported_value",
        )
    return {"role": "system" if role == "developer" else role, "content": content}


def _metadata(given: Any) -> dict[str, str]:
    fits = (
        isinstance(given, dict)
        and len(given) <= MOST_METADATA
        and all(len(name) <= LONGEST_METADATA_KEY for name in given)
        and all(isinstance(value, str) and len(value) <= LONGEST_METADATA_VALUE for value in given.values())
    )
    if not fits:
        raise OpenAIError(
            _("“metadata” holds up to %(pairs)d texts of %(value)d characters, by names of up to %(key)d.")
            % {"pairs": MOST_METADATA, "value": LONGEST_METADATA_VALUE, "key": LONGEST_METADATA_KEY},
            param="metadata",
        )
    return dict(given)


def _text(body: Mapping[str, Any], name: str, *, longest: int) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > longest:
        raise OpenAIError(
            _("“%(name)s” must be a text of up to %(most)d characters.") % {"name": name, "most": longest}, param=name
        )
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise OpenAIError(_("“%(name)s” must be true or false.") % {"name": name}, param=name)
    return value


def _whole(body: Mapping[str, Any], name: str, *, low: int, high: int, default: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise OpenAIError(
            _("“%(name)s” must be a whole number from %(low)d to %(high)d.") % {"name": name, "low": low, "high": high},
            param=name,
        )
    return value


def _number(body: Mapping[str, Any], name: str, *, low: float, high: float, default: float) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise OpenAIError(
            _("“%(name)s” must be a number from %(low)g to %(high)g.") % {"name": name, "low": low, "high": high},
            param=name,
        )
    return float(value)


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."
