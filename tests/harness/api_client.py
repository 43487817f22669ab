"""A test client that sends a token of the API, as a person's program does."""

from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from annotate.models import User
from annotate.people import api_tokens

ROOT = "/api/v1"


class ApiClient(Client):
    """Its addresses are below /api/v1; `call` gives the status and what the reply says."""

    def __init__(self, user: User, *scopes: str, **values: Any) -> None:
        self.token, self.secret = api_tokens.make(user=user, name="test", scopes=scopes or api_tokens.SCOPES, days=7)
        super().__init__(headers={"authorization": f"Bearer {self.secret}"}, **values)

    def call(self, method: str, path: str, data: Any = None, **headers: str) -> tuple[int, Any]:
        """`data` is sent as JSON; a dict with bytes in it as a form, in which these are the content of a file."""
        body = {} if data is None else {"data": data, "content_type": "application/json"}
        if isinstance(data, dict) and any(isinstance(value, bytes) for value in data.values()):
            body = {
                "data": {
                    name: SimpleUploadedFile("rows.jsonl", value) if isinstance(value, bytes) else value
                    for name, value in data.items()
                }
            }
        reply = getattr(self, method.lower())(ROOT + path, headers=headers, **body)
        return reply.status_code, reply.json() if reply.content else None
