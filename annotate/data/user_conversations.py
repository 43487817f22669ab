"""Conversations of users of the model, kept as prompts of a project with the responses that they got.

InstructGPT's way (Ouyang et al. 2022, section 3.2): prompts come from users, without personal data, each once, and no
more than so many of one user. Whoever the user is, is kept as a keyed hash alone. A program that asks for no keeping
leaves nothing here.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from annotate.data import language_guess, use_case_guess
from annotate.data.sharing.redaction import Redactor
from annotate.models import ApiToken, Author, GatewayCompletion, GatewaySettings, Project, Prompt, Response
from annotate.models.data.prompt import content_hash

SOURCE = "gateway"
"""Source of the prompts."""
Messages = list[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A response that the user got. `finish_reason`: of Response; None where it did not end, and is not kept."""

    text: str
    finish_reason: str | None


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What a program asks to keep. `user`: the user by whatever name the program knows them, or empty."""

    key: str
    messages: Messages
    choices: Sequence[Choice]
    author: Author
    model: str
    user: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """`completion` is None where the conversation was not kept, and `reason` says why."""

    completion: GatewayCompletion | None
    reason: str = ""


def keep(conversation: Conversation, *, settings: GatewaySettings, token: ApiToken) -> Kept:
    """Store a conversation, all of it or nothing. Of an unfinished choice no response is kept."""
    project = settings.project
    redactor = Redactor()
    messages = [{**turn, "content": redactor.text(turn["content"])} for turn in conversation.messages]
    # It loads a model the first time, which takes half a second: not within a transaction.
    language = language_guess.guess(messages[-1]["content"], usual=project.language)
    end_user = end_user_named(project, conversation.user) if conversation.user else end_user_of(token)
    with transaction.atomic():
        # Locked, so that two requests at once don't both count the others.
        settings = GatewaySettings.objects.select_for_update(no_key=True).get(pk=settings.pk)
        if not settings.stores:
            return Kept(completion=None, reason=_("This project keeps no conversations."))
        if settings.project_id != token.project_id:
            raise ValueError(f"token {token.pk} is not for project {settings.project_id}")
        kept = GatewayCompletion.objects.filter(project=project, end_user=end_user)
        if kept.count() >= settings.prompts_per_user:
            return Kept(
                completion=None,
                reason=_("%(most)d conversations of this user are kept already, as many as the project keeps of one.")
                % {"most": settings.prompts_per_user},
            )
        prompt = _prompt(project, messages, language=language)
        completion = GatewayCompletion.objects.create(
            project=project,
            key=conversation.key,
            token=token,
            asked_by_id=token.user_id,
            end_user=end_user,
            prompt=prompt,
            responses=_responses(conversation, prompt, redactor),
            model=conversation.model,
            metadata={name: redactor.text(value) for name, value in conversation.metadata.items()},
        )
    return Kept(completion=completion)


def _responses(conversation: Conversation, prompt: Prompt, redactor: Redactor) -> list[int | None]:
    """The response of each choice; choices of the same text are one response, as everywhere."""
    made: dict[str, int] = {}
    for number, choice in enumerate(conversation.choices):
        text = choice.text.strip()
        if choice.finish_reason is None or not text or text in made:
            continue
        response = Response.objects.create(
            prompt=prompt,
            author=conversation.author,
            text=redactor.text(choice.text),
            sampling={**conversation.sampling, "gateway": conversation.key, "number": number},
            finish_reason=choice.finish_reason,
        )
        made[text] = response.pk
    return [made.get(choice.text.strip()) if choice.finish_reason else None for choice in conversation.choices]


def _prompt(project: Project, messages: Messages, *, language: str) -> Prompt:
    """The project's prompt of these messages; all of a chat is on the side of the split of its first turn."""
    first = next(number for number, turn in enumerate(messages, start=1) if turn["role"] == "user")
    opening = _prompt(project, messages[:first], language=language) if first < len(messages) else None
    digest = content_hash(messages)
    if (known := Prompt.known(project_id=project.pk, digest=digest)) is not None:
        return known
    try:
        with transaction.atomic():
            return Prompt.objects.create(
                project=project,
                messages=messages,
                use_case=use_case_guess.guess(messages),
                language=language,
                source=SOURCE,
                opening=(opening.opening or opening) if opening is not None else None,
            )
    except IntegrityError:
        # Somebody, or an import that isn't seen yet, brought it a moment ago.
        if (known := Prompt.known(project_id=project.pk, digest=digest)) is None:
            raise
        return known


def end_user_of(token: ApiToken) -> str:
    """Whose conversations they are that name no user."""
    return _hashed(token.project, f"token {token.pk}") if token.project is not None else ""


def end_user_named(project: Project, user: str) -> str:
    """Whose conversations they are that name their user so."""
    return _hashed(project, f"user {user}")


def _hashed(project: Project, name: str) -> str:
    """A keyed hash: the same for the same user of a project, from which nobody can read who it is."""
    return hmac.new(project.pseudonym_key.encode(), f"gateway {name}".encode(), hashlib.sha256).hexdigest()
