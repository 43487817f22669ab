"""The rolling mode of the loop."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models import Project
from rlhf.models.model_version import ModelVersion
from rlhf.models.training_run import TrainingRun


class RollingUpdate(models.Model):
    """A reward model that was trained on while labelers worked. Written by rlhf.loop.rolling.updates alone."""

    class State(models.TextChoices):
        TRAINING = "training", _("In training")
        IN_USE = "in_use", _("Put into use")
        REJECTED = "rejected", _("Not put into use")
        FAILED = "failed", _("Failed")

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="rolling_updates")
    run = models.OneToOneField(TrainingRun, on_delete=models.PROTECT, related_name="rolling_update")
    source = models.ForeignKey(
        ModelVersion,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The reward model that it was trained from; none: from the initial model, on all judgments.",
    )
    new_judgments = models.PositiveIntegerField(help_text="Judgments that were new to the reward model in use.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.TRAINING)
    reason = models.JSONField(
        default=dict, blank=True, help_text="Why it was not put into use: {code, values}, see stored_messages."
    )
    files_removed_at = models.DateTimeField(null=True, blank=True, help_text="When retention removed its files.")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["project"], condition=Q(state="training"), name="rolling_update_one_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"rolling update {self.pk} of {self.project}"

    @property
    def level(self) -> str:
        """Of the badge of its state on pages."""
        state = self.State
        levels = {state.IN_USE: "ok", state.TRAINING: "live", state.FAILED: "error", state.REJECTED: "warn"}
        return levels[state(self.state)]
