"""Model versions and the history of their promotions."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.artefacts import folders
from annotate.models import Author, Project


class KeptVersions(models.Manager["ModelVersion"]):
    """Versions that were not deleted. The others stay as rows, which runs, responses and promotions refer to."""

    def get_queryset(self) -> models.QuerySet["ModelVersion"]:
        return super().get_queryset().filter(deleted_at=None)


class ModelVersion(models.Model):
    """A trained, imported or base model. Its folder, relative to the data folder, is immutable.

    `objects`, as what is related to it, leaves deleted versions out; `ever` has all.
    """

    class Kind(models.TextChoices):
        BASE = "base", _("Base model")
        PRETRAINED = "pretrained", _("Pretrained")
        SFT = "sft", _("SFT model")
        REWARD = "reward", _("Reward model")
        POLICY = "policy", _("Policy")

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="model_versions")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    number = models.PositiveIntegerField(help_text="Sequence number per project and kind.")
    author = models.OneToOneField(
        Author,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="model_version",
        help_text="Author of its responses.",
    )
    parents = models.ManyToManyField("self", symmetrical=False, blank=True, related_name="children")
    base_model = models.CharField(
        max_length=200, blank=True, help_text="Catalogue name, folder or Hub id of a base model."
    )
    folder = models.CharField(
        max_length=300, blank=True, help_text="Relative to the data folder; empty for a base model."
    )
    sha256 = models.CharField(max_length=64, blank=True)
    metrics = models.JSONField(default=dict, blank=True)
    active = models.BooleanField(
        default=False, help_text="In use: as the policy that generates responses, or as the reward model."
    )
    promoted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    promoted_at = models.DateTimeField(
        null=True, blank=True, help_text="Time of the last promotion; Promotion has the history."
    )
    tags = models.JSONField(default=list, blank=True, help_text="Words that people gave it, in their order.")
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    files_removed_at = models.DateTimeField(null=True, blank=True, help_text="Of a deleted version.")

    objects = KeptVersions()
    ever = models.Manager["ModelVersion"]()

    class Meta:
        ordering = ["-pk"]
        base_manager_name = "ever"
        constraints = [
            models.UniqueConstraint(fields=["project", "kind", "number"], name="model_version_number_once"),
            # At most one reward model and one policy (any other kind) are active.
            models.UniqueConstraint(
                fields=["project"], condition=Q(active=True, kind="reward"), name="model_version_one_active_reward"
            ),
            models.UniqueConstraint(
                fields=["project"], condition=Q(active=True) & ~Q(kind="reward"), name="model_version_one_active_policy"
            ),
            models.CheckConstraint(
                condition=Q(deleted_at=None) | Q(active=False), name="model_version_deleted_not_in_use"
            ),
            models.CheckConstraint(condition=~Q(folder="") | ~Q(base_model=""), name="model_version_has_weights"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"

    @property
    def label(self) -> str:
        """Display name."""
        return f"{self.get_kind_display()} {self.number}"

    @property
    def has_files(self) -> bool:
        """Whether its folder is here or on the storage; a base model is fetched in any case. Raises StorageFault."""
        is_here = bool(self.base_model) or (settings.HONE_DATA / self.folder).is_dir()
        return is_here or folders.published(self.folder) is not None


class Promotion(models.Model):
    """A change of the active model. Append-only: the history that a rollback follows."""

    class Verb(models.TextChoices):
        PROMOTE = "promote", _("promoted")
        ROLL_BACK = "roll_back", _("rolled back to")

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="promotions")
    verb = models.CharField(max_length=9, choices=Verb.choices, default=Verb.PROMOTE)
    replaced = models.ForeignKey(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="Active until then."
    )
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.verb} {self.version}"
