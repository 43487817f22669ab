import hashlib
import hmac
import secrets
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.prepared_queries import prepared_query

SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


def new_pseudonym_key() -> str:
    return secrets.token_hex(16)


def default_task_kinds() -> list[str]:
    return ["compare"]


class Project(models.Model):
    """A labeling project: its prompts, responses per comparison, judgments per task, guidelines and rubric."""

    MIN_RESPONSES, MAX_RESPONSES = 2, 9

    class SensitiveRule(models.TextChoices):
        """Handling of prompts that may upset. Labelers who opted out never get them.

        See annotate.labeling.sensitive_content.
        """

        WARN = "warn", _("Everybody, after a warning; anyone may opt out")
        VOLUNTEERS = "volunteers", _("Only those who said that they are willing")
        NOBODY = "nobody", _("Nobody: they are not given out")

    class MarginInput(models.TextChoices):
        LEVELS = "levels", _("Four levels beside the ranks")
        SLIDER = "slider", _("One scale from the first response to the second")

    class ConsensusMethod(models.TextChoices):
        """How several judgments of a task become one order (annotate.quality.aggregation)."""

        CROWD_BT = "crowd_bt", _("Weighted by reliability (Crowd-BT)")
        MAJORITY = "majority", _("Majority of each pair (Copeland)")
        BORDA = "borda", _("Mean rank (Borda)")

    class AdjudicationView(models.TextChoices):
        """What a reviewer who adjudicates sees of the labelers' orders."""

        SHOWN = "shown", _("Shown beside the board")
        CHOICE = "choice", _("Hidden until the reviewer asks for them")
        BLIND = "blind", _("Hidden always")

    class CheckAction(models.TextChoices):
        """What happens when a labeler's checks stay below a threshold (annotate.labeling.checks.thresholds)."""

        WARN = "warn", _("Warn the labeler")
        PAUSE = "pause", _("Pause the labeler")
        REQUALIFY = "requalify", _("Ask for the qualification exam again")

    slug = models.SlugField(unique=True, max_length=60)
    name = models.CharField(max_length=120)
    description = models.CharField(max_length=500, blank=True)
    language = models.CharField(
        max_length=10, default="en", help_text="Language of the prompts, as a tag such as en or zh-hans."
    )
    responses_per_task = models.PositiveSmallIntegerField(
        "responses per task (K)",
        default=4,
        validators=[MinValueValidator(MIN_RESPONSES), MaxValueValidator(MAX_RESPONSES)],
    )
    overlap = models.PositiveSmallIntegerField(
        "judgments a task (N)", default=1, validators=[MinValueValidator(1), MaxValueValidator(50)]
    )
    task_kinds = models.JSONField(default=default_task_kinds, help_text="Kinds of task that labelers get here.")
    lease_minutes = models.PositiveSmallIntegerField(
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(24 * 60)],
        help_text="How long a task stays with a labeler who doesn't submit it.",
    )
    margin_input = models.CharField(
        max_length=6,
        choices=MarginInput.choices,
        default=MarginInput.LEVELS,
        help_text="How labelers say by how much the better one of two responses is better.",
    )
    sensitive_rule = models.CharField(
        max_length=10,
        choices=SensitiveRule.choices,
        default=SensitiveRule.WARN,
        help_text="Who gets prompts that may upset.",
    )
    exam_threshold = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Share of the exam's pairs to order as known before one gets live work; empty: no exam.",
    )
    exam_attempts = models.PositiveSmallIntegerField(
        default=2, validators=[MinValueValidator(1), MaxValueValidator(20)], help_text="How often it may be taken."
    )
    mask_model_names = models.BooleanField(
        default=False, help_text="Replace the names of models and their makers in responses that are being judged."
    )
    consensus_method = models.CharField(
        max_length=10,
        choices=ConsensusMethod.choices,
        default=ConsensusMethod.CROWD_BT,
        help_text="How several judgments of a task become one order.",
    )
    weekly_judgments = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Judgments planned per week; empty: no plan.",
    )
    daily_limit = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Judgments that a labeler may give a day; empty: as many as they like. A member may have their own.",
    )
    adjudication_view = models.CharField(
        max_length=6,
        choices=AdjudicationView.choices,
        default=AdjudicationView.CHOICE,
        help_text="Whether a reviewer who adjudicates sees the labelers' orders.",
    )
    review_below = models.FloatField(
        default=0.5,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Tasks whose agreement or confidence is lower wait for review.",
    )
    adaptive_overlap = models.BooleanField(
        default=False, help_text="Whether a task gets fewer judgments where labelers agree and more where they do not."
    )
    overlap_least = models.PositiveSmallIntegerField(
        default=2,
        validators=[MinValueValidator(2), MaxValueValidator(50)],
        help_text="Judgments of a task before agreement ends it.",
    )
    overlap_most = models.PositiveSmallIntegerField(
        default=5,
        validators=[MinValueValidator(2), MaxValueValidator(50)],
        help_text="Judgments of a task beyond which disagreement asks for no more.",
    )
    overlap_agreement = models.FloatField(
        default=0.8,
        validators=SHARE,
        help_text="Share of pairs on which the labelers of a task agree that ends it.",
    )
    gold_rate = models.FloatField(
        default=0.0, validators=SHARE, help_text="Share of a labeler's tasks that are hidden gold tasks."
    )
    repeat_rate = models.FloatField(
        default=0.0, validators=SHARE, help_text="Share of a labeler's tasks that are hidden repeats of their own."
    )
    check_window = models.PositiveSmallIntegerField(
        default=20,
        validators=[MinValueValidator(1), MaxValueValidator(1_000)],
        help_text="The latest checks of a labeler that thresholds look at.",
    )
    check_minimum = models.PositiveSmallIntegerField(
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(1_000)],
        help_text="Checks of a labeler before a threshold has an effect.",
    )
    gold_threshold = models.FloatField(
        null=True, blank=True, validators=SHARE, help_text="Least accuracy on gold tasks; empty: none is asked for."
    )
    gold_action = models.CharField(max_length=9, choices=CheckAction.choices, default=CheckAction.WARN)
    repeat_threshold = models.FloatField(
        null=True, blank=True, validators=SHARE, help_text="Least self-consistency; empty: none is asked for."
    )
    repeat_action = models.CharField(max_length=9, choices=CheckAction.choices, default=CheckAction.WARN)
    evaluation_share = models.FloatField(
        default=0.0,
        editable=False,
        validators=SHARE,
        help_text="Share of a labeler's tasks that belong to a head-to-head evaluation; 0 while there is none.",
    )
    calibration_version = models.PositiveBigIntegerField(
        default=0, editable=False, help_text="Raised with each change of the calibration set; 0 before the first."
    )
    queue_epoch = models.PositiveBigIntegerField(
        default=0,
        editable=False,
        help_text="Raised when tasks appear or reopen, so that labelers look at the whole queue again.",
    )
    reopened_count = models.PositiveBigIntegerField(
        default=0,
        editable=False,
        help_text="Raised when a place of one task comes free again, so that labelers look at that task alone.",
    )
    outbox_events = models.JSONField(
        default=list,
        editable=False,
        help_text="Events that somebody outside hears of (annotate.people.event_outbox).",
    )
    pseudonym_key = models.CharField(max_length=64, default=new_pseudonym_key, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(responses_per_task__gte=2, responses_per_task__lte=9), name="project_k_2_to_9"
            ),
            models.CheckConstraint(condition=Q(overlap__gte=1), name="project_overlap_at_least_1"),
            models.CheckConstraint(
                condition=Q(gold_rate__gte=0, gold_rate__lte=1, repeat_rate__gte=0, repeat_rate__lte=1),
                name="project_check_rates_0_to_1",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def guidelines(self) -> "Guidelines | None":
        return self.guidelines_versions.order_by("-version").first()

    @property
    def rubric(self) -> "Rubric | None":
        if (found := _latest_rubric.first(project=self.pk)) is not None:
            found.project = self
        return found

    def pseudonym(self, user_id: int) -> str:
        """A labeler's name in exports: the same in every export of this project, and of no use in another."""
        digest = hmac.new(self.pseudonym_key.encode(), str(user_id).encode(), hashlib.sha256).hexdigest()
        return f"labeler-{digest[:10]}"


class Guidelines(models.Model):
    """One version of what labelers are asked to do, in Markdown. The highest version counts."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="guidelines_versions")
    version = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "guidelines"
        ordering = ["project", "-version"]
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="guidelines_version_once")]

    def __str__(self) -> str:
        return f"{self.project} guidelines {self.version}"


class Rubric(models.Model):
    """A version of the criteria and flags that responses are judged by besides their rank. A judgment keeps its own.

    criteria: [{"name", "label", "min", "max", "help"?}], one rating a response each.
    flags:    [{"name", "label", "help"?}], yes or no per response.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="rubrics")
    version = models.PositiveIntegerField()
    criteria = models.JSONField(default=list, blank=True)
    flags = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["project", "-version"]
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="rubric_version_once")]

    def __str__(self) -> str:
        return f"{self.project} rubric {self.version}"


