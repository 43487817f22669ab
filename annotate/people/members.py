"""People of a project: accounts that an administrator makes, one-time passwords, and roles taken away.

Managers bring people in by annotate.people.invitations. Nothing here lets one person sign in as another who has an
account of their own already.
"""

import secrets
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import NotYours, Refused
from annotate.labeling import queue
from annotate.models import Membership, Project, User
from annotate.people import audit
from annotate.people.invitations import new_user
from annotate.people.permissions import Capability, can, ensure

# Without letters and digits that look alike; twelve of these 30 are 58 bits.
ALPHABET = "abcdefghjkmnpqrstuvwxyz3456789"


def one_time_password() -> str:
    """Three groups of four, easy to read out: the person must choose another one at the first sign-in."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(3))


def give_one_time_password(user: User) -> str:
    """A new one-time password of the account, which is not saved here; it ends after HONE_ONE_TIME_DAYS days."""
    password = one_time_password()
    user.set_password(password)
    user.must_change_password = True
    user.one_time_until = timezone.now() + timedelta(days=settings.HONE_ONE_TIME_DAYS)
    return password


def add(
    *, project: Project, username: str, role: str, by: User, full_name: str = "", language: str = ""
) -> tuple[User, str | None]:
    """Give a person a role. Makes the account where there is none and then returns its one-time password, else None.

    It tells which names there are, so it is for administrators alone: managers invite. Raises NotYours for everybody
    else, and Refused for a bad name or role and a role held already.
    """
    ensure(by, Capability.MANAGE, project)
    if not by.is_superuser:
        raise NotYours(_("Only administrators make accounts. Invite the person by a link instead."))
    if role not in Membership.Role.values:
        raise Refused(_("There is no role %(role)r.") % {"role": role}, status=400)
    username = User.normalize_username(username.strip())
    same_name = User.objects.filter(username__iexact=username)
    user, password = same_name.first(), None
    if user is None:
        # Before the transaction: hashing takes longer than anybody may hold SQLite's write lock.
        user, password = _new_account(username=username, full_name=full_name, language=language, by=by)
    elif not user.is_active:
        raise Refused(_("The account %(username)s is closed.") % {"username": user.username})
    with transaction.atomic():
        if password is not None:
            if same_name.exists():
                raise Refused(_("Somebody has this user name already. Choose another one."))
            user.save()
        try:
            with transaction.atomic():
                membership = Membership.objects.create(user=user, project=project, role=role)
        except IntegrityError:
            label = Membership.Role(role).label
            raise Refused(
                _("%(name)s has the role “%(role)s” in this project already.")
                % {"name": user.display_name, "role": label}
            ) from None
        audit.record(
            verb="membership.created", actor=by, subject=membership, project=project, username=user.username, role=role
        )
    return user, password


def may_reset_password(*, user: User, by: User) -> bool:
    """Whether `by` may have a one-time password of the account: that is to sign in as its owner.

    An administrator may, and whoever made the account while nobody has signed in to it.
    """
    if user.pk == by.pk or not user.is_active:
        return False
    is_unused = user.created_by_id == by.pk and user.last_login is None and not (user.is_staff or user.is_superuser)
    return by.is_superuser or is_unused


def reset_password(*, user: User, project: Project, by: User) -> str:
    """A new one-time password for a member; their sessions end."""
    ensure(by, Capability.MANAGE, project)
    if user.pk == by.pk:
        raise Refused(_("Change your own password on your account page."))
    if not Membership.objects.filter(user=user, project=project).exists():
        raise Refused(_("This person isn't a member of the project."), status=404)
    if not user.is_active:
        raise Refused(_("The account %(username)s is closed.") % {"username": user.username})
    if not may_reset_password(user=user, by=by):
        raise NotYours(
            _("A new password lets its holder sign in as %(name)s, so an administrator has to make it.")
            % {"name": user.display_name}
        )
    password = give_one_time_password(user)  # before the transaction, as in `add`
    with transaction.atomic():
        user.save(update_fields=["password", "must_change_password", "one_time_until"])
        audit.record(verb="password.reset", actor=by, subject=user, project=project, username=user.username)
    return password


def remove_role(*, user: User, project: Project, role: str, by: User) -> None:
    """Take a role away. Tasks that the person holds go back to the queue when they can't label here any more."""
    ensure(by, Capability.MANAGE, project)
    if role not in Membership.Role.values:
        raise Refused(_("%(name)s doesn't have this role.") % {"name": user.display_name}, status=404)
    with transaction.atomic():
        # The managers are locked, so that two of them can't remove each other at once.
        managers = Membership.objects.filter(project=project, role=Membership.Role.MANAGER).select_for_update()
        if role == Membership.Role.MANAGER and {manager.user_id for manager in managers} == {user.pk}:
            raise Refused(_("A project needs a manager: make somebody else a manager first."))
        removed, _rows = Membership.objects.filter(user=user, project=project, role=role).delete()
        if removed != 1:
            raise Refused(_("%(name)s doesn't have this role.") % {"name": user.display_name}, status=404)
        if not can(user, Capability.LABEL, project):
            queue.release_held(labeler=user, project=project)
        audit.record(
            verb="membership.removed", actor=by, subject=user, project=project, username=user.username, role=role
        )


def _new_account(*, username: str, full_name: str, language: str, by: User) -> tuple[User, str]:
    """The account, not saved yet, and its one-time password."""
    user = new_user(username=username, full_name=full_name, language=language)
    user.created_by = by
    password = give_one_time_password(user)
    try:
        user.full_clean()
    except ValidationError as error:
        raise Refused(" ".join(error.messages), status=400) from None
    return user, password
