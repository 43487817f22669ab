from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.models.data.prompt import Prompt
from annotate.models.people.api_token import ApiToken
from annotate.models.people.project import Project


class GatewaySettings(models.Model):
    """The gateway of a project: whether programs may ask its model, what replies, and what is kept (docs/gateway.md).

    routes: {model name: {"endpoint": name among HONE_AI_ENDPOINTS, "model": its name there}}, further models beside the
    project's own.
    """

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="gateway")
    enabled = models.BooleanField(_("Open"), default=False)
    endpoint = models.CharField(
        max_length=60,
        blank=True,
        help_text="Name among HONE_AI_ENDPOINTS; empty: the live worker.",
    )
    served_model = models.CharField(max_length=200, blank=True, help_text="Name of the model on that server.")
    routes = models.JSONField(default=dict, blank=True)
    stores = models.BooleanField(default=False, help_text="Whether conversations with store: true are kept.")
    prompts_per_user = models.PositiveIntegerField(
        default=200, validators=[MinValueValidator(1), MaxValueValidator(1_000_000)]
    )
    counts_feedback = models.BooleanField(
        default=False, help_text="Whether new snapshots and training have what users said of responses."
    )

    class Meta:
        verbose_name = verbose_name_plural = "gateway settings"
        ordering = ["project"]

    def __str__(self) -> str:
        return f"gateway of {self.project}"


class GatewayCompletion(models.Model):
    """A conversation that a user of the model let the project keep: its prompt, and the responses that they got.

    end_user: a keyed hash, which stands for the `user` of the request or for its token. responses: the response of each
    choice by its number, in their order; null for a choice that did not end.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="gateway_completions")
    key = models.CharField(max_length=60, unique=True, help_text="The id that the program got: chatcmpl-…")
    token = models.ForeignKey(ApiToken, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    end_user = models.CharField(max_length=64)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="gateway_completions")
    responses = models.JSONField(default=list)
    model = models.CharField(max_length=200, help_text="The author of its responses.")
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["project", "end_user"], name="gateway_completion_user")]

    def __str__(self) -> str:
        return self.key
