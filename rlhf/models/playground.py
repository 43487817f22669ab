from django.conf import settings
from django.db import models
from django.db.models import Q

from annotate.models import Judgment, Project
from rlhf.models.model_version import ModelVersion
from rlhf.models.training_run import TrainingRun


class PlaygroundChat(models.Model):
    """A person's chat with several versions side by side. Theirs alone, until a preference makes a judgment of a turn.

    is_blind: the versions' names are hidden until the first preference. seen_at: when its page last asked for what is
    new; what is generated for a page that is gone is stopped.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="playground_chats")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="playground_chats")
    is_blind = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["user", "project", "-id"], name="playground_chat_user")]

    def __str__(self) -> str:
        return f"playground chat {self.pk}"


class PlaygroundColumn(models.Model):
    """A version in a chat, or a served model, with its settings of sampling."""

    chat = models.ForeignKey(PlaygroundChat, on_delete=models.CASCADE, related_name="columns")
    version = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    endpoint = models.CharField(max_length=60, blank=True, help_text="Name among HONE_AI_ENDPOINTS.")
    served_model = models.CharField(
        max_length=200, blank=True, help_text="Model asked for; empty for the first one that the server lists."
    )
    place = models.PositiveSmallIntegerField()
    sampling = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["chat", "place"]
        constraints = [
            models.UniqueConstraint(fields=["chat", "place"], name="playground_column_once"),
            models.CheckConstraint(
                condition=Q(version__isnull=False, endpoint="") | (Q(version=None) & ~Q(endpoint="")),
                name="playground_column_has_a_model",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version or self.endpoint} in {self.chat}"

    @property
    def label(self) -> str:
        """Display name."""
        if self.version is not None:
            return self.version.label
        return f"{self.served_model} ({self.endpoint})" if self.served_model else self.endpoint


class PlaygroundTurn(models.Model):
    """A message of the person, after the chat so far: messages [{role, content}], the last one the person's."""

    chat = models.ForeignKey(PlaygroundChat, on_delete=models.CASCADE, related_name="turns")
    number = models.PositiveIntegerField()
    messages = models.JSONField()
    judgment = models.OneToOneField(
        Judgment, null=True, blank=True, on_delete=models.SET_NULL, related_name="playground_turn"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["chat", "number"]
        constraints = [models.UniqueConstraint(fields=["chat", "number"], name="playground_turn_once")]

    def __str__(self) -> str:
        return f"turn {self.number} of {self.chat}"


class PlaygroundReply(models.Model):
    """A version's response to a turn: its text as far as it is there. The run says whether more comes."""

    turn = models.ForeignKey(PlaygroundTurn, on_delete=models.CASCADE, related_name="replies")
    column = models.ForeignKey(PlaygroundColumn, on_delete=models.CASCADE, related_name="replies")
    run = models.OneToOneField(TrainingRun, on_delete=models.PROTECT, related_name="playground_reply")
    text = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=8, blank=True)
    score = models.FloatField(null=True, blank=True, help_text="Of the reward model in use.")
    is_preferred = models.BooleanField(default=False)

    class Meta:
        ordering = ["turn", "column__place"]
        constraints = [models.UniqueConstraint(fields=["turn", "column"], name="playground_reply_once")]

    def __str__(self) -> str:
        return f"reply of {self.column_id} to {self.turn}"

    @property
    def is_done(self) -> bool:
        return self.run.status == TrainingRun.Status.SUCCEEDED
