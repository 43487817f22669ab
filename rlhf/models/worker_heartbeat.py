"""Live workers."""

from django.db import models


class WorkerHeartbeat(models.Model):
    """A live worker and the queues it consumes."""

    name = models.CharField(max_length=200, unique=True)
    queues = models.JSONField(default=list)
    host = models.CharField(max_length=200, blank=True)
    process_id = models.PositiveIntegerField(null=True, blank=True)
    capacity = models.JSONField(
        default=dict, blank=True, help_text="Its machine: cores, bytes of memory, free bytes of the data folder."
    )
    processes = models.JSONField(default=list, blank=True, help_text="Ids of its pool's processes, which hold leases.")
    draining = models.BooleanField(default=False, help_text="It takes no further runs.")
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
