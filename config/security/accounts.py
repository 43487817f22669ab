"""Accounts: closed to strangers; and the address that a person really comes from."""

import ipaddress
import re

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import resolve_url

from annotate.models import User
from annotate.people.own_paths import is_own_path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

WITH_PORT = re.compile(r"\[(?P<six>[0-9A-Fa-f:.]{2,45})\](:[0-9]{1,5})?|(?P<four>[0-9.]{7,15}):[0-9]{1,5}")
"""The forms in which some proxies write the port behind the address."""


class ClosedAccountAdapter(DefaultAccountAdapter):
    """People are invited by a manager; nobody signs up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_safe_url(self, url: str | None) -> bool:
        """Whether a sign-in may lead on to it."""
        return is_own_path(url)

    def get_login_stages(self) -> list[str]:
        return ["config.security.second_factor.stage.CodeStage"]

    def reauthenticate(self, user: User, password: str) -> bool:
        """A right password gives back what it took of the sign-in limits: no sign-in follows that would."""
        is_right: bool = super().reauthenticate(user, password)
        attempt = getattr(self.request, "sign_in_attempt", None)
        if is_right and attempt is not None:
            attempt.succeed()
        return is_right

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return resolve_url(settings.LOGIN_REDIRECT_URL)


def client_address(request: HttpRequest) -> str:
    """The address of the browser, past as many of our own proxies as HONE_PROXIES says; empty where there is none.

    Each proxy appends the address it was called from to X-Forwarded-For, so only that many entries at its end can be
    believed: the rest is what the client wrote. An entry that is no address is nobody's: the caller's own counts then.
    """
    remote = parsed(request.META.get("REMOTE_ADDR", ""))
    forwarded = [part for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
    if settings.HONE_PROXIES and forwarded:
        remote = parsed(forwarded[-min(settings.HONE_PROXIES, len(forwarded))]) or remote
    return str(remote) if remote else ""


def parsed(text: str) -> Address | None:
    """An address, with or without a port behind it; None for anything else. IPv4 in IPv6 is IPv4."""
    text = text.strip()
    if found := WITH_PORT.fullmatch(text):
        text = found["six"] or found["four"]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address.scope_id:  # of this machine's own links: no part of the address
            return ipaddress.IPv6Address(int(address))
    return address


def subscriber(address: str, *, bits: int = 64) -> str:
    """What one subscriber holds: an IPv4 address, or the network of `bits` that an IPv6 address is in."""
    found = parsed(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(found), bits), strict=False))
    return str(found or "")
