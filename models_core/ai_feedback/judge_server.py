"""The server that judges: a served model that is asked within a budget and a rate limit."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models_core.ai_feedback import judge_chats
from models_core.ai_feedback.spending import Spending, Usage, estimated_tokens
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.rows.records import Message, Messages
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings.ai_feedback import JudgeConfig
from models_core.generation.served_model import MOST_TOKENS, Server, repaired


@dataclass(frozen=True, kw_only=True)
class Reply:
    text: str
    input_tokens: int | None
    output_tokens: int | None


class JudgeServer(Server[JudgeConfig]):
    """`address` as Server takes it. Raises BadInput, also where the environment lacks the key that the settings name.

    All calls add what they cost to the `usage` that they are given, whether they end well or not.
    """

    def __init__(self, address: str, *, settings: JudgeConfig, stop: StopSignal, spending: Spending) -> None:
        key = None
        if settings.key_variable:
            key = os.environ.get(settings.key_variable)
            if not key:
                raise BadInput(
                    f"The environment variable {settings.key_variable}, which holds the key of {address}, is not set."
                )
        super().__init__(address, settings=settings, stop=stop, key=key)
        self.spending = spending

    def verdict(self, model: str, prompt: Messages, first: str, second: str, usage: Usage) -> str | None:
        """ "A" for `first`, "B" for `second`, "TIE", or None where the first reply and `judge_retries` more are none.

        Raises BudgetSpent, RequestRefused, BadInput, ServerFailed, Stopped.
        """
        chat = judge_chats.verdict_chat(
            prompt, first, second, instructions=self.settings.judge_instructions, rubric=self.settings.judge_rubric
        )
        for _ in range(self.settings.judge_retries + 1):
            reply = self.reply(model, chat, max_tokens=judge_chats.VERDICT_TOKENS, usage=usage)
            if (verdict := judge_chats.parse_verdict(reply)) is not None:
                return verdict
            again: list[Message] = [{"role": "user", "content": judge_chats.REMINDER}]
            chat = [*chat, {"role": "assistant", "content": reply}, *again]
        return None

    def revision(self, model: str, prompt: Messages, response: str, usage: Usage) -> str:
        """The response rewritten after a critique; empty where the model wrote nothing. Raises as `verdict`."""
        settings = self.settings
        chat = judge_chats.critique_chat(prompt, response, constitution=settings.constitution)
        critique = self.reply(model, chat, max_tokens=settings.max_new_tokens, usage=usage)
        if not critique.strip():
            return ""
        chat = judge_chats.revision_chat(chat, critique)
        return self.reply(model, chat, max_tokens=settings.max_new_tokens, usage=usage).strip()

    def reply(self, model: str, chat: Sequence[Message], *, max_tokens: int, usage: Usage) -> str:
        values: dict[str, Any] = {
            "model": model,
            "messages": list(chat),
            "max_tokens": max_tokens,
            "temperature": 0,
            "seed": self.settings.seed % 2**31,
        }
        body = json.dumps(values, ensure_ascii=False).encode()
        characters = sum(len(message["content"]) for message in chat)
        most = Usage(requests=1, input_tokens=estimated_tokens(characters), output_tokens=max_tokens)
        text: str = self.tried(lambda: self._paid(body, most, usage))
        return text

    def _paid(self, body: bytes, most: Usage, usage: Usage) -> str:
        """One request, reserved before and settled after it. A request without a reply costs no tokens."""
        self.spending.reserve(most)
        spent = Usage(requests=1)
        try:
            if self.ended.wait(self.spending.wait_seconds()):
                spent.requests = 0
                raise Stopped
            reply = self.exchange("POST", "/chat/completions", body, read=_read_reply)
            is_estimated = reply.input_tokens is None or reply.output_tokens is None
            spent.input_tokens = most.input_tokens if reply.input_tokens is None else reply.input_tokens
            spent.output_tokens = (
                estimated_tokens(len(reply.text)) if reply.output_tokens is None else reply.output_tokens
            )
            spent.estimated = int(is_estimated)
            return str(reply.text)
        finally:
            self.spending.record(most, spent)
            usage.add(spent)


def _read_reply(row: Any) -> Reply:
    """The text of a completion and its tokens, None where the server doesn't say a number that can be believed."""
    text = row["choices"][0]["message"]["content"]
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise TypeError
    usage = row.get("usage") or {}
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    known = [
        count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < MOST_TOKENS else None
        for count in counts
    ]
    return Reply(text=repaired(text), input_tokens=known[0], output_tokens=known[1])
