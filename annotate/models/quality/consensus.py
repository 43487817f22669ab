"""What several labelers' judgments come to, beside the judgments, which it never changes."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from annotate.models.labeling.task import Task
from annotate.models.people.project import SHARE, Project


class TaskConsensus(models.Model):
    """The consensus of a task's judgments, recomputed after each new one (see annotate.quality.consensus).

    An adjudicated task has the adjudicated order, of confidence 1; `agreement` and `certainty` stay the labelers'.
    The review queue is the tasks `for_review` in the order of `certainty`; `reviewer` has one of them at hand until
    `review_until`.

    labels: {response id: {"flags": {name: probability}, "ratings": {criterion: [value, probability]}}}, by Dawid-Skene.
    """

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="consensus")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    method = models.CharField(max_length=10, choices=Project.ConsensusMethod.choices)
    tiers = models.JSONField(default=list, help_text="Tiers of response ids, best first; empty where none are ordered.")
    confidence = models.FloatField(
        validators=SHARE, help_text="Probability that one more labeler agrees on a pair of responses."
    )
    labels = models.JSONField(default=dict, blank=True)
    judgments = models.PositiveSmallIntegerField(help_text="How many it was computed from.")
    agreement = models.FloatField(
        null=True, blank=True, help_text="Share of pairs on which two labelers say the same; empty with one labeler."
    )
    certainty = models.FloatField(
        null=True, blank=True, help_text="The lower one of agreement and the confidence of the labelers' own consensus."
    )
    for_review = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Complete, not adjudicated, and no judgment of it is back with its labeler.",
    )
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, db_index=False, on_delete=models.SET_NULL, related_name="+"
    )
    review_until = models.DateTimeField(null=True, blank=True)
    computed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "task consensuses"
        constraints = [
            models.CheckConstraint(
                condition=Q(confidence__gte=0, confidence__lte=1), name="task_consensus_confidence_0_to_1"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "confidence"], name="task_consensus_confidence"),
            models.Index(fields=["project", "agreement"], name="task_consensus_agreement"),
            models.Index(
                fields=["project", "certainty", "id"], condition=Q(for_review=True), name="task_consensus_review"
            ),
            models.Index(
                fields=["reviewer", "project"], condition=Q(reviewer__isnull=False), name="task_consensus_reviewer"
            ),
        ]

    def __str__(self) -> str:
        return f"consensus of task {self.task_id}"


class LabelerReliability(models.Model):
    """How far a labeler's preferences follow those of others in a project: eta of Crowd-BT.

    confusion: {"flags" or "ratings": {name: matrix of Dawid-Skene}}.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="reliabilities")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reliabilities")
    reliability = models.FloatField(validators=SHARE)
    comparisons = models.PositiveIntegerField(help_text="Comparisons shared with others that it was estimated from.")
    confusion = models.JSONField(default=dict, blank=True)
    computed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "labeler reliabilities"
        ordering = ["project", "-reliability", "labeler"]
        constraints = [
            models.UniqueConstraint(fields=["project", "labeler"], name="labeler_reliability_once"),
            models.CheckConstraint(
                condition=Q(reliability__gte=0, reliability__lte=1), name="labeler_reliability_0_to_1"
            ),
        ]

    def __str__(self) -> str:
        return f"reliability of {self.labeler_id} in {self.project_id}"


class AggregationEstimate(models.Model):
    """What else was estimated of a project with the reliabilities, so that one task can be computed without the others.

    tie, spread: parameters of Crowd-BT. labels: {"flags" or "ratings": {name: {"categories", "priors", "typical"}}},
    those of Dawid-Skene. judgments: how many the project had then.
    """

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="aggregation_estimate")
    tie = models.FloatField()
    spread = models.FloatField()
    labels = models.JSONField(default=dict, blank=True)
    judgments = models.PositiveIntegerField()
    computed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"estimate of {self.project_id}"
