from collections.abc import Iterable

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from annotate.models.append_only import AppendOnlyModel, AppendOnlyQuerySet
from annotate.models.data.data_import import FinishedManager, ImportNumberField, import_under_way
from annotate.models.data.prompt import Prompt
from annotate.models.people.project import Project
from annotate.models.people.user import User


class Author(models.Model):
    """The author of a text: a person, with or without an account here, a model (all this side knows of models), or one
    of
    the two that a file doesn't tell."""

    class Kind(models.TextChoices):
        PERSON = "person", "Person"
        MODEL = "model", "Model"
        UNKNOWN = "unknown", "Not known"

    kind = models.CharField(max_length=7, choices=Kind.choices)
    name = models.CharField(max_length=200)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="author"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["kind", "name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="person") | Q(user__isnull=True), name="author_model_has_no_account"
            ),
            models.UniqueConstraint(fields=["kind", "name"], condition=Q(user__isnull=True), name="author_name_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def of(cls, user: User) -> "Author":
        """The author who signs this person's texts."""
        author, _ = cls.objects.get_or_create(
            user=user, defaults={"kind": cls.Kind.PERSON, "name": user.display_name[:200]}
        )
        return author


class Response(AppendOnlyModel):
    """A response to a prompt. Never changed: an edit is a new response that points to the one it came from."""

    class FinishReason(models.TextChoices):
        EOS = "eos", "Ended with EOS"
        LENGTH = "length", "Cut at the length limit"
        WRITTEN = "written", "Written by a person"
        UNKNOWN = "unknown", "Not known"

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="responses")
    text = models.TextField(blank=True)
    author = models.ForeignKey(Author, on_delete=models.PROTECT, related_name="responses")
    sampling = models.JSONField(
        default=dict, blank=True, help_text="Settings the text was sampled with; empty for people's texts."
    )
    seed = models.BigIntegerField(null=True, blank=True)
    finish_reason = models.CharField(max_length=8, choices=FinishReason.choices, default=FinishReason.UNKNOWN)
    edited_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="edits")
    created_at = models.DateTimeField(auto_now_add=True)

    # As in ImportableModel, and append-only.
    data_import = ImportNumberField(null=True, editable=False, default=import_under_way)

    objects = FinishedManager.from_queryset(AppendOnlyQuerySet)()  # type: ignore[assignment,misc]
    with_unfinished = models.Manager()

    class Meta(AppendOnlyModel.Meta):
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["data_import"], condition=Q(data_import__isnull=False), name="response_data_import")
        ]

    def __str__(self) -> str:
        return self.text[:80]

    @staticmethod
    def include_edits(responses: "Iterable[Response]") -> bool:
        """Whether one of them is an edit, for a new task's `has_edits`."""
        return any(response.edited_from_id is not None for response in responses)


class ResponseRequest(models.Model):
    """A request for K responses to a prompt, which rlhf fulfils."""

    class Purpose(models.TextChoices):
        QUEUE = "queue", "Top up the labeling queue"
        CHAT = "chat", "A live chat turn"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        CLAIMED = "claimed", "Being generated"
        FULFILLED = "fulfilled", "Fulfilled"
        FAILED = "failed", "Failed"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="response_requests")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="response_requests")
    responses_wanted = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(16)])
    purpose = models.CharField(max_length=5, choices=Purpose.choices, default=Purpose.QUEUE)
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    error = models.TextField(blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="response_requests"
    )
    responses = models.ManyToManyField(Response, blank=True, related_name="response_requests")
    created_at = models.DateTimeField(auto_now_add=True)
    fulfilled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(responses_wanted__gte=1, responses_wanted__lte=16), name="answer_request_1_to_16"
            ),
            models.UniqueConstraint(
                fields=["prompt", "purpose"],
                condition=Q(state__in=["open", "claimed"]),
                name="answer_request_open_once",
            ),
        ]
        indexes = [models.Index(fields=["project", "id"], condition=Q(state="open"), name="answer_request_open")]

    def __str__(self) -> str:
        return f"{self.responses_wanted} responses to prompt {self.prompt_id}"
