from django.db import models

from annotate.models.data.response import Response, ResponseRequest
from annotate.models.labeling.judgment import Assignment, Judgment


class ChatTurn(models.Model):
    """A turn that a labeler added to an assignment's chat: the user's next message, or a response chosen or written.

    An assistant's turn is a response, so that it has an author. `offered` are the ids of the candidates that it was
    chosen among, in the order in which they were shown. Turns count from 1 and alternate; taking one back deletes it.
    """

    class Role(models.TextChoices):
        USER = "user", "User"
        ASSISTANT = "assistant", "Assistant"

    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="chat_turns")
    number = models.PositiveSmallIntegerField()
    role = models.CharField(max_length=9, choices=Role.choices)
    text = models.TextField()
    response = models.ForeignKey(Response, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    request = models.ForeignKey(ResponseRequest, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    judgment = models.OneToOneField(
        Judgment,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="chat_turn",
        help_text="The comparison that the choice became when the chat was handed in.",
    )
    offered = models.JSONField(default=list, blank=True, help_text="Response ids as they were shown.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["assignment", "number"]
        constraints = [
            models.UniqueConstraint(fields=["assignment", "number"], name="chat_turn_once"),
            models.CheckConstraint(
                condition=models.Q(role="user", response__isnull=True)
                | models.Q(role="assistant", response__isnull=False),
                name="chat_turn_answer_is_a_response",
            ),
        ]

    def __str__(self) -> str:
        return f"turn {self.number} of assignment {self.assignment_id}"
