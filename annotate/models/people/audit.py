from django.conf import settings
from django.db import models

from annotate.models.append_only import AppendOnlyModel
from annotate.models.people.project import Project


class AuditEvent(AppendOnlyModel):
    """An entry of the audit log, written in the same transaction as the change."""

    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.PROTECT, related_name="audit_events")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="audit_events"
    )
    verb = models.CharField(max_length=60, help_text="Such as run.cancelled or membership.created.")
    subject_type = models.CharField(max_length=60)
    subject_id = models.CharField(max_length=60)
    detail = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AppendOnlyModel.Meta):
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["project", "-id"], name="audit_project"),
            models.Index(fields=["subject_type", "subject_id"], name="audit_subject"),
            models.Index(fields=["project", "actor", "-id"], name="audit_actor"),
            models.Index(fields=["project", "verb", "-id"], name="audit_verb"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.subject_type} {self.subject_id}"


class AuditChainLink(AppendOnlyModel):
    """An event's place in the hash chain (annotate.people.audit.chain)."""

    position = models.PositiveBigIntegerField(primary_key=True)
    event = models.OneToOneField(AuditEvent, on_delete=models.PROTECT, related_name="chain_link")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the digest before it and the event.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AppendOnlyModel.Meta):
        ordering = ["-position"]

    def __str__(self) -> str:
        return f"{self.position}:{self.digest}"
