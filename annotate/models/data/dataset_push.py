"""Snapshots on their way to a repository of a Hub."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.data.snapshot import Snapshot
from annotate.models.leased_job import LeasedJob


class DatasetPush(LeasedJob):
    """A ready snapshot that is pushed as a data set of a Hub.

    waiting -> working -> done | refused      a job that died leaves it to another one, MOST_ATTEMPTS times

    The token is never stored: it is in an environment variable of the process at work, or was typed into a command.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        WORKING = "working", _("Being pushed")
        DONE = "done", _("Pushed")
        REFUSED = "refused", _("Not pushed")

    UNFINISHED = (State.WAITING, State.WORKING)

    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="pushes")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    repository = models.CharField(max_length=200, help_text="OWNER/NAME on the Hub.")
    private = models.BooleanField(default=True, help_text="Of a repository that is made now.")
    token_variable = models.CharField(
        max_length=64, blank=True, help_text="Environment variable with the token; empty where it was typed."
    )
    said_in = models.CharField(max_length=10, default="en", help_text="The language of whoever asked.")
    state = models.CharField(max_length=7, choices=State.choices, default=State.WAITING)
    progress = models.FloatField(default=0.0)
    attempts = models.PositiveSmallIntegerField(default=0)
    revision = models.CharField(max_length=64, blank=True, help_text="The commit on the Hub.")
    url = models.CharField(max_length=500, blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["id"], condition=Q(state__in=["waiting", "working"]), name="dataset_push_unfinished"),
        ]

    def __str__(self) -> str:
        return f"push {self.pk} of snapshot {self.snapshot_id} to {self.repository}"
