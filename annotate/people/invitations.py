"""Invitations: how a manager brings people into a project without learning who has an account here.

A manager gets a link and passes it on. The holder signs in with an account they have, or makes one by choosing a
user name and a password. That a name is taken is told to the holder of a link alone, and not often.
"""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.errors import Refused
from annotate.models import Invitation, Membership, Project, User
from annotate.people import audit
from annotate.people.permissions import Capability, can, ensure

LONGEST_LABEL = 150
MOST_OPEN = 200
"""Open invitations of a project."""
MOST_TAKEN_NAMES = 10
"""User names that turn out to be taken, by one invitation; then it makes no account any more."""


def invite(*, project: Project, by: User, roles: Iterable[str], label: str = "") -> tuple[Invitation, str]:
    """An invitation to be these roles, and the token of its link, which is kept nowhere.

    Raises NotYours unless `by` manages the project, and Refused for no role, one that doesn't exist, or too many open
    invitations.
    """
    ensure(by, Capability.MANAGE, project)
    wanted = sorted(set(roles))
    if not wanted:
        raise Refused(_("Choose at least one role."), status=400)
    for role in wanted:
        if role not in Membership.Role.values:
            raise Refused(_("There is no role %(role)r.") % {"role": role[:20]}, status=400)
    label = text.checked(label.strip(), name=_("The note"), longest=LONGEST_LABEL)
    if Invitation.open().filter(project=project).count() >= MOST_OPEN:
        raise Refused(_("%(count)d invitations are open. Withdraw some first.") % {"count": MOST_OPEN})
    token = secrets.token_urlsafe(24)
    with transaction.atomic():
        invitation = Invitation.objects.create(
            project=project,
            roles=wanted,
            label=label,
            token_hash=_hash(token),
            created_by=by,
            expires_at=timezone.now() + timedelta(days=settings.HONE_ONE_TIME_DAYS),
        )
        audit.record(verb="invitation.created", actor=by, subject=invitation, project=project, roles=wanted)
    return invitation, token


def find(token: str) -> Invitation:
    """The open invitation of a link. Raises Refused (404), in the same words whatever is the matter with it.

    One by somebody who doesn't manage the project any more is not open.
    """
    found = Invitation.open().select_related("project", "created_by").filter(token_hash=_hash(token)).first()
    if found is None or not can(found.created_by, Capability.MANAGE, found.project):
        raise Refused(
            _("This invitation was used or withdrawn, or its time is over. Ask whoever sent it for another one."),
            status=404,
        )
    return found


def accept(*, token: str, user: User) -> Invitation:
    """Give the person the invitation's roles and use it up. Raises Refused (404)."""
    with transaction.atomic():
        invitation = find(token)
        # Of two who press at once, one changes the row.
        used = Invitation.open().filter(pk=invitation.pk).update(accepted_at=timezone.now(), accepted_by=user)
        if used != 1:
            raise Refused(_("This invitation was used a moment ago."), status=404)
        for role in invitation.roles:
            membership, is_new = Membership.objects.get_or_create(user=user, project=invitation.project, role=role)
            if is_new:
                audit.record(
                    verb="membership.created",
                    actor=user,
                    subject=membership,
                    project=invitation.project,
                    person=user,
                    role=role,
                    invitation=invitation.pk,
                )
        audit.record(
            verb="invitation.accepted",
            actor=user,
            subject=invitation,
            project=invitation.project,
            person=user,
        )
    return invitation


def open_account(*, token: str, username: str, password: str, full_name: str = "", language: str = "") -> User:
    """Make the account of whoever holds the link, with a password of their own, and accept the invitation with it.

    Raises Refused: 404 for the link, 400 for a name or password that can't be, 409 for a name that is taken, 429 when
    that was so too often.
    """
    invitation = find(token)
    if invitation.taken_names >= MOST_TAKEN_NAMES:
        raise Refused(
            _("Too many names were tried with this invitation. Sign in with the account you have, or ask for another."),
            status=429,
        )
    user = new_user(username=username, full_name=full_name, language=language)
    user.set_password(password)
    try:
        user.full_clean(exclude=["username"])
        user._meta.get_field("username").clean(user.username, user)
        validate_password(password, user)
    except ValidationError as error:
        raise Refused(" ".join(error.messages), status=400) from None
    if User.objects.filter(username__iexact=user.username).exists():
        Invitation.objects.filter(pk=invitation.pk).update(taken_names=F("taken_names") + 1)
        raise Refused(_("Somebody has this user name already. Choose another one."))
    with transaction.atomic():
        try:
            with transaction.atomic():
                user.save()
        except IntegrityError:  # somebody else made it a moment ago, or a second press of the button did
            raise Refused(_("Somebody has this user name already. Choose another one.")) from None
        audit.record(verb="account.created", actor=user, subject=user, project=None, person=user)
        accept(token=token, user=user)
    return user


def withdraw(*, invitation: Invitation, by: User) -> None:
    """Make the link worthless; a second time changes nothing."""
    ensure(by, Capability.MANAGE, invitation.project)
    with transaction.atomic():
        if Invitation.open().filter(pk=invitation.pk).update(withdrawn_at=timezone.now()):
            audit.record(verb="invitation.withdrawn", actor=by, subject=invitation, project=invitation.project)


def new_user(*, username: str, full_name: str, language: str) -> User:
    """An account, not saved yet and without a password."""
    first, _space, last = full_name.strip().partition(" ")
    name = User.normalize_username(username.strip())
    return User(username=name, first_name=first, last_name=last, language=language)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
