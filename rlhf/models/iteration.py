"""The loop: its settings, and its rounds."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models import Project, Snapshot
from rlhf.models.model_version import ModelVersion


class LoopSettings(models.Model):
    """A project's loop: when rounds start, their gates, and the settings of their runs."""

    class PromotionBy(models.TextChoices):
        GATES = "gates", _("By the gates: a policy that passes all of them is put into use")
        HAND = "hand", _("By hand: a round waits until somebody decides")

    class RollingStart(models.TextChoices):
        WARM = "warm", _("From the last one, on the newest judgments and as many older ones")
        SCRATCH = "scratch", _("From the initial model, on all judgments")

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="loop_settings")
    enabled = models.BooleanField(default=False, help_text="Start rounds automatically.")
    judgments_per_round = models.PositiveIntegerField(
        default=200, validators=[MinValueValidator(1)], help_text="New judgments that start a round."
    )
    aggregation = models.CharField(
        max_length=9,
        choices=Snapshot.Aggregation.choices,
        default=Snapshot.Aggregation.RAW,
        help_text="Of several judgments of a task, in the snapshot of a round.",
    )
    prompts_per_round = models.PositiveIntegerField(
        default=64,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text="Prompts sampled from the new policy for the queue.",
    )
    gates = models.JSONField(
        default=dict, blank=True, help_text='Bounds between steps, such as {"reward_accuracy": 0.55, "kl": 50}.'
    )
    sampling = models.JSONField(default=dict, blank=True, help_text="Settings of the sample stage.")
    uncertain_first = models.BooleanField(
        default=False, help_text="Order the queue by the disagreement of the reward ensemble."
    )
    random_share = models.FloatField(
        default=0.2,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Share of the comparisons that keep a random position.",
    )
    tasks_scored = models.PositiveIntegerField(
        default=300,
        validators=[MinValueValidator(2), MaxValueValidator(2000)],
        help_text="Comparisons at the front of the queue that a run scores.",
    )
    reward_config = models.JSONField(default=dict, blank=True)
    ppo_config = models.JSONField(default=dict, blank=True)
    promotion = models.CharField(
        max_length=5, choices=PromotionBy.choices, default=PromotionBy.GATES, help_text="Who puts a policy into use."
    )
    evaluation_prompts = models.PositiveIntegerField(
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(5_000)],
        help_text="Most prompts of the evaluation by people that the gate of the win rate starts.",
    )
    evaluation_share = models.FloatField(
        default=0.2,
        validators=[MinValueValidator(0.01), MaxValueValidator(1.0)],
        help_text="Share of a labeler's tasks that belong to that evaluation.",
    )
    sampling_mix = models.JSONField(
        default=list, blank=True, help_text="What is sampled at the end of a round, see rlhf.loop.rounds.sampling_mix."
    )
    sft_demonstrations = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(1_000_000)],
        help_text="New demonstrations with which a round fine-tunes on demonstrations first; 0 never does.",
    )
    sft_config = models.JSONField(default=dict, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True, help_text="Since when no step begins; empty: it runs.")
    rolling = models.BooleanField(default=False, help_text="Train the reward model on while labelers work.")
    rolling_judgments = models.PositiveIntegerField(
        default=50,
        validators=[MinValueValidator(1), MaxValueValidator(1_000_000)],
        help_text="New judgments after which the reward model is trained on.",
    )
    rolling_minutes = models.PositiveIntegerField(
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(10_080)],
        help_text="Minutes after which it is trained on fewer new ones.",
    )
    rolling_start = models.CharField(
        max_length=7, choices=RollingStart.choices, default=RollingStart.WARM, help_text="What it is trained from."
    )
    rolling_keep = models.PositiveIntegerField(
        default=3,
        validators=[MinValueValidator(2), MaxValueValidator(1_000)],
        help_text="Newest versions of the rolling mode whose files are kept.",
    )

    class Meta:
        verbose_name = verbose_name_plural = "loop settings"
        constraints = [
            models.CheckConstraint(
                condition=Q(random_share__gte=0, random_share__lte=1), name="loop_settings_random_share_0_to_1"
            ),
            models.CheckConstraint(
                condition=Q(judgments_per_round__gte=1, prompts_per_round__gte=1, tasks_scored__gte=2),
                name="loop_settings_counts_above_0",
            ),
        ]

    def __str__(self) -> str:
        return f"loop of {self.project}"

    @classmethod
    def of(cls, project: Project) -> "LoopSettings":
        """The project's settings; unsaved defaults where it has none."""
        return cls.objects.filter(project=project).first() or cls(project=project)


class Iteration(models.Model):
    """One round of the loop and its metrics. Written by rlhf.loop.loop and the steps it calls alone."""

    class Step(models.TextChoices):
        WAIT = "wait", _("Waiting for judgments")
        SNAPSHOT = "snapshot", _("Freezing the judgments")
        SFT = "sft", _("Fine-tuning on demonstrations")
        REWARD = "reward", _("Training the reward model")
        PPO = "ppo", _("Training the policy")
        EVALUATE = "evaluate", _("Comparing the policies by people")
        PROMOTE = "promote", _("Waiting for a promotion by hand")
        SAMPLE = "sample", _("Sampling new responses")
        DONE = "done", _("Done")

    class State(models.TextChoices):
        ACTIVE = "active", _("In progress")
        SUCCEEDED = "succeeded", _("Succeeded")
        STOPPED = "stopped", _("Stopped at a gate")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="iterations")
    number = models.PositiveIntegerField()
    step = models.CharField(max_length=8, choices=Step.choices, default=Step.SNAPSHOT)
    state = models.CharField(max_length=9, choices=State.choices, default=State.ACTIVE)
    reason = models.TextField(blank=True, help_text="Why it stopped or failed, in English.")
    failure = models.JSONField(
        default=dict, blank=True, help_text="Why it ended: {code, values}, see annotate.data.stored_messages."
    )
    rounds_left = models.PositiveIntegerField(default=0, help_text="Rounds to start after this one.")
    judgments_wanted = models.PositiveIntegerField(
        default=0, help_text="New judgments that it waits for before it freezes them."
    )
    frozen_at = models.DateTimeField(
        null=True, blank=True, help_text="When its judgments were frozen: later ones are new to it."
    )
    step_since = models.DateTimeField(null=True, blank=True, help_text="When its step began.")
    gates = models.JSONField(
        default=list, blank=True, help_text="Gates that were measured: [{name, value, bound, verdict}]."
    )
    skipped = models.JSONField(default=list, blank=True, help_text="Steps that somebody skipped.")
    snapshot = models.ForeignKey(Snapshot, null=True, blank=True, on_delete=models.PROTECT, related_name="iterations")
    reward_version = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    policy_version = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    sft_version = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    evaluation = models.OneToOneField(
        "HumanEvaluation", null=True, blank=True, on_delete=models.PROTECT, related_name="iteration"
    )
    numbers = models.JSONField(default=dict, blank=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["project", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="iteration_number_once"),
            models.UniqueConstraint(fields=["project"], condition=Q(state="active"), name="iteration_one_active"),
        ]

    def __str__(self) -> str:
        return f"round {self.number} of {self.project}"
