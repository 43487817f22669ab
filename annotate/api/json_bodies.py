"""Bodies of requests: JSON in UTF-8 that can be stored (annotate.data.json_text)."""

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja.parser import Parser

from annotate.data.json_text import parsed
from annotate.errors import Refused

CONTENT_TYPE = "application/json"


class JsonBodies(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        """Raises Refused (400, 415)."""
        if request.content_type != CONTENT_TYPE:
            raise Refused(_("Send the body as application/json."), status=415)
        return parsed(request.body)
