"""Training runs, their inputs and metrics."""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models import Project, Snapshot
from rlhf.models.model_version import ModelVersion

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class Stage(models.TextChoices):
    """Stages of a run. Each is a command of models_core and has a StageSpec in rlhf.runs.stages."""

    PRETRAIN = "pretrain", _("Pretraining")
    SFT = "sft", _("Supervised fine-tuning")
    REWARD = "reward", _("Reward model")
    PPO = "ppo", _("PPO")
    DPO = "dpo", _("DPO")
    DISTIL = "distil", _("Distillation")
    SAMPLE = "sample", _("Sampling responses")
    EVALUATE = "evaluate", _("Evaluation")
    SCORE = "score", _("Scoring comparisons")
    JUDGE = "judge", _("AI feedback")
    IMPORT = "import", _("Model import")
    GGUF = "gguf", _("GGUF export")
    PUSH = "push", _("Push to a Hub")
    MEASURE = "measure", _("Measurement")
    BENCHMARK = "benchmark", _("Measurement on a file")


def stage_choices() -> "list[tuple[str, StrOrPromise]]":
    """The stages as the field takes them: by this name in migrations, so that a new stage needs none."""
    return [*Stage.choices]


class TrainingRun(models.Model):
    """A training job. This row is authoritative: a message only notifies a worker. Written by rlhf.runs.runs alone."""

    class Status(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")
        LOST = "lost", _("Lost")

    class Priority(models.IntegerChoices):
        HIGH = 1, _("High")
        NORMAL = 0, _("Normal")
        LOW = -1, _("Low")

    ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)
    LIVE_QUEUE = "live"
    """Queue of the runs that somebody waits for at a chat: it is never reordered, see rlhf.runs.live_responses."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="training_runs")
    stage = models.CharField(max_length=10, choices=stage_choices)
    config = models.JSONField(default=dict, help_text="Settings as given; run.json has the resolved ones.")
    options = models.JSONField(
        default=dict, blank=True, help_text="Other parameters: responses per prompt, number of prompts, corpus."
    )
    seed = models.PositiveBigIntegerField(default=0)
    snapshot = models.ForeignKey(
        Snapshot, null=True, blank=True, on_delete=models.PROTECT, related_name="training_runs"
    )
    inputs = models.ManyToManyField(ModelVersion, through="RunInput", related_name="used_by_runs")
    produced = models.OneToOneField(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="run")
    iteration = models.ForeignKey("Iteration", null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    queue = models.CharField(max_length=20, default="cpu", help_text="Worker queue.")
    preset = models.CharField(max_length=30, blank=True, help_text="Preset that its settings began with.")
    cloned_from = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="clones",
        help_text="The run whose settings it began with.",
    )
    priority = models.SmallIntegerField(
        choices=Priority.choices, default=Priority.NORMAL, help_text="Runs with a higher priority start first."
    )
    place = models.PositiveIntegerField(
        null=True, blank=True, help_text="Place among waiting runs of its priority, once somebody has ordered them."
    )

    status = models.CharField(max_length=9, choices=Status.choices, default=Status.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True, help_text="Fencing token of the worker that holds the run.")
    lease_until = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=200, blank=True, help_text="Host and process of the current or last worker.")
    process_group = models.PositiveIntegerField(
        null=True, blank=True, help_text="Of the child process, on the worker's host."
    )

    progress = models.FloatField(default=0.0, help_text="Between 0 and 1.")
    activity = models.CharField(
        max_length=200, blank=True, help_text="Current activity: a message of the catalogue, untranslated."
    )
    error = models.TextField(blank=True, help_text="Reason of the failure in English.")
    failure = models.JSONField(
        default=dict,
        blank=True,
        help_text="Reason of the failure: {code, values}, see annotate.data.stored_messages.",
    )
    notes = models.JSONField(
        default=list, blank=True, help_text="What its supervision changed: [{code, values}], see stored_messages."
    )
    log = models.TextField(blank=True, help_text="End of the standard error of its process.")
    result = models.JSONField(default=dict, blank=True)
    folder = models.CharField(max_length=300, blank=True, help_text="Run folder, relative to the data folder.")

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="running") | Q(lease_token__isnull=False, lease_until__isnull=False),
                name="training_run_running_has_lease",
            ),
            models.CheckConstraint(condition=Q(progress__gte=0, progress__lte=1), name="training_run_progress_0_to_1"),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="training_run_project"),
            models.Index(fields=["queue", "queued_at"], condition=Q(status="queued"), name="training_run_queued"),
            models.Index(fields=["status"], name="training_run_status"),
            models.Index(fields=["lease_until"], condition=Q(status="running"), name="training_run_lease"),
        ]

    def __str__(self) -> str:
        return f"{self.stage} run {self.pk}"

    @property
    def ended(self) -> bool:
        return self.status in self.ENDED


class RunInput(models.Model):
    """A model version that a run reads, and its role."""

    class Role(models.TextChoices):
        MODEL = "model", _("Initial model")
        REFERENCE = "reference", _("Reference model")
        REWARD = "reward", _("Reward model")
        TEACHER = "teacher", _("Teacher")
        AGAINST = "against", _("Opponent")
        PREVIOUS = "previous", _("Previous reward model")
        ENSEMBLE = "ensemble", _("Further reward model of the ensemble")

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="run_inputs")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="run_inputs")
    role = models.CharField(max_length=9, choices=Role.choices)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["run", "role"], condition=~Q(role="ensemble"), name="run_input_role_once"),
            models.UniqueConstraint(
                fields=["run", "version"], condition=Q(role="ensemble"), name="run_input_ensemble_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} as {self.role} of run {self.run_id}"


class RunMetric(models.Model):
    """A metric of a run at a step."""

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="run_metrics")
    step = models.PositiveIntegerField()
    name = models.CharField(max_length=60)
    value = models.FloatField()

    class Meta:
        ordering = ["run", "name", "step"]
        constraints = [models.UniqueConstraint(fields=["run", "name", "step"], name="run_metric_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g} at step {self.step} of run {self.run_id}"
