"""Enumerations in the OpenAPI document."""

from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema


class InPlace:
    """Of an annotated enumeration: its values stand where it is used, not among the document's components.

    Components have the last part of a class's name, and ninja keeps one of those that share it: `Prompt.Kind`,
    `Task.Kind` and `Snapshot.Kind` would all be the document's `Kind`.
    """

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(handler.resolve_ref_schema(handler(core_schema)))


IN_PLACE = InPlace()
