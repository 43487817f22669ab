import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.append_only import AppendOnlyModel
from annotate.models.data.data_import import ImportableModel
from annotate.models.data.gateway import GatewayCompletion, GatewaySettings
from annotate.models.data.prompt import Prompt
from annotate.models.data.response import Response
from annotate.models.labeling.ai_labeler import AILabeler
from annotate.models.labeling.task import Task
from annotate.models.people.project import Project, Rubric


class Assignment(models.Model):
    """A task in the hands of a labeler: leased, with an order of the responses of their own, and a draft."""

    class State(models.TextChoices):
        CURRENT = "current", _("Being worked on")
        AHEAD = "ahead", _("Leased ahead")
        SUBMITTED = "submitted", _("Submitted")
        SKIPPED = "skipped", _("Skipped")
        EXPIRED = "expired", _("Lease ran out")
        REVIEWING = "reviewing", _("Being adjudicated")

    HELD = (State.CURRENT, State.AHEAD)
    """Takes a place of its task. An adjudication takes none."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="assignments")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="assignments")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="assignments")
    state = models.CharField(max_length=9, choices=State.choices, default=State.CURRENT)
    lease_until = models.DateTimeField()
    is_check = models.BooleanField(
        default=False, editable=False, help_text="Given as a gold task, a repeat or a calibration task: it has no slot."
    )
    seed = models.BigIntegerField(help_text="Seed of the presentation order.")
    presentation = models.JSONField(default=list, help_text="Response ids in the order this labeler sees them.")
    draft = models.JSONField(null=True, blank=True, help_text="The form's fields as they were last entered.")
    draft_version = models.PositiveBigIntegerField(
        default=0, help_text="Grows with each draft, so that an older one never takes the place of a newer one."
    )
    draft_page = models.CharField(max_length=36, blank=True, help_text="The open page that the draft came from.")
    skip_reason = models.CharField(max_length=500, blank=True)
    is_adjudication = models.BooleanField(
        default=False, db_default=False, help_text="A reviewer decides here between the labelers' judgments."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    opened_at = models.DateTimeField(null=True, blank=True, help_text="When it became the current one.")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["task", "labeler"], name="assignment_once"),
            models.UniqueConstraint(
                fields=["labeler", "project"], condition=Q(state="current"), name="assignment_one_current"
            ),
            models.UniqueConstraint(
                fields=["labeler", "project"], condition=Q(state="ahead"), name="assignment_one_ahead"
            ),
        ]
        indexes = [
            # By ended_at and not by state: SQLite uses no partial index whose condition is a list of values.
            models.Index(fields=["lease_until"], condition=Q(ended_at__isnull=True), name="assignment_open_lease"),
            models.Index(fields=["labeler", "project", "-ended_at"], name="assignment_history"),
            models.Index(
                fields=["labeler", "project"],
                condition=Q(is_check=True, state="expired"),
                name="assignment_lapsed_check",
            ),
            models.Index(fields=["project", "labeler"], condition=Q(state="skipped"), name="assignment_skipped"),
        ]

    def __str__(self) -> str:
        return f"task {self.task_id} for {self.labeler}"


class Adjudication(Assignment):
    """An assignment in which a reviewer decides between the judgments of a task (`is_adjudication`)."""

    class Meta:
        proxy = True


class Judgment(ImportableModel):
    """A labeler's judgment of a task. Its content is in revisions; the latest one counts.

    `latest` is empty while the labeler has taken the judgment back (see queue.withdraw): then nothing of it counts.
    `left_out`: nor does anything of it while a manager has it left out. An adjudication is a reviewer's, who decides
    between the labelers' judgments of a task: it is none of those that the task wants, and stands above them. Nor is
    that of an AI labeler, which stands beside them (see annotate.labeling.ai_judgments), nor feedback of a user of the
    model (annotate.labeling.user_feedback).
    """

    assignment = models.OneToOneField(Assignment, on_delete=models.PROTECT, related_name="judgment")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="judgments")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="judgments")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="judgments")
    latest = models.OneToOneField("JudgmentRevision", null=True, on_delete=models.PROTECT, related_name="+")
    surplus = models.BooleanField(
        default=False,
        help_text="Came after the lease ran out and another labeler had taken the place: kept, beyond the overlap.",
    )
    is_adjudication = models.BooleanField(default=False, db_default=False)
    is_check = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Of a hidden check: work that was done, and no data (see annotate.labeling.checks).",
    )
    left_out = models.ForeignKey(
        "annotate.JudgmentExclusion",
        null=True,
        blank=True,
        db_index=False,
        on_delete=models.PROTECT,
        related_name="judgments",
    )
    ai_labeler = models.ForeignKey(
        AILabeler,
        null=True,
        blank=True,
        db_index=False,
        on_delete=models.PROTECT,
        related_name="judgments",
        help_text="The AI labeler that gave it; empty where a person did.",
    )
    completion = models.ForeignKey(
        GatewayCompletion,
        null=True,
        blank=True,
        db_index=False,
        on_delete=models.PROTECT,
        related_name="judgments",
        help_text="What a user of the model said this of, through the gateway; empty where a labeler judged.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    BY_LABELERS = Q(ai_labeler__isnull=True, completion__isnull=True)
    """Neither an AI labeler's nor a user's of the model."""
    WORK = Q(latest__isnull=False, left_out__isnull=True, is_adjudication=False) & BY_LABELERS
    """What a labeler did, hidden checks among it: their own counts, hours and agreement with others."""
    COUNTED = WORK & Q(is_check=False)
    """A labeler's judgment that counts: for the consensus, snapshots, figures, and (if not `surplus`) its task."""
    ADJUDICATED = Q(latest__isnull=False, is_adjudication=True, surplus=False)
    """The adjudicated order of a task, of which a task has one at most."""
    BY_AI = Q(latest__isnull=False, left_out__isnull=True, ai_labeler__isnull=False)
    """An AI labeler's. Whether it counts is the AI labeler's matter."""
    BY_USERS = Q(latest__isnull=False, left_out__isnull=True, completion__isnull=False)
    """Feedback of users of the model. Whether it counts is a setting of the project's gateway."""

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["task"],
                condition=Q(is_adjudication=True, surplus=False, latest__isnull=False),
                name="judgment_one_adjudication",
            )
        ]
        indexes = [
            models.Index(fields=["left_out"], condition=Q(left_out__isnull=False), name="judgment_left_out"),
            models.Index(fields=["ai_labeler"], condition=Q(ai_labeler__isnull=False), name="judgment_ai_labeler"),
            models.Index(fields=["completion"], condition=Q(completion__isnull=False), name="judgment_completion"),
            models.Index(fields=["project", "-id"], condition=Q(is_adjudication=True), name="judgment_adjudications"),
            models.Index(fields=["data_import"], condition=Q(data_import__isnull=False), name="judgment_data_import"),
            models.Index(fields=["project", "created_at"], name="judgment_project_time"),
            models.Index(fields=["labeler", "project", "created_at"], name="judgment_labeler_time"),
        ]

    def __str__(self) -> str:
        return f"judgment of task {self.task_id} by {self.labeler}"


