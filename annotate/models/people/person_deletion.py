from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.leased_job import LeasedJob


class PersonDeletion(LeasedJob):
    """The data of a person deleted on request, in steps that a job carries out (annotate.people.deletion).

    waiting -> working -> done          a job that died leaves it to another one, which goes on with what is left

    The account stays as a row without a name, since judgments, texts and events are signed by it.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        WORKING = "working", _("Being deleted")
        DONE = "done", _("Deleted")

    class Judgments(models.TextChoices):
        KEEP = "keep", _("They go on counting, under the pseudonym that exports know")
        LEAVE_OUT = "leave-out", _("They are left out of consensus, snapshots and figures")

    person = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="deletion")
    judgments = models.CharField(max_length=9, choices=Judgments.choices, default=Judgments.KEEP)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The administrator; empty: at the command line.",
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    removed = models.JSONField(default=dict, blank=True, help_text="How much of each kind: {kind: number}.")
    last_event = models.PositiveBigIntegerField(
        default=0, editable=False, help_text="Events of the audit log up to this number don't name the person any more."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["state"], condition=~Q(state="done"), name="person_deletion_open")]

    def __str__(self) -> str:
        return f"deletion of {self.person_id}"

    @property
    def is_under_way(self) -> bool:
        return self.state != self.State.DONE
