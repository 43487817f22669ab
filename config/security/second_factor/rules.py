"""Who needs a second step, how its secrets are stored, and how many codes may be tried."""

import base64
import hashlib
import secrets
from typing import Any

from allauth.mfa import signals
from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import TOTP
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from annotate.models import Membership, User
from annotate.people import audit
from config.security.rate_limits import Limit, SharedBucket
from config.web.refusals import wait_in_words

TRIES = Limit(burst=8, interval=112.5)
"""Wrong codes for one account, by somebody who knows its password: 8 in a quarter of an hour."""
BY_CODE = {Authenticator.Type.TOTP: TOTP, Authenticator.Type.RECOVERY_CODES: RecoveryCodes}
ONCE = Limit(burst=1, interval=120)
"""A code is good once, in all processes: for longer than it is valid."""


class SecondFactorAdapter(DefaultMFAAdapter):
    """Stores secrets encrypted with a key made of the site's, so that a copy of the database alone opens nothing."""

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        from cryptography.fernet import InvalidToken

        try:
            return _cipher().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            # The site has another key now. No code fits a secret that nobody knows; an administrator resets it.
            return base64.b32encode(secrets.token_bytes(20)).decode()


def _cipher() -> Any:
    from cryptography.fernet import Fernet  # 3 MB that few processes need

    key = salted_hmac("config.second_factor", "", algorithm="sha256").digest()
    return Fernet(base64.urlsafe_b64encode(key))


class CodeForm(AuthenticateForm):
    """A code of the app, or a recovery code."""

    def clean_code(self) -> str:
        tries = take_try(self.user)
        code: str = self.cleaned_data["code"]
        factors = Authenticator.objects.filter(user=self.user, type__in=BY_CODE)
        found = next((factor for factor in factors if wrapped(factor).validate_code(code)), None)
        if found is None:
            raise get_adapter().validation_error("incorrect_code")
        self.authenticator = found
        if self.authenticator.type == Authenticator.Type.TOTP:
            digest = hashlib.sha256("".join(code.split()).encode()).hexdigest()
            if SharedBucket("used_code", f"{self.user.pk} {digest}", ONCE).take():
                raise ValidationError(_("This code was used already. Wait for the next one."))
        tries.empty()
        return code


class FirstCodeForm(ActivateTOTPForm):
    """The first code of a new app."""

    def clean_code(self) -> str:
        tries = take_try(self.user)
        code: str = super().clean_code()
        tries.empty()
        return code


def take_try(user: User) -> SharedBucket:
    """Counts one. Raises ValidationError for one too many; who was right empties it."""
    tries = SharedBucket("second_factor", str(user.pk), TRIES)
    if wait := tries.take():
        raise ValidationError(
            _("There were too many wrong codes. Try again in %(wait)s.") % {"wait": wait_in_words(wait)}
        )
    return tries


def wrapped(factor: Authenticator) -> Any:
    """As `Authenticator.wrap`, which loads what checks security keys (11 MB) for whichever factor."""
    return BY_CODE[factor.type](factor)


def is_on(user: User) -> bool:
    """A key counts where the site uses none any more, too: a recovery code signs in then, or an administrator resets
    it."""
    return Authenticator.objects.filter(user=user).exclude(type=Authenticator.Type.RECOVERY_CODES).exists()


def is_last(factor: Authenticator) -> bool:
    """Whether two-step sign-in is off without this one."""
    others = Authenticator.objects.filter(user=factor.user_id).exclude(pk=factor.pk)
    return not others.exclude(type=Authenticator.Type.RECOVERY_CODES).exists()


def is_required(user: User) -> bool:
    """Whether HONE_REQUIRE_SECOND_FACTOR asks it of this person."""
    whom = settings.HONE_REQUIRE_SECOND_FACTOR
    if whom == "nobody":
        return False
    if whom == "everybody" or user.is_superuser or user.is_staff:
        return True
    managing = Membership.objects.filter(user=user, role=Membership.Role.MANAGER)
    return whom == "managers" and managing.exists()


def reset(*, user: User, by: User | None) -> bool:
    """For somebody who has lost app and recovery codes: the password alone signs in again. Their sessions end.

    False where there was nothing to reset. `by` None: at the command line.
    """
    with transaction.atomic():
        deleted, _kinds = Authenticator.objects.filter(user=user).delete()
        if not deleted:
            return False
        audit.record(verb="second_factor.reset", actor=by, subject=user, project=None, person=user)
    end_sessions(user)
    return True


def end_sessions(user: User) -> int:
    """Sign somebody out everywhere; how many sessions that were. It reads every session: for rare use."""
    keys = [
        session.session_key
        for session in Session.objects.iterator()
        if session.get_decoded().get("_auth_user_id") == str(user.pk)
    ]
    return Session.objects.filter(session_key__in=keys).delete()[0]


def connect_signals() -> None:
    for signal, verb in (
        (signals.authenticator_added, "second_factor.added"),
        (signals.authenticator_removed, "second_factor.removed"),
        (signals.authenticator_reset, "second_factor.new_codes"),
    ):
        signal.connect(_recorder(verb), weak=False, dispatch_uid=f"hone.{verb}")


def _recorder(verb: str) -> Any:
    def write(sender: Any, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
        audit.record(verb=verb, actor=user, subject=user, project=None, person=user, kind=authenticator.type)

    return write
