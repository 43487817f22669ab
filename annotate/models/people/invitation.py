from django.conf import settings
from django.db import models
from django.db.models import Q, QuerySet
from django.utils import timezone

from annotate.models.people.project import Membership, Project


class Invitation(models.Model):
    """A link that brings one person into a project. The link itself is shown once and not stored: only its hash is.

    Open until somebody accepts it, a manager withdraws it, or its time is over.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="invitations")
    roles = models.JSONField(help_text="What whoever accepts it will be in the project.")
    label = models.CharField(max_length=150, blank=True, help_text="The manager's own note of whom it is for.")
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    taken_names = models.PositiveSmallIntegerField(
        default=0, help_text="How often whoever holds the link asked for a user name that somebody has."
    )
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    accepted_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(accepted_at__isnull=True) | Q(accepted_by__isnull=False),
                name="invitation_accepted_by_somebody",
            ),
        ]
        indexes = [
            models.Index(
                fields=["project", "-id"],
                condition=Q(accepted_at__isnull=True, withdrawn_at__isnull=True),
                name="invitation_open",
            )
        ]

    def __str__(self) -> str:
        return f"invitation {self.pk} to {self.project}"

    @classmethod
    def open(cls) -> "QuerySet[Invitation]":
        """Invitations that can still be accepted."""
        return cls.objects.filter(accepted_at=None, withdrawn_at=None, expires_at__gt=timezone.now())

    @property
    def role_labels(self) -> list[str]:
        return [str(Membership.Role(role).label) for role in self.roles]