class Skill(models.Model):
    """Something that some labelers of a project can do and that some of its tasks need, such as reading Python."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="skills")
    name = models.CharField(max_length=60)

    class Meta:
        ordering = ["project", "name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="skill_once")]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's role in a project. Several roles add up; to a person without one the project doesn't exist.

    What the queue gives a person is a matter of the person and the project: pause, limit, languages and skills are the
    same in all of their memberships there (see annotate.people.members, and annotate.labeling.queue.work_rules).
    """

    class Role(models.TextChoices):
        LABELER = "labeler", _("Labeler")
        REVIEWER = "reviewer", _("Reviewer")
        RESEARCHER = "researcher", _("Researcher")
        MANAGER = "manager", _("Manager")

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    paused_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when the person is given no new tasks; empty while they are."
    )
    paused_reason = models.JSONField(
        default=dict, blank=True, help_text="Why: {code, values}, see annotate.data.stored_messages."
    )
    daily_limit = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Judgments that this person may give a day; empty: the project's limit.",
    )
    languages = models.JSONField(
        default=list, blank=True, help_text="Primary subtags of the languages that the person reads; empty: all."
    )
    skills = models.ManyToManyField(Skill, blank=True, related_name="memberships")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["project", "role", "user"]
        constraints = [
            models.UniqueConstraint(fields=["user", "project", "role"], name="membership_once"),
            models.CheckConstraint(
                condition=Q(role__in=["labeler", "reviewer", "researcher", "manager"]), name="membership_role_known"
            ),
        ]
        indexes = [models.Index(fields=["project", "role"], name="membership_project_role")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.project}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A further role of somebody begins with what holds for them in the project already."""
        other = None
        if self._state.adding:
            other = Membership.objects.filter(user=self.user_id, project=self.project_id).order_by("pk").first()
        for name in WORK_SETTINGS if other is not None else ():
            setattr(self, name, getattr(other, name))
        super().save(*args, **kwargs)
        if other is not None:
            self.skills.set(other.skills.all())


WORK_SETTINGS = ("paused_at", "paused_reason", "daily_limit", "languages")


@prepared_query
def _latest_rubric(project: int) -> models.QuerySet[Rubric]:
    return Rubric.objects.filter(project_id=project).order_by("-version")[:1]
