"""Signing in: closed to strangers, and counted by the address a person really comes from."""

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import resolve_url


class ClosedAccountAdapter(DefaultAccountAdapter):
    """People are invited by a manager; nobody signs himself up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return resolve_url(settings.LOGIN_REDIRECT_URL)


def client_address(request: HttpRequest) -> str:
    """The address of the browser, past as many of our own proxies as HONE_PROXIES says.

    Each proxy appends the address it was called from to X-Forwarded-For, so only that many entries at its end can be
    believed: the rest is what the client wrote.
    """
    remote: str = request.META.get("REMOTE_ADDR", "")
    forwarded = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
    if not settings.HONE_PROXIES or not forwarded:
        return remote
    return forwarded[-min(settings.HONE_PROXIES, len(forwarded))]
