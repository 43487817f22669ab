"""Webhooks and e-mail addresses that hear of the ends of runs and of rounds, and what was sent to them."""

import uuid

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.models import Project


class NotificationTarget(models.Model):
    """An address that hears of chosen events of a project. The key that signs is made from `salt` and SECRET_KEY."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", _("Webhook")
        EMAIL = "email", _("E-mail")

    class Event(models.TextChoices):
        RUN_SUCCEEDED = "run.succeeded", _("A run has succeeded")
        RUN_FAILED = "run.failed", _("A run has failed")
        RUN_CANCELLED = "run.cancelled", _("A run was cancelled")
        ROUND_SUCCEEDED = "round.succeeded", _("A round has succeeded")
        ROUND_STOPPED = "round.stopped", _("A round stopped at a gate")
        ROUND_FAILED = "round.failed", _("A round has failed")
        MODEL_PROMOTED = "model.promoted", _("A model has been put into use")
        JUDGMENTS_SUBMITTED = "judgments.submitted", _("Judgments have been submitted")
        SNAPSHOT_READY = "snapshot.ready", _("An export is ready")
        SNAPSHOT_FAILED = "snapshot.failed", _("An export has failed")
        IMPORT_FINISHED = "import.finished", _("An import has finished")

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="notification_targets")
    kind = models.CharField(max_length=7, choices=Kind.choices)
    address = models.CharField(max_length=500, help_text="URL or e-mail address.")
    events = models.JSONField(default=list)
    salt = models.CharField(max_length=64)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    collected_until = models.DateTimeField(
        null=True, editable=False, help_text="Ends of runs and rounds up to this time have been queued for it."
    )
    sending_until = models.DateTimeField(
        null=True, editable=False, help_text="A job sends to it; after this time it is taken for dead."
    )

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.address} of {self.project}"


class Delivery(models.Model):
    """One event for one target: sent again with growing pauses until it arrives, or until nobody tries any more."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        DELIVERED = "delivered", _("Delivered")
        FAILED = "failed", _("Failed")

    target = models.ForeignKey(NotificationTarget, on_delete=models.CASCADE, related_name="deliveries")
    key = models.CharField(max_length=80, help_text="Of the event: each is delivered once.")
    event = models.CharField(max_length=20, choices=NotificationTarget.Event.choices)
    payload = models.JSONField()
    uid = models.UUIDField(default=uuid.uuid4, unique=True)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    failure = models.JSONField(default=dict, blank=True, help_text="Of the last attempt: {code, values}.")
    created_at = models.DateTimeField(auto_now_add=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=["target", "key"], name="delivery_once")]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=models.Q(state="waiting"), name="delivery_due"),
            models.Index(fields=["created_at"], name="delivery_created"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.target_id}: {self.state}"
