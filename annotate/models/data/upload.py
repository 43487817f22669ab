"""Files on their way into a project that no request waits for: large uploads, and data sets of a Hub."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.leased_job import LeasedJob
from annotate.models.people.project import Project


class Upload(LeasedJob):
    """A file kept below the data folder until a job has imported it, or a data set that the job fetches from a Hub.

    waiting -> working -> done | refused | cancelled      a job that died leaves it to another one, MOST_ATTEMPTS times

    A job is at work on it by a lease (see leased_job).
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        WORKING = "working", _("Being imported")
        DONE = "done", _("Imported")
        REFUSED = "refused", _("Not imported")
        CANCELLED = "cancelled", _("Cancelled")

    UNFINISHED = (State.WAITING, State.WORKING)

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="uploads")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    file_name = models.CharField(max_length=200)
    path = models.CharField(max_length=200, help_text="Below the data folder; the file goes when it is dealt with.")
    bytes = models.PositiveBigIntegerField()
    options = models.JSONField(default=dict, help_text="As the form had them: {format, language, limit}")
    hub = models.JSONField(default=dict, help_text="Of a data set of a Hub: the fields of hub_files.HubSource.")
    fetched_bytes = models.PositiveBigIntegerField(default=0, help_text="Of a data set of a Hub, so far.")
    said_in = models.CharField(max_length=10, default="en", help_text="The language of whoever uploaded it.")
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    cancel_requested = models.BooleanField(default=False)
    rows_checked = models.PositiveIntegerField(default=0)
    progress = models.FloatField(default=0.0, help_text="Of the writing, which begins once every row is checked.")
    attempts = models.PositiveSmallIntegerField(default=0)
    report = models.JSONField(default=dict, help_text="What became of the file: the fields of imports.ImportReport.")
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["project", "-id"], name="upload_project"),
            models.Index(fields=["id"], condition=Q(state__in=["waiting", "working"]), name="upload_unfinished"),
        ]

    @property
    def hub_parts(self) -> list[str]:
        """Which part of a Hub's data set it is: configuration, split, revision."""
        return [part[:20] for name in ("config", "split", "revision") if (part := self.hub.get(name))]

    @property
    def is_check(self) -> bool:
        """Whether the file is only checked: nothing is written."""
        return bool(self.options.get("dry_run"))

    @property
    def is_fetched_now(self) -> bool:
        """Whether the job still fetches files: no row was read yet."""
        return bool(self.hub) and not self.rows_checked and not self.progress

    def __str__(self) -> str:
        return f"upload {self.pk} of {self.file_name}"
