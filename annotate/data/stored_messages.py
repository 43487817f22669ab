"""Messages that a job stores for readers it doesn't know: a code and values, worded when a page shows them.

A worker stores {"code": ..., "values": {...}}; `text` words it in the active language by the message that was
registered for the code. Values are texts and numbers, and as JSON objects:

    {"code": ..., "values": ...}   a stored message: why a snapshot failed, within why its run did
    {"message": "..."}             a message of the catalogue: the label of a stage
    {"bytes": 1024}                a size
    [...]                          several of these, one after the other
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext, gettext_noop, override

from annotate.errors import Refused

Stored = Mapping[str, Any]

_registered: dict[str, str] = {}


@dataclass(frozen=True)
class StoredMessage:
    """A message by its code, with the values for its placeholders (JSON)."""

    code: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return text(self.as_json())

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "values": dict(self.values)}

    @classmethod
    def parsed(cls, stored: Stored) -> "StoredMessage":
        return cls(stored["code"], stored["values"])


def register(messages: Mapping[str, str]) -> None:
    """Register {code: message}: messages of the catalogue with %(name)s for each value."""
    _registered.update(messages)


def text(stored: Stored | str) -> str:
    """A stored message in the active language; empty for {}.

    A plain text, of an earlier version, is returned translated where it is a message of the catalogue itself.
    """
    if isinstance(stored, str):
        return gettext(stored) if stored else ""
    if not stored:
        return ""
    message = _registered.get(stored["code"])
    if message is None:  # of a later version
        return str(stored["code"])
    try:
        return gettext(message) % {name: _value(value) for name, value in stored["values"].items()}
    except KeyError:  # a placeholder of another version
        return str(stored["code"])


def in_english(stored: Stored | str) -> str:
    """A stored message for logs, commands and the administration."""
    with override("en"):
        return text(stored)


def refusal(code: str, *, status: int | None = None, **values: Any) -> Refused:
    """A Refused of a registered message, which a job can store for every language."""
    message = StoredMessage(code, values)
    return Refused(str(message), status=status, message=message.as_json())


def of_exception(error: Refused) -> dict[str, Any]:
    """What to store of a Refused: its message, or its sentence as it is."""
    return error.message or StoredMessage("as_written", {"sentence": str(error)}).as_json()


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(str(_value(item)) for item in value)
    if not isinstance(value, Mapping):
        return value
    if "bytes" in value:
        return filesizeformat(value["bytes"])
    return gettext(value["message"]) if "message" in value else text(value)


register(
    {
        "as_written": "%(sentence)s",
        "disk_full": gettext_noop("The disk is full. Free some space below the data folder, then start again."),
        "files_not_writable": gettext_noop("The files can’t be written: %(reason)s."),
        "job_crashed": gettext_noop("The job stopped with an internal error (%(error)s)."),
        "nothing_to_freeze": gettext_noop("There are no %(kind)s yet that match, so there is nothing to freeze."),
        "weights_sum_to_zero": gettext_noop(
            "The weights of these judgments sum to 0, so nothing can be learned from them: take each judgment as it is."
        ),
        "snapshot_not_ready": gettext_noop("The snapshot isn’t ready."),
        "snapshot_file_missing": gettext_noop("%(file)s is missing."),
        "snapshot_file_changed": gettext_noop("%(file)s differs from the frozen file."),
        "snapshot_list_changed": gettext_noop("The list of files differs from the frozen one."),
    }
)
