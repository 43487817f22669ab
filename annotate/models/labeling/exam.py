from django.conf import settings
from django.db import models
from django.db.models import Q

from annotate.models.labeling.task import Task
from annotate.models.people.project import Project


class ExamAttempt(models.Model):
    """A labeler's attempt at a project's qualification exam, or a manager's waiver of it (`waived_by`).

    Exam answers are no judgments: they are in no export, no agreement and no training.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="exam_attempts_made")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="exam_attempts")
    number = models.PositiveSmallIntegerField(help_text="Counts up per labeler from 1; a waiver is 0.")
    waived_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    threshold = models.FloatField(help_text="The share that was asked for.")
    hits = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    passed = models.BooleanField(default=False)
    annulled = models.BooleanField(default=False, help_text="Taken back by a manager: it counts no more.")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "labeler", "number"], condition=Q(annulled=False), name="exam_attempt_once"
            ),
            models.UniqueConstraint(
                fields=["project", "labeler"],
                condition=Q(finished_at__isnull=True, annulled=False),
                name="exam_attempt_one_open",
            ),
        ]

    def __str__(self) -> str:
        return f"exam attempt {self.number} of {self.labeler} in {self.project}"

    @property
    def score(self) -> float | None:
        """The share of known pairs that were ordered right; None before there is one."""
        return self.hits / self.total if self.total else None


class ExamAnswer(models.Model):
    """One task of an attempt, in the order it is shown, with what the labeler said of it."""

    attempt = models.ForeignKey(ExamAttempt, on_delete=models.CASCADE, related_name="answers")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="exam_answers")
    number = models.PositiveSmallIntegerField()
    presentation = models.JSONField(default=list, help_text="Response ids in the order in which they are shown.")
    gold_tiers = models.JSONField(help_text="The known ordering at the time of the attempt.")
    draft = models.JSONField(null=True, blank=True)
    draft_version = models.PositiveBigIntegerField(default=0)
    tiers = models.JSONField(null=True, blank=True)
    hits = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["attempt", "number"]
        constraints = [
            models.UniqueConstraint(fields=["attempt", "number"], name="exam_answer_number_once"),
            models.UniqueConstraint(fields=["attempt", "task"], name="exam_answer_task_once"),
        ]

    def __str__(self) -> str:
        return f"exam answer {self.number} of attempt {self.attempt_id}"