class JudgmentRevision(AppendOnlyModel):
    """One version of a judgment.

    tiers: lists of response ids, best tier first; responses in one tier are tied, absent ones are not ranked.
    ratings: {response id: {criterion name: number}}; flags: {response id: [flag name]}; notes: {response id: text}.
    content: what a task asks for besides an order (see annotate.labeling.task_kinds, one module a kind). An imported
             comparison's is {"weight": its weight, "scores": {response id: its judge's score}}, where its row has them.
    """

    class Source(models.TextChoices):
        HUMAN = "human", _("A person")
        AI = "ai", _("An AI labeler")
        USER = "user", _("A user of the model")

    class Margin(models.IntegerChoices):
        """Llama 2's four levels (Touvron et al. 2023, section 3.2.1)."""

        NEGLIGIBLE = 0, _("Negligibly better or unsure")
        SLIGHT = 1, _("Slightly better")
        BETTER = 2, _("Better")
        SIGNIFICANT = 3, _("Significantly better")

    judgment = models.ForeignKey(Judgment, on_delete=models.PROTECT, related_name="revisions")
    number = models.PositiveIntegerField()
    client_id = models.UUIDField(
        default=uuid.uuid4, help_text="Chosen by the browser: a repeated submit is the same revision."
    )
    tiers = models.JSONField(default=list)
    all_unacceptable = models.BooleanField(default=False)
    ratings = models.JSONField(default=dict, blank=True)
    flags = models.JSONField(default=dict, blank=True)
    notes = models.JSONField(default=dict, blank=True)
    content = models.JSONField(default=dict, blank=True)
    margin = models.PositiveSmallIntegerField(null=True, blank=True, choices=Margin.choices)
    comment = models.TextField(blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="Time spent, in seconds, as far as it is known.")
    rubric = models.ForeignKey(Rubric, null=True, blank=True, on_delete=models.PROTECT, related_name="revisions")
    source = models.CharField(max_length=5, choices=Source.choices, default=Source.HUMAN)
    withdrawn = models.BooleanField(default=False, help_text="Says nothing but that the judgment was taken back.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AppendOnlyModel.Meta):
        ordering = ["judgment", "number"]
        constraints = [
            models.UniqueConstraint(fields=["judgment", "number"], name="judgment_revision_once"),
            models.UniqueConstraint(fields=["judgment", "client_id"], name="judgment_revision_client_once"),
            models.CheckConstraint(
                condition=Q(seconds__isnull=True) | Q(seconds__gte=0), name="judgment_revision_seconds"
            ),
        ]

    def __str__(self) -> str:
        return f"revision {self.number} of judgment {self.judgment_id}"


class Demonstration(ImportableModel):
    """An ideal response to a prompt. Where it began as another response, edited > original is a pair as well."""

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="demonstrations")
    response = models.OneToOneField(Response, on_delete=models.PROTECT, related_name="demonstration")
    assignment = models.ForeignKey(
        Assignment, null=True, blank=True, on_delete=models.PROTECT, related_name="demonstrations"
    )
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["prompt"], name="demonstration_prompt"),
            models.Index(
                fields=["data_import"], condition=Q(data_import__isnull=False), name="demonstration_data_import"
            ),
        ]

    def __str__(self) -> str:
        return f"demonstration of prompt {self.prompt_id}"

    @classmethod
    def for_training(cls, project: Project) -> "models.QuerySet[Demonstration]":
        """The demonstrations that count: all but withdrawn ones, and users' edits where feedback doesn't count."""
        found = cls.objects.filter(prompt__project=project, withdrawn_at=None)
        if GatewaySettings.objects.filter(project=project, counts_feedback=True).exists():
            return found
        return found.exclude(assignment__judgment__completion__isnull=False)
