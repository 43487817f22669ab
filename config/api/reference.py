"""The API's OpenAPI document, and its reference as a page that loads nothing from elsewhere."""

import json
from functools import lru_cache
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from config.api.assembly import api
from config.api.problems import CONTENT_TYPE

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence, in the language of the token's person."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}
METHODS = ("get", "post", "put", "patch", "delete")


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    found: dict[str, Any] = dict(api.get_openapi_schema(path_prefix="/api/v1/"))
    found["components"]["schemas"]["Problem"] = PROBLEM
    reply = {
        "description": "An error (RFC 9457)",
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for _path, _method, operation in operations(found):
        operation["responses"]["default"] = reply
    return found


def operations(found: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(path, method, what the document says of it)."""
    return [
        (path, method, item[method]) for path, item in found["paths"].items() for method in METHODS if method in item
    ]


@lru_cache(maxsize=1)
def _as_bytes() -> bytes:
    return json.dumps(document()).encode()


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """It holds nothing of this installation, so it is for everybody."""
    return HttpResponse(_as_bytes(), content_type="application/json")


@require_safe
@login_required
def docs(request: HttpRequest) -> HttpResponse:
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, method, operation in operations(document()):
        row = {"path": path, "method": method.upper(), **operation}
        row["parameters"] = [each for each in operation.get("parameters", []) if each["in"] != "path"]
        row["fields"] = _fields(operation)
        groups.setdefault(operation["tags"][0], []).append(row)
    return render(request, "config/api_reference.html", {"groups": list(groups.items())})


def _fields(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of an operation's body."""
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return []
    ((_kind, about),) = content.items()
    schema = about["schema"]
    if "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    required = schema.get("required", [])
    return [
        {"name": name, "required": name in required, "description": about.get("description", "")}
        for name, about in schema["properties"].items()
    ]
