"""The chat servers that AI labelers and the playground may use: the operator names them in HONE_AI_ENDPOINTS, with the
variable of a key.

A manager chooses one by its name. So no page sends a request to an address of somebody's choice, and no page makes a
worker read a variable of its environment that was not meant for it.
"""

from dataclasses import dataclass

from django.conf import settings

from annotate.data.stored_messages import refusal


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """key_variable: the environment variable of the workers that holds the key; empty for a server without one."""

    name: str
    address: str
    key_variable: str


def known() -> dict[str, Endpoint]:
    """{name: endpoint}"""
    return {
        name: Endpoint(name=name, address=address, key_variable=variable)
        for name, (address, variable) in settings.HONE_AI_ENDPOINTS.items()
    }


def find(name: str) -> Endpoint:
    """Raises Refused for one that the site does not have, or has no more."""
    if (found := known().get(name)) is None:
        raise refusal("ai_endpoint_missing", status=400, endpoint=name)
    return found
