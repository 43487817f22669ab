"""What AI labelers judge with."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models import AILabeler
from rlhf.models.model_version import ModelVersion


class AIJudge(models.Model):
    """The model behind an AI labeler: a reward model, or a chat model on one of the site's endpoints.

    The key of an endpoint is in the environment of the workers and nowhere else (rlhf.ai_feedback.endpoints).
    """

    class Kind(models.TextChoices):
        ENDPOINT = "endpoint", _("Chat model on a server")
        REWARD = "reward", _("Reward model")

    labeler = models.OneToOneField(AILabeler, on_delete=models.CASCADE, related_name="judge")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.ENDPOINT)
    reward_model = models.ForeignKey(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="ai_judges"
    )
    endpoint = models.CharField(max_length=60, blank=True, help_text="Name among HONE_AI_ENDPOINTS.")
    config = models.JSONField(
        default=dict,
        blank=True,
        help_text="Settings of the stage judge, but for the prompt's: budget, limits, retries.",
    )

    class Meta:
        verbose_name = "AI judge"
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="reward", reward_model__isnull=False) | Q(kind="endpoint", reward_model__isnull=True),
                name="ai_judge_has_a_model",
            )
        ]

    def __str__(self) -> str:
        return f"judge of {self.labeler}"


class JudgePrompt(models.Model):
    """A version of what a chat model is asked as a judge. Never changed: a change is a new version."""

    judge = models.ForeignKey(AIJudge, on_delete=models.CASCADE, related_name="prompts")
    version = models.PositiveIntegerField(help_text="The AI labeler's version that it came with.")
    instructions = models.TextField()
    rubric = models.TextField()
    constitution = models.TextField(blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["judge", "-version"]
        constraints = [models.UniqueConstraint(fields=["judge", "version"], name="judge_prompt_version_once")]

    def __str__(self) -> str:
        return f"version {self.version} of {self.judge}"

    @property
    def parts(self) -> list[str]:
        """Its texts, without an empty one."""
        return [part for part in (self.instructions, self.rubric, self.constitution) if part]
