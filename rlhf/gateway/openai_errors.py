"""Errors as clients of OpenAI's protocol read them: {"error": {"message", "type", "param", "code"}}."""

import math
from typing import Any

from django.http import JsonResponse

from annotate.errors import Refused

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
"""By status; every other one below 500 is an invalid_request_error, and above a server_error."""
CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


class OpenAIError(Refused):
    """A refusal with what the protocol says besides: `param` is the field that is wrong, `code` a word for programs."""

    def __init__(
        self,
        sentence: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(sentence, status=status)
        self.param, self.code, self.retry_after = param, code, retry_after


def body(error: Refused) -> dict[str, Any]:
    status = error.status
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = getattr(error, "code", None) or CODES.get(status)
    return {"error": {"message": str(error), "type": kind, "param": getattr(error, "param", None), "code": code}}


def reply(error: Refused) -> JsonResponse:
    response = JsonResponse(body(error), status=error.status)
    response["Cache-Control"] = "no-store"
    if (retry_after := getattr(error, "retry_after", None)) is not None:
        response["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if error.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response
