"""Database models of training: runs, their inputs and metrics, model versions, and the loop."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models import Author, Project, Snapshot, Task


class Stage(models.TextChoices):
    """Stages of a run. Each is a command of models_core and has a StageSpec in rlhf.runs.stages."""

    PRETRAIN = "pretrain", _("Pretraining")
    SFT = "sft", _("Supervised fine-tuning")
    REWARD = "reward", _("Reward model")
    PPO = "ppo", _("PPO")
    DPO = "dpo", _("DPO")
    SAMPLE = "sample", _("Sampling responses")
    EVALUATE = "evaluate", _("Evaluation")
    SCORE = "score", _("Scoring comparisons")


class ModelVersion(models.Model):
    """A trained or base model. Its folder, relative to the data folder, is immutable."""

    class Kind(models.TextChoices):
        BASE = "base", _("Base model")
        PRETRAINED = "pretrained", _("Pretrained")
        SFT = "sft", _("SFT model")
        REWARD = "reward", _("Reward model")
        POLICY = "policy", _("Policy")

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="model_versions")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    number = models.PositiveIntegerField(help_text="Sequence number per project and kind.")
    author = models.OneToOneField(
        Author,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="model_version",
        help_text="Author of its responses.",
    )
    parents = models.ManyToManyField("self", symmetrical=False, blank=True, related_name="children")
    base_model = models.CharField(
        max_length=200, blank=True, help_text="Catalogue name, folder or Hub id of a base model."
    )
    folder = models.CharField(
        max_length=300, blank=True, help_text="Relative to the data folder; empty for a base model."
    )
    sha256 = models.CharField(max_length=64, blank=True)
    metrics = models.JSONField(default=dict, blank=True)
    active = models.BooleanField(
        default=False, help_text="In use: as the policy that generates responses, or as the reward model."
    )
    promoted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    promoted_at = models.DateTimeField(
        null=True, blank=True, help_text="Time of the last promotion; Promotion has the history."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "kind", "number"], name="model_version_number_once"),
            # At most one reward model and one policy (any other kind) are active.
            models.UniqueConstraint(
                fields=["project"], condition=Q(active=True, kind="reward"), name="model_version_one_active_reward"
            ),
            models.UniqueConstraint(
                fields=["project"], condition=Q(active=True) & ~Q(kind="reward"), name="model_version_one_active_policy"
            ),
            models.CheckConstraint(condition=~Q(folder="") | ~Q(base_model=""), name="model_version_has_weights"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"

    @property
    def label(self) -> str:
        """Display name."""
        return f"{self.get_kind_display()} {self.number}"


class Promotion(models.Model):
    """A change of the active model. Append-only: the history that a rollback follows."""

    class Verb(models.TextChoices):
        PROMOTE = "promote", _("promoted")
        ROLL_BACK = "roll_back", _("rolled back to")

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="promotions")
    verb = models.CharField(max_length=9, choices=Verb.choices, default=Verb.PROMOTE)
    replaced = models.ForeignKey(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="Active until then."
    )
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.verb} {self.version}"


class TrainingRun(models.Model):
    """A training job. This row is authoritative: a message only notifies a worker. Written by rlhf.runs.runs alone."""

    class Status(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")
        LOST = "lost", _("Lost")

    ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="training_runs")
    stage = models.CharField(max_length=10, choices=Stage.choices)
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


class LoopSettings(models.Model):
    """A project's loop: when rounds start, their gates, and the settings of their runs."""

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
    """One round of the loop (snapshot, reward model, PPO, sampling) and its metrics."""

    class Step(models.TextChoices):
        SNAPSHOT = "snapshot", _("Freezing the judgments")
        REWARD = "reward", _("Training the reward model")
        PPO = "ppo", _("Training the policy")
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
    snapshot = models.ForeignKey(Snapshot, null=True, blank=True, on_delete=models.PROTECT, related_name="iterations")
    reward_version = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    policy_version = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
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


class AcquisitionScore(models.Model):
    """Disagreement of the reward ensemble on a comparison, by which the queue was last ordered."""

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="acquisition_score")
    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="acquisition_scores")
    disagreement = models.FloatField(
        help_text="Standard deviation over heads of the score difference of two responses, averaged over pairs."
    )
    place = models.PositiveIntegerField(
        help_text="Rank among the comparisons of its run; 1 is the largest disagreement."
    )

    class Meta:
        ordering = ["run", "place"]

    def __str__(self) -> str:
        return f"task {self.task_id} at position {self.place}"


class WorkerHeartbeat(models.Model):
    """A live worker and the queues it consumes."""

    name = models.CharField(max_length=200, unique=True)
    queues = models.JSONField(default=list)
    host = models.CharField(max_length=200, blank=True)
    process_id = models.PositiveIntegerField(null=True, blank=True)
    capacity = models.JSONField(
        default=dict, blank=True, help_text="Its machine: cores, bytes of memory, free bytes of the data folder."
    )
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
