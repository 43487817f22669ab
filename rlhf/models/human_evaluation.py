from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models import Project, Prompt, Task
from rlhf.models.model_version import ModelVersion
from rlhf.models.training_run import TrainingRun


class HumanEvaluation(models.Model):
    """Model versions compared head to head by labelers, on prompts that are fixed when it begins.

    Written by rlhf.human_evaluation.evaluations alone.
    """

    class State(models.TextChoices):
        SAMPLING = "sampling", _("Sampling responses")
        ACTIVE = "active", _("Being judged")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    class Responses(models.TextChoices):
        SAMPLE = "sample", _("Sample new ones")
        FILL = "fill", _("Take those there are, and sample what is missing")
        PRESENT = "present", _("Take those there are, and only prompts that all versions responded to")

    OPEN = (State.SAMPLING, State.ACTIVE)

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="human_evaluations")
    number = models.PositiveIntegerField(help_text="Sequence number per project.")
    versions = models.ManyToManyField(ModelVersion, through="EvaluatedVersion", related_name="human_evaluations")
    prompts = models.ManyToManyField(Prompt, through="EvaluationItem", related_name="+")
    state = models.CharField(max_length=9, choices=State.choices, default=State.SAMPLING)
    share = models.FloatField(
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Share of a labeler's tasks that are comparisons of this evaluation.",
    )
    responses_per_version = models.PositiveSmallIntegerField(validators=[MinValueValidator(1)])
    judgments_per_prompt = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1)])
    response_source = models.CharField(
        max_length=7, choices=Responses.choices, default=Responses.SAMPLE, help_text="Which responses are compared."
    )
    sampling = models.JSONField(default=dict, blank=True, help_text="Settings of the sample stage.")
    alpha = models.FloatField(default=0.05, help_text="Bound of the probability that any stated difference is wrong.")
    margin = models.FloatField(
        default=0.05, help_text="Two versions are equal when their win rate is within 0.5 plus or minus this; 0: never."
    )
    figures = models.JSONField(default=dict, blank=True, help_text="Win rates and ratings as last computed.")
    figures_of = models.CharField(max_length=60, blank=True, help_text="State of the judgments they were computed of.")
    figures_at = models.DateTimeField(null=True, blank=True)
    failure = models.JSONField(
        default=dict, blank=True, help_text="Why it failed: {code, values}, see annotate.data.stored_messages."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    active_since = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="human_evaluation_number_once"),
            # The share of a labeler's tasks is that of one evaluation.
            models.UniqueConstraint(
                fields=["project"], condition=Q(state__in=["sampling", "active"]), name="human_evaluation_one_open"
            ),
            models.CheckConstraint(
                condition=Q(share__gt=0, share__lte=1, alpha__gt=0, alpha__lt=1, margin__gte=0, margin__lt=0.5),
                name="human_evaluation_shares",
            ),
        ]

    def __str__(self) -> str:
        return f"evaluation {self.number} of {self.project}"

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN


class EvaluatedVersion(models.Model):
    """A version in an evaluation, and the run that samples its missing responses."""

    evaluation = models.ForeignKey(HumanEvaluation, on_delete=models.CASCADE, related_name="evaluated")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="evaluated")
    run = models.OneToOneField(TrainingRun, null=True, blank=True, on_delete=models.PROTECT, related_name="evaluated")
    place = models.PositiveSmallIntegerField(help_text="Order in which pages list the versions.")

    class Meta:
        ordering = ["evaluation", "place"]
        constraints = [
            models.UniqueConstraint(fields=["evaluation", "version"], name="evaluated_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.version} in evaluation {self.evaluation_id}"


class EvaluationItem(models.Model):
    """A prompt of an evaluation with the responses that are compared.

    responses: {version id: [response ids]}. Responses with the same text are shown as one, so an id may stand for
    several versions. task: none where all texts are the same, which is a tie that nobody needs to judge.
    """

    evaluation = models.ForeignKey(HumanEvaluation, on_delete=models.CASCADE, related_name="items")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="+")
    task = models.OneToOneField(Task, null=True, blank=True, on_delete=models.PROTECT, related_name="evaluation_item")
    responses = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["evaluation", "prompt"], name="evaluation_prompt_once"),
        ]

    def __str__(self) -> str:
        return f"prompt {self.prompt_id} in evaluation {self.evaluation_id}"


class Leaderboard(models.Model):
    """Ratings of all versions of a project, as last computed from its evaluations."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="leaderboard")
    figures = models.JSONField(default=dict, blank=True)
    figures_of = models.CharField(max_length=60, blank=True, help_text="State of the judgments they were computed of.")
    figures_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"leaderboard of {self.project}"
