"""What pages of large projects read in place of counting: the search's backlog, and figures that a job keeps."""

from django.db import models

from annotate.models.people.project import Project


class PromptToIndex(models.Model):
    """A prompt with a text that came or went since it was indexed; written by triggers (annotate.data.text_search)."""

    prompt_number = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"prompt {self.prompt_number} to index"


class ProjectFigures(models.Model):
    """Counts of a project that take too long for a page (see annotate.quality.project_figures)."""

    project = models.OneToOneField(Project, primary_key=True, on_delete=models.CASCADE, related_name="figures")
    values = models.JSONField(default=dict)
    marker = models.CharField(max_length=200, blank=True, help_text="What the counts were made from.")
    count_seconds = models.FloatField(default=0.0, help_text="How long counting took.")
    computed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "project figures"

    def __str__(self) -> str:
        return f"figures of {self.project_id}"
