"""The sums that the measures of quality are computed from, and what is known of tasks that are folded into them.

annotate.quality.measures keeps them: labelers' transactions write none of these rows.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q

from annotate.models.data.response import Response
from annotate.models.labeling.task import Task
from annotate.models.people.project import Project


class MeasureSums(models.Model):
    """Sums over the judgments of a day, week or month (UTC) by one grouping; see quality.measures.contributions.

    sums: {name of a counter: whole number}, without those that are 0. `judgments` and `milliseconds` repeat two of
    them as columns. generation: that of MeasuresState; rows of another one are not read.
    """

    class Cut(models.TextChoices):
        """What a row is grouped by besides day and kind of task; the other columns are empty."""

        PROJECT = "project", "Nothing else"
        LABELER = "labeler", "Labeler"
        SEGMENT = "segment", "Use case and language"
        BOTH = "both", "Labeler, use case and language"
        WINS = "wins", "Who wins"
        WINS_BY = "wins_by", "Who wins by use case and language"

    class Grain(models.TextChoices):
        DAY = "day", "Day"
        WEEK = "week", "Week"
        MONTH = "month", "Month"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    generation = models.PositiveIntegerField()
    cut = models.CharField(max_length=7, choices=Cut.choices)
    grain = models.CharField(max_length=5, choices=Grain.choices)
    start = models.DateField(help_text="The day, the Monday of the week, or the first of the month.")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=12)
    use_case = models.CharField(max_length=16, blank=True)
    language = models.CharField(max_length=10, blank=True)
    judgments = models.PositiveIntegerField(default=0)
    milliseconds = models.PositiveBigIntegerField(default=0, help_text="Time spent, where it is known.")
    sums = models.JSONField(default=dict)

    KEY = ("cut", "grain", "start", "labeler", "kind", "use_case", "language")

    class Meta:
        verbose_name_plural = "measure sums"
        constraints = [
            models.UniqueConstraint(
                fields=["project", "generation", "cut", "grain", "start", "labeler", "kind", "use_case", "language"],
                condition=Q(labeler__isnull=False),
                name="measure_sums_once_per_labeler",
            ),
            models.UniqueConstraint(
                fields=["project", "generation", "cut", "grain", "start", "kind", "use_case", "language"],
                condition=Q(labeler__isnull=True),
                name="measure_sums_once_per_segment",
            ),
        ]
        indexes = [
            models.Index(
                fields=["project", "generation", "labeler", "cut", "grain", "start"], name="measure_sums_labeler"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.cut} sums of {self.project_id} from {self.start}"


class TaskMeasures(models.Model):
    """What one task contributes to the sums, kept so that it can be taken out of them again.

    contribution: as annotate.quality.measures.contributions writes it. stale_at: the task's consensus_stale_at whose
    judgments are in it.
    """

    task = models.OneToOneField(Task, primary_key=True, on_delete=models.CASCADE, related_name="measures")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    generation = models.PositiveIntegerField()
    stale_at = models.DateTimeField(null=True)
    contribution = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "task measures"

    def __str__(self) -> str:
        return f"measures of task {self.task_id}"


class MeasureChange(models.Model):
    """A task whose contribution has to be computed again. Rows are only added, and deleted once that is done."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="+")

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["project", "id"], name="measure_change_project")]

    def __str__(self) -> str:
        return f"change of task {self.task_id}"


class MeasuresState(models.Model):
    """How far a project's sums are. One job at a time works on them: every transaction of it carries the token.

    generation: of the rows that are read; 0 before the first computation. While everything is computed from scratch,
    `recompute_after` is the last task that the next generation has; it is empty otherwise.
    """

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="measures_state")
    generation = models.PositiveIntegerField(default=0)
    recompute_after = models.PositiveBigIntegerField(null=True, default=0)
    token = models.UUIDField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    folded_at = models.DateTimeField(null=True, help_text="When the job last brought the sums up to date.")
    counted_authors = models.JSONField(
        default=list, editable=False, help_text="Numbers of the models whose responses are counted by name."
    )

    class Meta:
        verbose_name_plural = "measures states"

    def __str__(self) -> str:
        return f"measures of {self.project_id}"


class ResponseScore(models.Model):
    """The latest score of a response by a reward model, as whoever runs the model hands it over."""

    response = models.OneToOneField(Response, on_delete=models.CASCADE, related_name="reward_score")
    score = models.FloatField()
    scorer = models.CharField(max_length=200, help_text="The name of the reward model.")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"score {self.score:.3f} of response {self.response_id}"
