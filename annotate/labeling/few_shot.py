"""A few-shot prompt as people think of it: an instruction, query-response pairs that show it, and the last query.

As a chat it is a system turn with the instruction, a user and an assistant turn per pair, and the query as the last
user turn; so every model reads it through its own chat template.
"""

from dataclasses import dataclass
from typing import Any, Self

Messages = list[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class FewShot:
    instruction: str
    pairs: tuple[tuple[str, str], ...]
    query: str

    @classmethod
    def of(cls, messages: Messages) -> Self | None:
        """The chat read as one; None where it shows no pair."""
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
