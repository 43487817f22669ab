"""What the site itself keeps in the database: how much of each sign-in limit is used up, where people are signed in,
and counts for /metrics."""

from django.conf import settings
from django.db import models
from django.utils import timezone


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


class OpenSession(models.Model):
    """A session of somebody who signed in (config.security.open_sessions)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="open_sessions")
    key = models.CharField(max_length=40, unique=True, editable=False)
    address = models.CharField(max_length=45, blank=True)
    browser = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"session of {self.user_id} from {self.address}"
