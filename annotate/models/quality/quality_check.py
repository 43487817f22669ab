"""Scores of hidden checks, and what happened to labelers whose scores stayed below a threshold."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.labeling.judgment import Judgment
from annotate.models.people.project import SHARE, Project


class QualityCheck(models.Model):
    """The score of one judgment that was given as a hidden check (see annotate.labeling.checks.scores)."""

    class Kind(models.TextChoices):
        GOLD = "gold", _("Gold task")
        REPEAT = "repeat", _("Repeat of an own task")
        CALIBRATION = "calibration", _("Calibration task")

    judgment = models.OneToOneField(Judgment, on_delete=models.CASCADE, related_name="quality_check")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="quality_checks")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="quality_checks")
    kind = models.CharField(max_length=11, choices=Kind.choices)
    score = models.FloatField(
        validators=SHARE, help_text="Share of pairs ordered as known, as the labeler did before, or as the others do."
    )
    created_at = models.DateTimeField(help_text="When the judgment was given.")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(condition=Q(score__gte=0, score__lte=1), name="quality_check_score_0_to_1"),
        ]
        indexes = [
            models.Index(fields=["labeler", "project", "kind", "-created_at"], name="quality_check_window"),
            models.Index(fields=["project", "kind", "created_at"], name="quality_check_project"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} check of judgment {self.judgment_id}"


class QualityAlert(models.Model):
    """A labeler's checks fell below a threshold, and what was done. A manager can undo it; the window starts anew."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="quality_alerts")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="quality_alerts")
    kind = models.CharField(max_length=11, choices=QualityCheck.Kind.choices)
    action = models.CharField(max_length=9, choices=Project.CheckAction.choices)
    rate = models.FloatField(validators=SHARE, help_text="Mean score of the checks in the window.")
    threshold = models.FloatField(validators=SHARE)
    checks = models.PositiveSmallIntegerField(help_text="Checks in the window.")
    created_at = models.DateTimeField(auto_now_add=True)
    read_at = models.DateTimeField(null=True, blank=True, help_text="When the labeler closed the sentence.")
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["labeler", "project", "-id"], name="quality_alert_labeler"),
            models.Index(fields=["project", "-id"], name="quality_alert_project"),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.labeler_id} in {self.project_id}"

    @property
    def outcome(self) -> str:
        """What happened to the labeler, for a list."""
        outcomes = {"warn": _("Warned"), "pause": _("Paused"), "requalify": _("Exam asked for again")}
        return str(outcomes[self.action])
