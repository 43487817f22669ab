"""Feedback about the work: a judgment sent back, a task reported; and what is changed about many judgments at once."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from annotate.models.append_only import AppendOnlyModel
from annotate.models.labeling.judgment import Assignment, Judgment, JudgmentRevision
from annotate.models.leased_job import LeasedJob
from annotate.models.people.project import Project


class JudgmentReturn(AppendOnlyModel):
    """A reviewer sent a judgment back, saying why. It is open until the labeler gives a revision after it."""

    judgment = models.ForeignKey(Judgment, on_delete=models.PROTECT, related_name="returns")
    revision = models.ForeignKey(JudgmentRevision, on_delete=models.PROTECT, related_name="returns")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    comment = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    OPEN = Q(revision=F("judgment__latest"))

    class Meta(AppendOnlyModel.Meta):
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"return of judgment {self.judgment_id}"


class JudgmentAcceptance(AppendOnlyModel):
    """A reviewer looked at a judgment and found nothing to change. It holds for this revision of it."""

    judgment = models.ForeignKey(Judgment, on_delete=models.PROTECT, related_name="acceptances")
    revision = models.OneToOneField(JudgmentRevision, on_delete=models.PROTECT, related_name="acceptance")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AppendOnlyModel.Meta):
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"acceptance of judgment {self.judgment_id}"


class Report(models.Model):
    """A labeler says that something is wrong with a task. The task goes on until somebody who manages it has looked."""

    class Reason(models.TextChoices):
        BROKEN = "broken", _("The prompt or a response is broken")
        PERSONAL = "personal", _("It shows somebody's personal data")
        HARMFUL = "harmful", _("It is harmful or against the law")
        UNBLINDED = "unblinded", _("A response gives away who wrote it")
        OTHER = "other", _("Something else")

    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="reports")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="reports")
    reason = models.CharField(max_length=9, choices=Reason.choices)
    note = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["project", "-id"], condition=Q(resolved_at=None), name="report_open")]

    def __str__(self) -> str:
        return f"report of assignment {self.assignment_id}"


class BatchChange(LeasedJob):
    """Something that a job carries out in short transactions, beside people at work.

    waiting -> working -> done          a job that died leaves it to another one, which goes on with the rest
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        WORKING = "working", _("Being applied")
        DONE = "done", _("Applied")

    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    done = models.PositiveIntegerField(default=0, help_text="Of the records to be changed.")
    in_all = models.PositiveIntegerField(null=True, help_text="Records to be changed; empty until they were counted.")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta(LeasedJob.Meta):
        abstract = True

    @property
    def is_under_way(self) -> bool:
        return self.state != self.State.DONE


class JudgmentExclusion(BatchChange):
    """A labeler's judgments given from `since` until it was made, left out of all that judgments count for.

    They stay as they are, marked with `Judgment.left_out`. `undone_at`: they count again.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="exclusions")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    since = models.DateTimeField()
    reason = models.TextField()
    gives_out_again = models.BooleanField(
        default=False, help_text="Complete tasks that are then short of judgments are given to others."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["project", "-id"], name="exclusion_project"),
            models.Index(fields=["state"], condition=~Q(state="done"), name="exclusion_open"),
        ]

    def __str__(self) -> str:
        return f"exclusion of {self.labeler_id} in {self.project_id}"


class TaskReopening(BatchChange):
    """Judged tasks that are given out again, to labelers who have not judged them.

    filters: see annotate.quality.review.reopening. last_task: the last one that was looked at.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="reopenings")
    filters = models.JSONField(default=dict)
    judgments = models.PositiveSmallIntegerField(default=1, help_text="How many more each of the tasks wants.")
    last_task = models.PositiveBigIntegerField(default=0, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["project", "-id"], name="reopening_project"),
            models.Index(fields=["state"], condition=~Q(state="done"), name="reopening_open"),
        ]

    def __str__(self) -> str:
        return f"reopening {self.pk} in {self.project_id}"
