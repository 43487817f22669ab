"""Addresses that a form or a link names as the one to go on to: followed only where they are pages of this site."""

from django.utils.http import url_has_allowed_host_and_scheme

LONGEST = 2_000


def is_own_path(wanted: str | None) -> bool:
    """Whether it is a plain path of this site: no host, no scheme, no view's name, nothing that a header can't hold."""
    if not wanted or not wanted.startswith("/") or len(wanted) > LONGEST or not wanted.isprintable():
        return False
    return url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)


API, API_PAGES = "/api/", frozenset({"/api/v1/docs"})
"""The API's addresses, and those below them that are pages for people."""
GATEWAY = "/v1/"
"""The gateway's addresses, where clients of OpenAI's protocol look for them."""


def is_gateway(path: str) -> bool:
    return path.startswith(GATEWAY)


def is_api(path: str) -> bool:
    """Whether programs with tokens ask there, and no browser with a session."""
    return (path.startswith(API) and path not in API_PAGES) or is_gateway(path)
