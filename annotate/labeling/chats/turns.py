"""The turns of a chat task: say something as the user, choose or write the assistant's response, take a turn back.

Every action names how many turns its page showed (`after`), so a double click says nothing twice, and a page that is
behind another one is told so.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.errors import Refused, UnknownResponse
from annotate.labeling import model_self_identification
from annotate.labeling.chats import live_responses
from annotate.labeling.few_shot import Messages
from annotate.labeling.queue import leases
from annotate.models import Assignment, Author, ChatTurn, Project, Prompt, Response, ResponseRequest, Task, User

Role = ChatTurn.Role
MOST_TURNS = 60


@dataclass(frozen=True)
class Chat:
    """An assignment of the chat kind with the turns that were added to its prompt. has_grown: by what was just asked
    for, which a repeated request does not."""

    assignment: Assignment
    turns: tuple[ChatTurn, ...]
    has_grown: bool = False

    @classmethod
    def of(cls, assignment: Assignment) -> Self:
        return cls(assignment, tuple(assignment.chat_turns.order_by("number")))

    @property
    def opening(self) -> Prompt:
        prompt = self.assignment.task.prompt
        if prompt is None:
            raise ValueError(f"chat task {self.assignment.task_id} has no prompt")
        return prompt

    @property
    def messages(self) -> Messages:
        """Everything said so far."""
        added = [{"role": turn.role, "content": turn.text} for turn in self.turns]
        return [*self.opening.messages, *added]

    @property
    def awaits_response(self) -> bool:
        return not self.turns or self.turns[-1].role == Role.USER

    @cached_property
    def request(self) -> ResponseRequest | None:
        """The live responses that were asked for to the user's last turn."""
        return live_responses.latest(self.assignment, self.messages) if self.awaits_response else None

    @property
    def candidates(self) -> list[Response]:
        """Responses to choose from, in an order of the labeler's own that stays."""
        if self.request is None or self.request.state != ResponseRequest.State.FULFILLED:
            return []
        return candidates_of(self.assignment, self.request)


def candidates_of(assignment: Assignment, request: ResponseRequest) -> list[Response]:
    """The different responses of a request, shuffled by the assignment's seed."""
    given = list(request.responses.order_by("pk"))
    different = list(
        {response.text.strip(): response for response in reversed(given) if response.text.strip()}.values()
    )
    different.sort(key=lambda response: response.pk)
    random.Random(f"{assignment.seed}-{request.pk}").shuffle(different)
    return different


def say(*, assignment_id: int, labeler: User, written: str, after: int) -> Chat:
    """Add the user's next turn. Raises Refused, NotYours."""
    text_written = _checked(written, name=_("The message"))

    def is_it(turn: ChatTurn) -> bool:
        return turn.role == Role.USER and turn.text == text_written

    with transaction.atomic():
        chat = _begun(assignment_id=assignment_id, labeler=labeler, after=after, repeats=is_it)
        if len(chat.turns) > after:
            return chat
        if chat.awaits_response:
            raise Refused(_("It is the assistant's turn: choose or write a response first."))
        return _added(chat, role=Role.USER, written=text_written)


def say_and_ask(*, assignment_id: int, labeler: User, written: str, after: int) -> Chat:
    """`say`, and ask for responses to it where a model is there: nobody wants to do so each time themselves."""
    chat = say(assignment_id=assignment_id, labeler=labeler, written=written, after=after)
    if live_responses.response_status(chat.assignment.project).is_available:
        asked = ask(assignment_id=assignment_id, labeler=labeler, after=len(chat.turns))
        return replace(asked, has_grown=chat.has_grown)
    return chat


def write(*, assignment_id: int, labeler: User, written: str, after: int, edited_from: int | None = None) -> Chat:
    """A response in the labeler's own words. edited_from: the offered response that it began as, if it did."""
    text_written = _checked(written, name=_("The response"))
    if edited_from is not None:
        text_written = _unmasked(text_written, assignment_id=assignment_id, edited_from=edited_from)

    def is_it(turn: ChatTurn) -> bool:
        # Told apart by the hidden names they could be guessed one after the other.
        is_masked = turn.assignment.project.mask_model_names
        texts = (
            model_self_identification.mask_names(each) if is_masked else each for each in (turn.text, text_written)
        )
        return turn.role == Role.ASSISTANT and text.same_in_substance(*texts)

    with transaction.atomic():
        chat = _begun(assignment_id=assignment_id, labeler=labeler, after=after, repeats=is_it)
        if len(chat.turns) > after:
            return chat
        _ensure_awaits_response(chat)
        candidates = {candidate.pk: candidate for candidate in chat.candidates}
        if edited_from is not None and edited_from not in candidates:
            raise UnknownResponse(_("This response isn't among those that were offered."))
        if edited_from is not None and text.same_in_substance(candidates[edited_from].text, text_written):
            return _picked(chat, candidates[edited_from], list(candidates))
        response = Response.objects.create(
            prompt=live_responses.prompt_of(chat.assignment, chat.messages),
            text=text_written,
            author=Author.of(labeler),
            finish_reason=Response.FinishReason.WRITTEN,
            edited_from_id=edited_from,
        )
        # Nothing was chosen among what was offered, so these are no losers.
        return _added(chat, role=Role.ASSISTANT, written=text_written, response=response)


