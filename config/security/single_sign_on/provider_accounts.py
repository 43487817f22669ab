"""Who comes in through the provider: whose account is connected, and new people of an allowed domain.

An account is found by the provider's name of the person (`sub`) alone. An e-mail address, verified or not, opens no
account that exists: it only decides whether a new one is made.
"""

import logging
import re
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from django.conf import settings
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from annotate.models import User
from annotate.people import audit
from config.security.accounts import client_address
from config.web.refusals import refusal

log = logging.getLogger("hone.sign_in")
MOST_TRIES = 50
"""User names that are tried for a new person."""


class ProviderAccountAdapter(DefaultSocialAccountAdapter):
    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        claims = _claims(request, sociallogin)
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            self._connect(request, sociallogin)
        if not sociallogin.is_existing:
            sociallogin.connect(request, _new_user(request, claims))
        user = sociallogin.user
        if not user.is_active or user.one_time_is_over:
            raise _refused(request, _("The account %(name)s is closed.") % {"name": user.username})
        request.signs_in = True  # type: ignore[attr-defined]

    def _connect(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """From one's account page. Ends the request either way."""
        assert isinstance(request.user, User)
        if sociallogin.is_existing and sociallogin.user.pk != request.user.pk:
            raise _refused(request, _("This is connected to another account already."))
        if not sociallogin.is_existing:
            with transaction.atomic():
                sociallogin.connect(request, request.user)
                audit.record(
                    verb="single_sign_on.connected",
                    actor=request.user,
                    subject=request.user,
                    project=None,
                    person=request.user,
                )
        messages.success(request, _("Connected. From now on you can sign in that way."))
        raise ImmediateHttpResponse(redirect("annotate:account"))

    def on_authentication_error(self, request: HttpRequest, provider: Any, error: Any = None, **details: Any) -> None:
        log.warning("The provider signed nobody in (%s): %s", error, details.get("exception"))
        raise _refused(request, _("The sign-in did not work. Try again; if it goes on, tell your administrator."))


def _claims(request: HttpRequest, sociallogin: SocialLogin) -> dict[str, Any]:
    """What the provider says of the person. Both of its answers must be about the same one."""
    said = sociallogin.account.extra_data
    token, info = said.get("id_token"), said.get("userinfo")
    if token is None or (info is not None and info.get("sub") != token.get("sub")):
        raise _refused(request, _("The sign-in did not work. Try again; if it goes on, tell your administrator."))
    return {**token, **(info or {})}


def _new_user(request: HttpRequest, claims: dict[str, Any]) -> User:
    """An account of its own, in no project. Refuses who isn't of an allowed domain by a verified address."""
    address = str(claims.get("email", ""))
    domain = address.rpartition("@")[2].lower()
    if claims.get("email_verified") is not True or domain not in settings.HONE_OIDC_DOMAINS:
        log.warning("Refused a new person from the provider, from %s", client_address(request) or "nowhere")
        raise _refused(
            request,
            _(
                "No account belongs to you here. Sign in with your password once and connect it on your account page, "
                "or ask a manager for an invitation."
            ),
        )
    wanted = re.sub(r"[^\w.+-]", "", str(claims.get("preferred_username") or address).partition("@")[0])[:100]
    for number in range(1, MOST_TRIES):
        name = (wanted or "person") + (str(number) if number > 1 else "")
        if User.objects.filter(username__iexact=name).exists():
            continue
        user = User(
            username=name,
            first_name=str(claims.get("given_name", ""))[:150],
            last_name=str(claims.get("family_name", ""))[:150],
        )
        user.set_unusable_password()
        try:
            with transaction.atomic():
                user.save()
                audit.record(
                    verb="account.created", actor=user, subject=user, project=None, person=user, by="single sign-on"
                )
        except IntegrityError:  # somebody else took it meanwhile
            continue
        return user
    raise _refused(request, _("The sign-in did not work. Try again; if it goes on, tell your administrator."))


def _refused(request: HttpRequest, sentence: str) -> ImmediateHttpResponse:
    return ImmediateHttpResponse(refusal(request, sentence, status=403, heading=_("Not signed in")))


def is_connected(user: User) -> bool:
    return SocialAccount.objects.filter(user=user).exists()
