from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """A person who signs in. Memberships decide what they may do, not flags here."""

    class Theme(models.TextChoices):
        SYSTEM = "system", _("As the system")
        LIGHT = "light", _("Light")
        DARK = "dark", _("Dark")

    class SensitiveChoice(models.TextChoices):
        """What somebody wants of prompts that may upset, in every project (see annotate.labeling.sensitive_content)."""

        WARNED = "", _("With a warning, where the project gives them to everybody")
        WILLING = "willing", _("With a warning, and also where only volunteers get them")
        NEVER = "never", _("Never")

    language = models.CharField(
        max_length=10, blank=True, help_text="Language of the pages; empty follows the browser."
    )
    theme = models.CharField(max_length=6, choices=Theme.choices, default=Theme.SYSTEM)
    time_zone = models.CharField(
        max_length=64, blank=True, help_text="Time zone of the times on the pages; empty follows the browser."
    )
    keys = models.JSONField(
        default=dict,
        blank=True,
        help_text="Keys that this person chose: {action: key}; the others have their defaults.",
    )
    sensitive_choice = models.CharField(
        max_length=8, choices=SensitiveChoice.choices, blank=True, help_text="Prompts that may upset."
    )
    notices_seen_at = models.DateTimeField(
        null=True, blank=True, help_text="When the notices were last marked as read."
    )
    must_change_password = models.BooleanField(
        default=False, help_text="Set while the password is a one-time password."
    )
    one_time_until = models.DateTimeField(
        null=True, blank=True, help_text="When the one-time password ends; empty: it doesn't end."
    )
    created_by = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Who made the account; empty where its owner did, by an invitation.",
    )

    deleted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When the person’s data were deleted; empty: they are there."
    )

    @property
    def one_time_is_over(self) -> bool:
        """Whether the password is a one-time password whose time is over: nobody signs in with it any more."""
        return self.must_change_password and self.one_time_until is not None and self.one_time_until <= timezone.now()

    def set_password(self, raw_password: str | None) -> None:
        """Whatever password is set now has no end; who gives a one-time password sets one afterwards."""
        super().set_password(raw_password)
        self.one_time_until = None

    @property
    def display_name(self) -> str:
        if self.deleted_at is not None:
            return gettext("Deleted person %(number)d") % {"number": self.pk}
        return self.get_full_name() or self.username
