"""What responses are called on a labeler's page.

Database ids grow in the order in which responses were made, model after model, so ids on a page would tell who wrote
which. A page names them by keys: a keyed hash of the assignment and the response, which only this server can compute
and which is another one in every assignment. Drafts and judgments are stored by id; the names change at the page alone.
"""

from collections.abc import Iterable, Mapping

from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from annotate.errors import UnknownResponse
from annotate.models import Assignment

KEY_LENGTH = 20
"""Hexadecimal digits, so 80 bits."""
Fields = Mapping[str, list[str]]
# Fields whose name, and fields whose value, begins with a response.
_BY_NAME = frozenset({"rank", "rating", "flag", "note"})
_BY_VALUE = frozenset({"improved_from", "edited_from", "preference", "pick", "edit"})
_NO_RESPONSE = frozenset({"", "tie"})


class ResponseKeys:
    """The keys of some responses within one scope, such as an assignment."""

    def __init__(self, scope: str, response_ids: Iterable[int]) -> None:
        self._keys = {response_id: _key(scope, response_id) for response_id in response_ids}
        self._ids = {key: response_id for response_id, key in self._keys.items()}

    @classmethod
    def of(cls, assignment: Assignment, response_ids: Iterable[int] | None = None) -> "ResponseKeys":
        """Of the responses that the assignment shows, or of others that its page offers."""
        shown = assignment.presentation if response_ids is None else response_ids
        return cls(f"assignment-{assignment.pk}-{assignment.seed}", shown)

    def key(self, response_id: int) -> str:
        return self._keys[response_id]

    def response_id(self, key: str) -> int:
        """Raises UnknownResponse for what is none of the keys, an id among it."""
        if key not in self._ids:
            raise UnknownResponse(_("The form names a response that doesn't belong to this task."))
        return self._ids[key]

    def to_ids(self, fields: Fields, *, strict: bool = False) -> dict[str, list[str]]:
        """A page's fields with ids in place of keys.

        What names no response of these is left out, or with `strict` refused by UnknownResponse: a page's own fields
        all do, and to say which ids there are would give the order away.
        """
        return _translated(fields, {key: str(number) for key, number in self._ids.items()}, strict=strict)

    def to_keys(self, fields: Fields) -> dict[str, list[str]]:
        """Stored fields as a page names them, by name. What a draft says of responses that are gone is left out.

        PostgreSQL gives the fields of a draft back in the order of the ids.
        """
        named = _translated(fields, {str(number): key for number, key in self._keys.items()}, strict=False)
        return dict(sorted(named.items()))

    def tiers(self, stored: Iterable[Iterable[int]] | None) -> list[list[str]]:
        """The tiers of an order. In which order the tied ones of a tier are stored says nothing, so it isn't told."""
        return [sorted(self.key(number) for number in tier) for tier in stored or ()]


def _key(scope: str, response_id: int) -> str:
    digest = salted_hmac("annotate.response-keys", f"{scope}-{response_id}", algorithm="sha256").hexdigest()
    return digest[:KEY_LENGTH]


def _translated(fields: Fields, names: Mapping[str, str], *, strict: bool) -> dict[str, list[str]]:
    translated: dict[str, list[str]] = {}
    for name, values in fields.items():
        kind, dash, rest = name.partition("-")
        if dash and kind in _BY_NAME:
            named, another_dash, criterion = rest.partition("-")
            if named in names:
                translated[f"{kind}-{names[named]}{another_dash}{criterion}"] = list(values)
                continue
        elif name in _BY_VALUE:
            heads = [value.partition(":") for value in values if isinstance(value, str)]
            known = [
                (names[head] if head not in _NO_RESPONSE else head) + colon + tail
                for head, colon, tail in heads
                if head in _NO_RESPONSE or head in names
            ]
            if len(known) == len(values):
                translated[name] = known
                continue
        else:
            translated[name] = list(values)
            continue
        if strict:
            raise UnknownResponse(_("The form names a response that doesn't belong to this task."))
    return translated
