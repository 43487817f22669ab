from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.people.project import Project


class Snapshot(models.Model):
    """An immutable set of files frozen from the database. Runs and exports read these, never live tables."""

    class Kind(models.TextChoices):
        RANKINGS = "rankings", _("Rankings")
        DEMONSTRATIONS = "demonstrations", _("Demonstrations")
        RATINGS = "ratings", _("Ratings of single responses")
        PROMPTS = "prompts", _("Prompts")

    class TiePolicy(models.TextChoices):
        KEEP = "keep", _("Keep ties as equal ranks")
        DROP = "drop", _("Leave out rankings in which all are tied")

    class Aggregation(models.TextChoices):
        """What becomes of several judgments of a task in a snapshot of rankings (see data.snapshot_aggregation)."""

        RAW = "raw", _("Each judgment as it is")
        WEIGHTED = "weighted", _("Each judgment, weighted by its labeler’s reliability")
        CONSENSUS = "consensus", _("One consensus per task")

    class State(models.TextChoices):
        PENDING = "pending", _("Waiting")
        BUILDING = "building", _("Being made")
        READY = "ready", _("Ready")
        FAILED = "failed", _("Failed")

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="snapshots")
    kind = models.CharField(max_length=14, choices=Kind.choices)
    format = models.CharField(max_length=20, default="hone")
    filters = models.JSONField(default=dict, blank=True, help_text="What was asked for: time bounds, sources, splits.")
    tie_policy = models.CharField(max_length=4, choices=TiePolicy.choices, default=TiePolicy.KEEP)
    aggregation = models.CharField(max_length=9, choices=Aggregation.choices, default=Aggregation.RAW)
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    progress = models.FloatField(default=0.0)
    builder = models.UUIDField(
        null=True, editable=False, help_text="Token of the builder at work; its writes carry it."
    )
    lease_until = models.DateTimeField(null=True, editable=False, help_text="When a silent builder is taken for dead.")
    error = models.TextField(blank=True, help_text="Reason of the failure in English.")
    failure = models.JSONField(
        default=dict,
        blank=True,
        help_text="Reason of the failure: {code, values}, see annotate.data.stored_messages.",
    )
    folder = models.CharField(max_length=200, blank=True, help_text="Below the data folder.")
    files = models.JSONField(default=dict, blank=True, help_text="{file name: {rows, bytes, sha256}}")
    rows = models.PositiveIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the file list, so it stands for every file.")
    link_key = models.CharField(
        max_length=43, blank=True, editable=False, help_text="Part of what links to it are signed with; empty: no link."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=~Q(state="ready") | ~Q(sha256=""), name="snapshot_ready_has_hash"),
        ]
        indexes = [models.Index(fields=["project", "-id"], name="snapshot_project")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} snapshot {self.pk}"
