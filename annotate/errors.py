"""Refusals of labeling, in sentences for the person who asked. Views show the sentence with the status."""

from typing import Any


class Refused(Exception):
    """A request that was understood and not carried out; nothing was changed.

    `sentence` is for the user, `status` the HTTP status that goes with it, `message` the same as a stored message for
    readers of other languages (annotate.data.stored_messages), where the refusal can happen in a job.
    """

    status = 409

    def __init__(self, sentence: str, *, status: int | None = None, message: dict[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.message = message
        if status is not None:
            self.status = status


class NotYours(Refused):
    """It belongs to somebody else, or the person has no right to it."""

    status = 403


class UnknownResponse(Refused):
    """A judgment names a response that its task doesn't hold."""

    status = 400


class InvalidOrdering(Refused):
    """The tiers aren't an ordering: a response twice, an empty tier, nothing ranked."""

    status = 400