def pick(*, assignment_id: int, labeler: User, response_id: int, after: int) -> Chat:
    """One of the offered responses is the best."""

    def is_it(turn: ChatTurn) -> bool:
        return turn.response_id == response_id

    with transaction.atomic():
        chat = _begun(assignment_id=assignment_id, labeler=labeler, after=after, repeats=is_it)
        if len(chat.turns) > after:
            return chat
        _ensure_awaits_response(chat)
        candidates = {candidate.pk: candidate for candidate in chat.candidates}
        if response_id not in candidates:
            raise UnknownResponse(_("This response isn't among those that were offered."))
        return _picked(chat, candidates[response_id], list(candidates))


def take_back(*, assignment_id: int, labeler: User, after: int) -> Chat:
    """Remove the last turn that was added. A comparison that an earlier hand-in made of it stays: it was meant."""
    with transaction.atomic():
        chat = _begun(assignment_id=assignment_id, labeler=labeler, after=None)
        if len(chat.turns) != after:
            return chat
        if not chat.turns:
            raise Refused(_("There is no turn to take back."))
        chat.turns[-1].delete()
        return Chat.of(chat.assignment)


def ask(*, assignment_id: int, labeler: User, after: int, instead_of: int | None = None) -> Chat:
    """Ask the model for responses to the user's last turn; asked again while it is generating, it is asked once.

    instead_of: the request whose responses are there; others take their place.
    """
    with transaction.atomic():
        chat = _begun(assignment_id=assignment_id, labeler=labeler, after=None)
        if len(chat.turns) == after and chat.awaits_response:
            live_responses.ask(chat.assignment, chat.messages, instead_of=instead_of)
        return Chat.of(chat.assignment)


def _begun(
    *, assignment_id: int, labeler: User, after: int | None, repeats: Callable[[ChatTurn], bool] | None = None
) -> Chat:
    """The chat, locked, with its lease renewed. Raises Refused when it isn't the chat that the page showed.

    repeats: whether a turn is the one that is to follow `after` turns; where it is there, this is a repeated request.
    """
    assignment = leases.locked_assignment(assignment_id=assignment_id, labeler=labeler)
    if assignment.task.kind != Task.Kind.CHAT:
        raise Refused(_("This task isn't a chat."), status=400)
    if assignment.state == Assignment.State.SKIPPED:
        raise Refused(_("You have skipped this task, so the chat is over."))
    if assignment.state in Assignment.HELD:
        Assignment.objects.filter(pk=assignment.pk).update(lease_until=leases.lease_end(assignment.project))
    chat = Chat.of(assignment)
    if after is None or len(chat.turns) == after:
        return chat
    following = chat.turns[after] if 0 <= after < len(chat.turns) else None
    if following is None or repeats is None or not repeats(following):
        raise Refused(_("This chat went on in another window. Reload the page to see it; nothing was lost."))
    return chat


def _unmasked(text_written: str, *, assignment_id: int, edited_from: int) -> str:
    """What was made of an offered response, with the names that its page hid, where the project hides any."""
    project = Project.objects.filter(assignments=assignment_id, mask_model_names=True).first()
    offered = Response.objects.filter(pk=edited_from, prompt__project=project).first() if project else None
    return (
        model_self_identification.unmasked(text_written, original=offered.text) if offered is not None else text_written
    )


def _ensure_awaits_response(chat: Chat) -> None:
    if not chat.awaits_response:
        raise Refused(
            _("The chat has a response to this already. Say something as the user, or take the response back.")
        )


def _picked(chat: Chat, response: Response, candidates: Sequence[int]) -> Chat:
    return _added(
        chat,
        role=Role.ASSISTANT,
        written=response.text,
        response=response,
        request=chat.request,
        offered=list(candidates),
    )


def _added(
    chat: Chat,
    *,
    role: str,
    written: str,
    response: Response | None = None,
    request: ResponseRequest | None = None,
    offered: list[int] | None = None,
) -> Chat:
    if len(chat.turns) >= MOST_TURNS:
        raise Refused(_("A chat has at most %(count)d turns. Hand it in.") % {"count": MOST_TURNS})
    ChatTurn.objects.create(
        assignment=chat.assignment,
        number=len(chat.turns) + 1,
        role=role,
        text=written,
        response=response,
        request=request,
        offered=offered or [],
    )
    # What was in the box is in the chat now; what comes in late of this page's drafts is older than that.
    Assignment.objects.filter(pk=chat.assignment.pk).update(draft=None, draft_version=F("draft_version") + 1_000)
    return replace(Chat.of(chat.assignment), has_grown=True)


def _checked(written: str, *, name: str) -> str:
    text_written = text.as_written(text.checked(written, name=name, longest=text.LONGEST_RESPONSE))
    if not text_written:
        raise Refused(_("There is nothing written yet."), status=400)
    return text_written
