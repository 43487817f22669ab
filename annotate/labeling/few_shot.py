"""Few-shot prompts: an instruction, query-response pairs that show it, and a last query.

As a chat it is a system turn with the instruction, a user and an assistant turn per pair, and the query as the last
user turn; so every model reads it through its own chat template.
"""

from dataclasses import dataclass
from typing import Any, Self

from django.utils.translation import gettext as _

from annotate.data import text
from annotate.errors import Refused

Messages = list[dict[str, str]]
MOST_PAIRS = 20
LONGEST_PART = 100_000


@dataclass(frozen=True, kw_only=True)
class FewShot:
    instruction: str
    pairs: tuple[tuple[str, str], ...]
    query: str

    @classmethod
    def of(cls, messages: Messages) -> Self | None:
        """A chat as a few-shot prompt; None where it has no pair."""
        has_instruction = bool(messages) and messages[0]["role"] == "system"
        turns = messages[1:] if has_instruction else messages
        roles = [turn["role"] for turn in turns]
        if len(turns) < 3 or roles != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
            return None
        texts = [turn["content"] for turn in turns]
        return cls(
            instruction=messages[0]["content"] if has_instruction else "",
            pairs=tuple(zip(texts[:-1:2], texts[1:-1:2], strict=True)),
            query=texts[-1],
        )

    @property
    def messages(self) -> Messages:
        turns: list[dict[str, Any]] = [{"role": "system", "content": self.instruction}] if self.instruction else []
        for query, response in self.pairs:
            turns += [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
        return [*turns, {"role": "user", "content": self.query}]


def checked_pairs(pairs: Any) -> list[list[str]]:
    """[query, response] pairs, without the empty ones. Raises Refused (400)."""
    if not isinstance(pairs, list | tuple) or len(pairs) > MOST_PAIRS:
        raise Refused(_("A few-shot prompt has at most %(count)d examples.") % {"count": MOST_PAIRS}, status=400)
    checked = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Refused(_("An example is a query and its response."), status=400)
        query, response = (checked_part(part, _("An example")) for part in pair)
        if bool(query) != bool(response):
            raise Refused(_("An example needs both its query and its response."), status=400)
        if query:
            checked.append([query, response])
    return checked


def checked_part(value: Any, name: str) -> str:
    """A text of the prompt. `name` begins the sentence of a refusal."""
    return text.as_written(text.checked(value, name=name, longest=LONGEST_PART))
