"""People of a project: accounts that an administrator makes, one-time passwords, roles taken away, and what the queue
gives each of them: pauses, daily limits, languages and skills.

Managers bring people in by annotate.people.invitations. Nothing here lets one person sign in as another who has an
account of their own already.
"""

import re
import secrets
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.data.stored_messages import StoredMessage
from annotate.errors import NotYours, Refused
from annotate.labeling import queue
from annotate.models import Membership, Project, Skill, TaskChange, User
from annotate.people import audit
from annotate.people.invitations import new_user
from annotate.people.permissions import ROLE_CAPABILITIES, Capability, can, ensure

# Without letters and digits that look alike; twelve of these 30 are 58 bits.
ALPHABET = "abcdefghjkmnpqrstuvwxyz3456789"


LONGEST_REASON = 500
MOST_A_DAY = 10_000
LANGUAGE = re.compile(r"[a-z]{2,3}")
LONGEST_SKILL = 60


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
        audit.record(verb="membership.created", actor=by, subject=membership, project=project, person=user, role=role)
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
        audit.record(verb="password.reset", actor=by, subject=user, project=project, person=user)
    return password


def remove_role(*, user: User, project: Project, role: str, by: User) -> None:
    """Take a role away. Tasks that the person holds go back to the queue when they can't label here any more."""
    ensure(by, Capability.MANAGE, project)
    if role not in Membership.Role.values:
        raise Refused(_("%(name)s doesn't have this role.") % {"name": user.display_name}, status=404)
    with transaction.atomic():
        if Capability.LABEL in ROLE_CAPABILITIES[role]:
            # A claim of theirs that is under way ends first, and what it leased goes back with the rest.
            queue.lock_claims(labeler=user, project=project)
        # The managers are locked, so that two of them can't remove each other at once.
        managers = Membership.objects.filter(project=project, role=Membership.Role.MANAGER).order_by("pk")
        found = set(managers.select_for_update().values_list("user", flat=True))
        # A closed account manages nothing: its owner can't sign in.
        others = managers.filter(user__is_active=True).exclude(user=user)
        if role == Membership.Role.MANAGER and user.pk in found and not others.exists():
            raise Refused(_("A project needs a manager: make somebody else a manager first."))
        released = take_role(user=user, project=project, role=role, by=by)
    if released is not None:
        queue.begin_task_change(released)


def take_role(*, user: User, project: Project, role: str, by: User | None) -> TaskChange | None:
    """Inside a transaction: take a role away, whoever asks. Returns what `queue.begin_task_change` does afterwards."""
    if Capability.LABEL in ROLE_CAPABILITIES[role]:
        queue.lock_claims(labeler=user, project=project)
    _all, removed = Membership.objects.filter(user=user, project=project, role=role).delete()
    if not removed.get(Membership._meta.label):
        raise Refused(_("%(name)s doesn't have this role.") % {"name": user.display_name}, status=404)
    released = None
    if not can(user, Capability.LABEL, project):
        queue.release_held(labeler=user, project=project)
        # Who comes back later may be given what wasn't for them before.
        queue.look_again(labeler=user, project=project)
        released = queue.release_reserved(labeler=user, project=project)
    audit.record(verb="membership.removed", actor=by, subject=user, project=project, person=user, role=role)
    return released


def pause(*, membership: Membership, by: User | None, reason: str | StoredMessage) -> None:
    """Give this person no new tasks in the project, in whichever role, until `resume`. `by` None: Hone itself does.

    They keep what they hold and may submit it, and read the reason on the work page: as it is written, or in their
    language where it is a registered message. Repeated, it changes nothing. Raises NotYours, and Refused (400) for a
    reason that is empty or too long.
    """
    person, project = membership.user, membership.project
    if by is not None:
        ensure(by, Capability.MANAGE, project)
    if isinstance(reason, str):
        reason = text.checked(reason.strip(), name=_("The reason"), longest=LONGEST_REASON)
        if not reason:
            raise Refused(_("Say why: the labeler reads the reason on the work page."), status=400)
        reason = StoredMessage("as_written", {"sentence": reason})
    with transaction.atomic():
        # A claim of theirs that is under way ends first, and none after it is given a task.
        queue.lock_claims(labeler=person, project=project)
        stored = reason.as_json()
        if _memberships(membership).filter(paused_at=None).update(paused_at=timezone.now(), paused_reason=stored):
            audit.record(
                verb="labeler.paused",
                actor=by,
                subject=person,
                project=project,
                person=person,
                reason=stored,
            )
    membership.refresh_from_db(fields=["paused_at", "paused_reason"])


def resume(*, membership: Membership, by: User | None) -> None:
    """Give a paused person tasks again. Repeated, it changes nothing. Raises NotYours."""
    person, project = membership.user, membership.project
    if by is not None:
        ensure(by, Capability.MANAGE, project)
    with transaction.atomic():
        if _memberships(membership).exclude(paused_at=None).update(paused_at=None, paused_reason={}):
            audit.record(verb="labeler.resumed", actor=by, subject=person, project=project, person=person)
    membership.refresh_from_db(fields=["paused_at", "paused_reason"])


def set_work_rules(
    *,
    membership: Membership,
    by: User,
    daily_limit: int | None,
    languages: Iterable[str] = (),
    skills: Iterable[str] = (),
) -> None:
    """What the queue gives this person in the project: so many judgments a day (None: the project's limit), prompts in
    these languages (none: all), and besides ordinary tasks those that need one of these skills.

    languages: tags, of which the primary subtag counts. skills: names; a new one becomes a skill of the project.
    Raises NotYours, and Refused (400) with a sentence.
    """
    project = membership.project
    ensure(by, Capability.MANAGE, project)
    if daily_limit is not None and not 1 <= daily_limit <= MOST_A_DAY:
        raise Refused(
            _("A daily limit is a number from 1 to %(most)d, or empty for none.") % {"most": MOST_A_DAY}, status=400
        )
    read = sorted({tag.strip().lower().replace("_", "-").partition("-")[0] for tag in languages})
    if wrong := next((language for language in read if not LANGUAGE.fullmatch(language)), None):
        raise Refused(_("“%(tag)s” isn’t a language tag such as en or zh.") % {"tag": wrong}, status=400)
    names = {name.casefold(): text.checked(name, name=_("The skill"), longest=LONGEST_SKILL) for name in skills}
    with transaction.atomic():
        # Of two managers who name the same new skill at once, one waits.
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        known = {skill.name.casefold(): skill for skill in Skill.objects.filter(project=project)}
        has = [known.get(key) or Skill.objects.create(project=project, name=name) for key, name in names.items()]
        for each in _memberships(membership):
            each.daily_limit, each.languages = daily_limit, read
            each.save(update_fields=["daily_limit", "languages"])
            each.skills.set(has)
        # They may have come past tasks that are for them now.
        queue.look_again(labeler=membership.user, project=project)
        audit.record(
            verb="labeler.work_rules",
            actor=by,
            subject=membership.user,
            project=project,
            person=membership.user,
            daily_limit=daily_limit,
            languages=read,
            skills=sorted(skill.name for skill in has),
        )
    membership.refresh_from_db(fields=["daily_limit", "languages"])


def _memberships(membership: Membership) -> QuerySet[Membership]:
    """All of this person's in the project: what the queue gives them doesn't depend on the role."""
    return Membership.objects.filter(user=membership.user_id, project=membership.project_id).order_by("pk")


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
