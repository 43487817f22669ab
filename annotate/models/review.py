"""Feedback about the work: a judgment sent back by a reviewer, a task reported by a labeler."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from annotate.models.append_only import AppendOnlyModel
from annotate.models.judgment import Assignment, Judgment, JudgmentRevision
from annotate.models.project import Project


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
