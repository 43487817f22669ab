from django.db import models
from django.utils import timezone

from annotate.models.people.project import Project


class OutboxEvent(models.Model):
    """Something that happened in a project and that somebody outside hears of, written in the same transaction.

    Whoever passes it on deletes it in the transaction that queues its deliveries.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    event = models.CharField(max_length=40, help_text="Such as judgments.submitted.")
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.event} of {self.project_id}"
