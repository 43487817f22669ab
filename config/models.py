"""What the site itself keeps in the database: how much of each sign-in limit is used up, and counts for /metrics."""

from django.db import models


class RateBucket(models.Model):
    """A leaky bucket that all processes share (config.security.rate_limits). One that has drained may be deleted."""

    key = models.CharField(max_length=64, primary_key=True)
    drained_at = models.FloatField(db_index=True, help_text="Seconds since 1970 at which the bucket is empty.")

    def __str__(self) -> str:
        return self.key


class EventCount(models.Model):
    """How often something has happened that only workers know of (config.monitoring.product_metrics)."""

    name = models.CharField(max_length=40, primary_key=True)
    number = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}: {self.number}"
