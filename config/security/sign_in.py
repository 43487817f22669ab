"""Sign-in limits: they slow down guessing, and never lock a person out of a browser in which they were signed in.

Before a password is looked at, one is taken from each bucket that the attempt falls into; a right password gives them
back. An attempt from a browser that carries the signed cookie of an earlier sign-in under that name is counted on its
own ("device cookies", OWASP), so that strangers who try the name can't lock its owner out, and neither can a colleague
behind the same address.
"""

import logging
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from annotate.people import audit
from config.security.accounts import client_address, subscriber
from config.security.rate_limits import Limit, SharedBucket
from config.web.refusals import refusal, wait_in_words

log = logging.getLogger("hone.sign_in")

PAIR = Limit(burst=8, interval=112.5)
"""Wrong passwords for one name from one address: 8 in a quarter of an hour."""
DEVICE = PAIR
"""The same, from a browser that was signed in under the name."""
NAME = Limit(burst=16, interval=60)
"""For one name from all browsers that weren't."""
ADDRESS = Limit(burst=40, interval=30)
"""From one IPv4 address, or one IPv6 network of 64 bits, over all names: an office may sit behind it."""
PROVIDER = Limit(burst=400, interval=3)
"""From one IPv6 network of 48 bits, which one subscriber may hold as well."""

COOKIE = "hone_device"
COOKIE_SECONDS = 180 * 24 * 3600
MOST_NAMES = 5
"""That one browser is remembered for."""
LONGEST_NAME = 150

GetResponse = Callable[[HttpRequest], HttpResponseBase]


@dataclass
class Attempt:
    """What was taken for one try of a name."""

    device: str | None
    """The number of the browser's cookie where it was signed in under this name before."""
    taken: list[SharedBucket]

    def succeed(self) -> None:
        """The first bucket, of wrong passwords for this name from here, is emptied; the others get back this one."""
        first, *others = self.taken
        first.empty()
        for bucket in others:
            bucket.give_back()


class TooManyAttempts(PermissionDenied):
    def __init__(self, wait: float) -> None:
        super().__init__()
        self.wait = wait


class SignInLimits:
    """The first authentication backend: it knows nobody, and lets nobody on who tries too often."""

    def authenticate(self, request: HttpRequest | None, username: str | None = None, **credentials: Any) -> None:
        if request is None or username is None:  # a command, or another way of signing in
            return
        try:
            request.sign_in_attempt = begin(request, username)  # type: ignore[attr-defined]
        except TooManyAttempts as refused:
            request.sign_in_wait = refused.wait  # type: ignore[attr-defined]
            raise


class SignInMiddleware:
    """Says that there were too many attempts, whatever form was used, and remembers browsers that were signed in."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if (wait := getattr(request, "sign_in_wait", None)) is not None:
            return refusal(
                request,
                _(
                    "There were too many wrong passwords. Try again in %(wait)s, or ask an administrator of this site "
                    "for a new one-time password."
                )
                % {"wait": wait_in_words(wait)},
                status=429,
                heading=_("Sign-in is paused"),
                retry_after=wait,
            )
        if devices := getattr(request, "devices_to_remember", None):
            response.set_cookie(
                COOKIE,
                signing.dumps(devices, salt=COOKIE),
                max_age=COOKIE_SECONDS,
                httponly=True,
                secure=settings.SESSION_COOKIE_SECURE,
                samesite="Lax",
            )
        return response


def begin(request: HttpRequest, username: str) -> Attempt:
    """Take one from each bucket of the attempt. Raises TooManyAttempts, and then nothing is taken."""
    name, address = canonical(username), client_address(request)
    device = devices(request).get(_name_in_cookie(name))
    attempt = Attempt(device, [])
    for bucket in _buckets(name, address, device):
        if wait := bucket.take():
            for taken in attempt.taken:
                taken.give_back()
            log.warning("Sign-in refused (%s): %s from %s", bucket.kind, in_log(username), address or "nowhere")
            raise TooManyAttempts(wait)
        attempt.taken.append(bucket)
    return attempt


def _buckets(name: str, address: str, device: str | None) -> list[SharedBucket]:
    if device is not None:
        return [SharedBucket("device", f"{device} {name}", DEVICE)]
    home = subscriber(address)
    found = [SharedBucket("pair", f"{home} {name}", PAIR), SharedBucket("address", home, ADDRESS)]
    if (provider := subscriber(address, bits=48)) != home:
        found.append(SharedBucket("provider", provider, PROVIDER))
    return [*found, SharedBucket("name", name, NAME)]


def canonical(username: str) -> str:
    """One spelling for what signs in to one account."""
    return unicodedata.normalize("NFKC", username[: 4 * LONGEST_NAME]).strip().casefold()


def devices(request: HttpRequest) -> dict[str, str]:
    """{name as the cookie has it: number} of the names this browser was signed in under, oldest first."""
    try:
        found = signing.loads(request.COOKIES.get(COOKIE, ""), salt=COOKIE, max_age=COOKIE_SECONDS)
    except signing.BadSignature:
        return {}
    return found if isinstance(found, dict) else {}


def _name_in_cookie(name: str) -> str:
    return salted_hmac(COOKIE, name, algorithm="sha256").hexdigest()[:32]


def in_log(username: str) -> str:
    """Who, as HONE_LOG_NAMES wants it. A name without an account is hashed in any case: it may be a password."""
    shown = username[:LONGEST_NAME].replace("\0", "")
    if settings.HONE_LOG_NAMES == "plain" and get_user_model().objects.filter(username__iexact=shown).exists():
        return ascii(shown)
    return f"name #{salted_hmac('hone.log', canonical(username), algorithm='sha256').hexdigest()[:12]}"


def connect_signals() -> None:
    user_logged_in.connect(_on_sign_in, dispatch_uid="hone.sign_in")
    user_login_failed.connect(_on_failure, dispatch_uid="hone.sign_in_failed")


def _on_sign_in(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    attempt: Attempt | None = getattr(request, "sign_in_attempt", None)
    # By the password, or by a second step or a provider after it.
    if request is None or (attempt is None and not getattr(request, "signs_in", False)):
        return
    if attempt is not None:
        attempt.succeed()
    if user.is_superuser or user.is_staff:
        address = client_address(request)
        audit.record(
            verb="account.administrator_signed_in", actor=user, subject=user, project=None, person=user,
            address=address,
        )  # fmt: skip
    log.info("Signed in: %s from %s", in_log(user.get_username()), client_address(request) or "nowhere")
    known = devices(request)
    number = known.pop(name := _name_in_cookie(canonical(user.get_username())), None) or secrets.token_urlsafe(12)
    request.devices_to_remember = dict([*known.items(), (name, number)][-MOST_NAMES:])  # type: ignore[attr-defined]


def _on_failure(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    if request is None or hasattr(request, "sign_in_wait"):  # said above
        return
    username = str(credentials.get("username", ""))
    log.warning("Wrong password: %s from %s", in_log(username), client_address(request) or "nowhere")
