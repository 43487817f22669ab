from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from annotate.models.data.response import Author
from annotate.models.people.project import Project


class AILabeler(models.Model):
    """A model that judges comparisons of a project.

    Its judgments are kept apart from people's: they take no place of a task and are in no figure of people. Snapshots
    have them while `is_counted`, of the use cases in which it agrees with people well enough
    (annotate.quality.ai_agreement). What it judges with is rlhf's matter; `version` numbers it, and only judgments of
    the latest version are measured and counted.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="ai_labelers")
    name = models.CharField(max_length=60)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="ai_labeler",
        help_text="The account that stands for it; nobody can sign in with it.",
    )
    author = models.OneToOneField(
        Author, on_delete=models.PROTECT, related_name="ai_labeler", help_text="Author of the responses it revised."
    )
    version = models.PositiveIntegerField(default=1, help_text="Raised when it judges with something else.")
    weight = models.FloatField(
        default=1.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(100.0)],
        help_text="Weight of its judgments in snapshots, where a person's have 1.",
    )
    least_agreement = models.FloatField(
        default=0.65,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Lower end of the 95% interval of its agreement with people that lets its judgments count.",
    )
    least_tasks = models.PositiveIntegerField(
        default=30,
        validators=[MinValueValidator(2), MaxValueValidator(100_000)],
        help_text="Tasks of a use case that people judged too, before its judgments may count there.",
    )
    is_counted = models.BooleanField(default=False, help_text="Whether new snapshots have its judgments.")
    counted_use_cases = models.JSONField(default=list, blank=True, help_text="The use cases of which they have them.")
    measures = models.JSONField(
        default=dict, blank=True, help_text="Its agreement with people as it was measured last, by use case."
    )
    measured_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "AI labeler"
        ordering = ["project", "pk"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="ai_labeler_name_once")]

    def __str__(self) -> str:
        return self.name
