"""A chat to continue: the turns so far, the responses to choose from, and one box for what is said next.

Fields: `text`, `edited_from` (the offered response that the text began as), `after` (turns that the page showed), and
`comment`, `seconds`, `client_id`. Actions within the chat have an address of their own (see views.work.chat).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.errors import Refused
from annotate.forms.response_keys import ResponseKeys
from annotate.forms.task_forms import FormData, last
from annotate.forms.written import TextTask
from annotate.labeling.chats import live_responses
from annotate.labeling.chats.turns import Chat
from annotate.labeling.model_self_identification import mask_names
from annotate.labeling.submissions import Submission
from annotate.models import Assignment, Author, JudgmentRevision, Prompt, Response, ResponseRequest

State = ResponseRequest.State


@dataclass(frozen=True, slots=True)
class Candidate:
    """A response to choose, by the key that the page calls it."""

    key: str
    text: str


@dataclass(frozen=True)
class ShownTurn:
    """A turn of the chat so far: its text as this project shows it, and whether it was chosen among responses."""

    role: str
    text: str
    chosen: bool


class ContinueChat(TextTask):
    template = "annotate/work/chat.html"
    fields = frozenset({"text", "edited_from"})
    submit_label = gettext_lazy("Hand in the chat")

    @staticmethod
    def response_keys_of(assignment: Assignment) -> ResponseKeys:
        return _keys_of(Chat.of(assignment))

    @cached_property
    def response_keys(self) -> ResponseKeys:
        return _keys_of(self.chat)

    @cached_property
    def chat(self) -> Chat:
        return Chat.of(self.assignment)

    @cached_property
    def candidates(self) -> list[Candidate]:
        return [Candidate(self.response_keys.key(candidate.pk), candidate.text) for candidate in self.chat.candidates]

    @property
    def prompt(self) -> Prompt:
        return self.chat.opening

    @cached_property
    def turns(self) -> list[ShownTurn]:
        """Models' names are hidden, where the project hides them, in what a model wrote and in what began as that."""
        hiding: set[int | None] = set()
        if self.assignment.project.mask_model_names:
            written = Response.objects.filter(pk__in=[turn.response_id for turn in self.chat.turns if turn.response_id])
            hiding = set(
                written.exclude(author__kind=Author.Kind.PERSON, edited_from=None).values_list("pk", flat=True)
            )
        return [
            ShownTurn(
                role=turn.role,
                text=mask_names(turn.text) if turn.response_id in hiding else turn.text,
                chosen=bool(turn.offered),
            )
            for turn in self.chat.turns
        ]

    @property
    def after(self) -> int:
        return len(self.chat.turns)

    @property
    def edited_from(self) -> str:
        """The offered response that the text began as; of one that isn't offered any more it says nothing."""
        origin = last(self.response_keys.to_keys({"edited_from": [self.last("edited_from")]}), "edited_from")
        return origin if origin in {candidate.key for candidate in self.candidates} else ""

    @property
    def wanted(self) -> int:
        """How many live responses are asked for."""
        return self.assignment.project.responses_per_task

    @property
    def action_url(self) -> str:
        return reverse("annotate:chat", args=[self.assignment.project.slug, self.assignment.pk])

    @property
    def candidates_url(self) -> str:
        return reverse("annotate:chat_candidates", args=[self.assignment.project.slug, self.assignment.pk])

    @property
    def is_waiting(self) -> bool:
        """Whether responses are on their way."""
        request = self.chat.request
        return request is not None and request.state in (State.OPEN, State.CLAIMED)

    @cached_property
    def response_status(self) -> live_responses.ResponseStatus:
        return live_responses.response_status(self.assignment.project, self.chat.request)

    @classmethod
    def beside_the_turn(cls, data: FormData) -> dict[str, list[str]]:
        """What stays in the draft when a turn takes what was in the box: the comment and the time spent."""
        rest = {name: values for name, values in cls.draft(data).items() if name not in cls.fields}
        return rest if any(value for values in rest.values() for value in values) else {}

    @classmethod
    def submission(cls, data: FormData) -> Submission:
        if last(data, "text").strip():
            raise Refused(_("What is in the box isn't part of the chat yet. Send it first, or clear the box."))
        return super().submission(data)

    @classmethod
    def content(cls, data: FormData) -> dict[str, Any]:
        """The turns are stored already."""
        return {}

    @classmethod
    def initial_data(cls, revision: JudgmentRevision) -> dict[str, list[str]]:
        return {name: values for name, values in super().initial_data(revision).items() if name != "text"}


def _keys_of(chat: Chat) -> ResponseKeys:
    """Of what is offered now, and of what was offered, edited and said before: a double click names that."""
    before = {number for turn in chat.turns for number in (*turn.offered, turn.response_id) if number is not None}
    written = [turn.response_id for turn in chat.turns if turn.response_id is not None and not turn.offered]
    if written:
        edited = Response.objects.filter(pk__in=written, edited_from__isnull=False)
        before.update(edited.values_list("edited_from", flat=True))
    return ResponseKeys.of(chat.assignment, [*before, *(candidate.pk for candidate in chat.candidates)])
