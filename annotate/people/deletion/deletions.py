"""A deletion from the request to its end. Every step is idempotent, so it may end anywhere and go on."""

from datetime import datetime
from itertools import repeat

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import signals
from annotate.data.pacing import Pace
from annotate.data.pseudonyms import PSEUDONYM
from annotate.errors import NotYours, Refused
from annotate.labeling.user_feedback import ACCOUNTS
from annotate.models import AILabeler, Membership, PersonDeletion, Project, User
from annotate.models.leased_job import JobLease
from annotate.people import audit
from annotate.people.audit import chain
from annotate.people.deletion import kept_data, personal_data
from annotate.people.deletion.kept_data import Count as Counted
from annotate.people.deletion.personal_data import IMPORTED
from annotate.people.deletion.waiting import NotYet

State = PersonDeletion.State
BATCH = 200


def preview(person: User) -> tuple[list[Counted], list[Counted]]:
    """What would be deleted and what would stay, of each kind that there is anything of."""
    found = [
        Counted(str(kind.label), number)
        for kind in personal_data.kinds()
        if kind.left is not None and (number := kept_data.bounded(kind.left(person)))
    ]
    return found, kept_data.counts(person)


def refuse_impossible(person: User, *, by: User | None) -> None:
    """Raises NotYours but for administrators, and Refused for an account whose data can't be deleted, saying why."""
    if by is not None and not by.is_superuser:
        raise NotYours(_("Only administrators of this installation delete a person’s data."))
    if by is not None and by.pk == person.pk:
        raise Refused(_("You can’t delete your own data while you administer the site. Ask another administrator."))
    if AILabeler.objects.filter(user=person).exists():
        raise Refused(_("This account stands for an AI labeler, and holds no person’s data."))
    if person.username.startswith(IMPORTED) and PSEUDONYM.fullmatch(person.username.rpartition(":")[2]):
        raise Refused(_("This account stands for a pseudonym of an imported file, and holds no person’s data."))
    if person.username.startswith(ACCOUNTS):
        raise Refused(_("This account stands for the users of a project’s model, and holds no person’s data."))
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=person.pk)
    if person.is_superuser and not others.exists():
        raise Refused(_("This is the only administrator of the installation. Make another one first."))
    if alone := list(_managed_alone(person)[:20]):
        raise Refused(
            _("These projects have no other manager: %(names)s. Make somebody else a manager first.")
            % {"names": ", ".join(project.name for project in alone)}
        )


def begin(*, person: User, by: User | None, judgments: str = PersonDeletion.Judgments.KEEP) -> PersonDeletion:
    """Close the account at once and plan the rest. A second time gives the deletion that there is. by None: at the
    command line.

    Raises as `refuse_impossible`, and Refused for another choice of what becomes of judgments than there is (400), or
    than that deletion has.
    """
    if judgments not in PersonDeletion.Judgments.values:
        raise Refused(_("Choose what becomes of their judgments."), status=400)
    with transaction.atomic():
        # The managers of their projects are locked, so that the last two of one can't be deleted at once.
        managers = Membership.objects.filter(role=Membership.Role.MANAGER)
        mine = managers.filter(project__in=managers.filter(user=person).values("project"))
        list(mine.order_by("pk").select_for_update().values_list("pk"))
        # So are the administrators, for whom the same holds.
        list(User.objects.filter(is_superuser=True).order_by("pk").select_for_update().values_list("pk"))
        person = User.objects.select_for_update().get(pk=person.pk)
        if (there := PersonDeletion.objects.filter(person=person).first()) is not None:
            if there.judgments != judgments:
                raise Refused(
                    _("This deletion was asked for before, with another choice for their judgments: %(choice)s.")
                    % {"choice": there.get_judgments_display()}
                )
            return there
        refuse_impossible(person, by=by)
        deletion = PersonDeletion.objects.create(person=person, judgments=judgments, requested_by=by)
        # Sessions and tokens end with it (annotate.people.api_tokens, and sessions know the password's hash).
        person.is_active = person.is_staff = person.is_superuser = False
        person.must_change_password = False
        person.set_unusable_password()
        person.save(
            update_fields=[
                "is_active",
                "is_staff",
                "is_superuser",
                "must_change_password",
                "password",
                "one_time_until",
            ]
        )
        audit.record(
            verb="person.deletion_begun",
            actor=by,
            subject=deletion,
            project=None,
            person=person,
            judgments=judgments,
        )
        transaction.on_commit(lambda: _ask_for(deletion))
    return deletion


def run(deletion_id: int) -> bool:
    """Carry it out, unless another job is at work on it or it is done. Whether it is done now."""
    jobs = PersonDeletion.objects.filter(PersonDeletion.is_free(timezone.now()))
    if (lease := JobLease.taken(jobs, deletion_id)) is None:
        return PersonDeletion.objects.filter(pk=deletion_id, state=State.DONE).exists()
    deletion = PersonDeletion.objects.select_related("person", "requested_by").get(pk=deletion_id)
    chain.link_new()
    try:
        for kind in personal_data.kinds():
            if not _remove_all(kind, deletion, lease):
                return False
    except NotYet:
        lease.put_back()
        return False
    with transaction.atomic():
        if not lease.end(state=State.DONE):
            return False
        audit.record(
            verb="person.deleted",
            actor=deletion.requested_by,
            subject=deletion,
            project=None,
            person=deletion.person,
            removed=deletion.removed,
        )
    return True


def _remove_all(kind: personal_data.Kind, deletion: PersonDeletion, lease: JobLease) -> bool:
    """False where somebody else has the job now."""
    pace = Pace(largest=BATCH)
    for _step in pace.batches(repeat(None)):
        with pace.transaction():
            if not lease.renew():
                return False
            removed = kind.remove(deletion, pace.size)
        if not removed:
            break
    return True


def abandoned(*, now: datetime) -> "QuerySet[PersonDeletion]":
    """Deletions that wait, or whose job died."""
    return PersonDeletion.objects.filter(PersonDeletion.is_free(now)).order_by("pk")


def _managed_alone(person: User) -> "QuerySet[Project]":
    """Open projects of which nobody else with an open account is a manager."""
    managers = Membership.objects.filter(role=Membership.Role.MANAGER)
    own = managers.filter(user=person, project__archived_at=None)
    # Whose data are being deleted is a member until the job takes the role, and can't sign in any more.
    others = managers.filter(user__is_active=True).exclude(user=person)
    return (
        Project.objects.filter(pk__in=own.values("project")).exclude(pk__in=others.values("project")).order_by("name")
    )


def _ask_for(deletion: PersonDeletion) -> None:
    signals.person_deletion_planned.send_robust(sender=PersonDeletion, deletion_id=deletion.pk)
