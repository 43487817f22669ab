from django.db import models
from django.utils import timezone

from rlhf.models.training_run import TrainingRun


class GatewayReply(models.Model):
    """A request of the gateway that waits for the live worker: the chat, and the reply as far as it is there.

    Its web process deletes it when the program has its reply or has left: what a program doesn't ask to keep is in no
    row after it. seen_at: when the web process last waited for it. choices: [{"text", "finish_reason"}], once they end.
    """

    run = models.OneToOneField(TrainingRun, on_delete=models.CASCADE, related_name="gateway_reply")
    messages = models.JSONField()
    text = models.TextField(blank=True)
    choices = models.JSONField(null=True)
    usage = models.JSONField(default=dict)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "gateway replies"
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"gateway reply of run {self.run_id}"
