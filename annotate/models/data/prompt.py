import hashlib
import json
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.data.data_import import ImportableModel
from annotate.models.people.project import Project


def content_hash(messages: list[dict[str, str]]) -> str:
    """SHA-256 of a chat's roles and contents, the same for the same chat wherever it came from."""
    canonical = [[message["role"], message["content"]] for message in messages]
    return hashlib.sha256(json.dumps(canonical, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def split_of(digest: str) -> str:
    """The side of the split a prompt is on for ever, by its content alone: 80 in 100 train, 10 validation, 10 test."""
    bucket = int(digest[:8], 16) % 100
    return Prompt.Split.TRAIN if bucket < 80 else Prompt.Split.VALIDATION if bucket < 90 else Prompt.Split.TEST


class Prompt(ImportableModel):
    """A chat that wants a response: messages [{role, content}], the last one the user's."""

    class Kind(models.TextChoices):
        """InstructGPT's three kinds (Ouyang et al. 2022, section 3.2)."""

        PLAIN = "plain", _("Plain")
        FEW_SHOT = "few_shot", _("Few-shot")
        USER_BASED = "user_based", _("User-based")

    class UseCase(models.TextChoices):
        """InstructGPT's use cases (Ouyang et al. 2022, table 1)."""

        GENERATION = "generation", _("Generation")
        OPEN_QA = "open_qa", _("Open question")
        CLOSED_QA = "closed_qa", _("Closed question")
        BRAINSTORMING = "brainstorming", _("Brainstorming")
        CHAT = "chat", _("Chat")
        REWRITING = "rewriting", _("Rewriting")
        SUMMARISATION = "summarisation", _("Summarisation")
        CLASSIFICATION = "classification", _("Classification")
        EXTRACTION = "extraction", _("Extraction")
        OTHER = "other", _("Other")

    class Split(models.TextChoices):
        TRAIN = "train", _("Train")
        VALIDATION = "validation", _("Validation")
        TEST = "test", _("Test")

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="prompts")
    messages = models.JSONField()
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.PLAIN)
    use_case = models.CharField(max_length=16, choices=UseCase.choices, default=UseCase.OTHER)
    language = models.CharField(max_length=10, blank=True)
    source = models.CharField(max_length=200, blank=True)
    external_id = models.CharField(max_length=200, blank=True, help_text="The id that the prompt came with.")
    sensitive = models.BooleanField(default=False, help_text="May upset: labelers are warned before it is shown.")
    split = models.CharField(max_length=10, choices=Split.choices, editable=False)
    content_hash = models.CharField(max_length=64, editable=False)
    author = models.ForeignKey(
        "annotate.Author", null=True, blank=True, on_delete=models.PROTECT, related_name="prompts"
    )
    opening = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="continuations",
        help_text="The prompt that this one continues as a chat or is an edit of; they are on one side of the split.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "content_hash"], name="prompt_once_per_project"),
            models.CheckConstraint(condition=Q(split__in=["train", "validation", "test"]), name="prompt_split_known"),
        ]
        indexes = [
            models.Index(fields=["project", "split"], name="prompt_project_split"),
            models.Index(fields=["project", "use_case"], name="prompt_project_use_case"),
            models.Index(fields=["project", "language"], name="prompt_project_language"),
            models.Index(fields=["data_import"], condition=Q(data_import__isnull=False), name="prompt_data_import"),
        ]

    def __str__(self) -> str:
        return self.question[:80]

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.set_content_fields()
        super().save(*args, **kwargs)

    @classmethod
    def known(cls, *, project_id: int, digest: str) -> "Prompt | None":
        """The project's prompt of this content hash. One of an unfinished import is everybody's from now on."""
        found = cls.with_unfinished.filter(project_id=project_id, content_hash=digest).first()
        if found is not None and found.data_import is not None:
            # With the prompt that it began as: the import, should it fail, couldn't remove that one from under it.
            cls.with_unfinished.filter(pk__in=[found.pk, found.opening_id]).update(data_import=None)
            found.data_import = None
        return found

    def set_content_fields(self) -> None:
        """Derive hash and split from the messages; bulk_create needs it called by hand."""
        self.content_hash = content_hash(self.messages)
        self.split = self.opening.split if self.opening is not None else split_of(self.content_hash)

    @property
    def question(self) -> str:
        """The turn that awaits a response."""
        return self.messages[-1]["content"] if self.messages else ""
