"""Scores by which active learning orders the queue."""

from django.db import models

from annotate.models import Task
from rlhf.models.training_run import TrainingRun


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
